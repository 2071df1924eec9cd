//! Which request gets which answer.

use serde_json::{Map, Value, json};

use super::embed;
use super::kserve;
use super::openai::{Generation, Kind};
use super::reply::{Reply, refuse};
use super::state::State;
use super::words::{token_count, tokens};
use crate::codec::head::RequestHead;
use crate::codec::method::Method;

/// What is answered: at once, or after a generation.
pub(super) enum Answer {
    Reply(Reply),
    Generation(Generation),
}

impl State {
    /// The answer to one request.
    pub(super) fn answer(&self, head: &RequestHead, body: &[u8]) -> Answer {
        let method = match head.method() {
            Method::Head => Method::Get,
            method => method,
        };
        let path = String::from_utf8_lossy(head.path()).into_owned();
        let parsed = |then: &dyn Fn(&Value) -> Answer| match serde_json::from_slice(body) {
            Ok(value) => then(&value),
            Err(_) => Answer::Reply(refuse(400, "invalid_request_error", "the body is not JSON")),
        };
        let generation = |kind| {
            parsed(&|body| match Generation::of(self, kind, body) {
                Ok(generation) => Answer::Generation(generation),
                Err(refusal) => Answer::Reply(refusal),
            })
        };
        match (method, path.as_str()) {
            (Method::Post, "/v1/chat/completions") => generation(Kind::Chat),
            (Method::Post, "/v1/completions") => generation(Kind::Text),
            (Method::Post, "/v1/embeddings") => parsed(&|body| Answer::Reply(embed::openai(self, body))),
            (Method::Post, "/embed") => parsed(&|body| Answer::Reply(embed::tei(self, body))),
            (Method::Post, "/rerank" | "/v1/rerank" | "/v2/rerank") => {
                parsed(&|body| Answer::Reply(embed::rerank(self, body)))
            }
            (Method::Post, "/api") => parsed(&|body| Answer::Reply(self.service(body))),
            (_, "/echo") => Answer::Reply(echo(head, body)),
            _ => Answer::Reply(self.lookup(method, &path, body)),
        }
    }

    fn lookup(&self, method: Method, path: &str, body: &[u8]) -> Reply {
        const POSTS: [&str; 6] =
            ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/embed", "/rerank", "/api"];
        const GETS: [&str; 4] = ["/v1/models", "/health", "/metrics", "/sim/stats"];
        match (method, path) {
            (Method::Get, "/v1/models") => {
                let model = |name: &String| json!({ "id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sim" });
                let models: Vec<_> = self.options.models.iter().map(model).collect();
                Reply::json(json!({ "object": "list", "data": models }))
            }
            (Method::Get, "/health") => Reply::text(""),
            (Method::Get, "/metrics") => Reply::text(self.metrics()),
            (Method::Get, "/sim/stats") => Reply::json(self.stats()),
            _ => match path.strip_prefix("/v2/") {
                Some(rest) => kserve::answer(self, method, rest, body),
                None if POSTS.contains(&path) || GETS.contains(&path) => {
                    refuse(405, "method_not_allowed", "this path does not take this method")
                }
                None => refuse(404, "not_found", "there is no such path"),
            },
        }
    }

    /// `/api`: the smallest AI service there is. `{"data": …}` in, invented words out.
    fn service(&self, body: &Value) -> Reply {
        if body["data"].is_null() {
            return refuse(400, "invalid_request_error", "send {\"data\": …}");
        }
        let prompt = body["data"].to_string();
        let words = tokens(prompt.as_bytes(), self.options.seed, self.options.tokens.min(8)).concat();
        Reply::json(json!({
            "result": words,
            "received": body["data"],
            "model": self.options.models.first(),
            "prompt_tokens": token_count(prompt.len()),
        }))
    }
}

/// Longest set of fields that `/echo` tells in its own head.
const ECHO_FIELDS_BYTES_MAX: usize = 8 * 1024;

/// Returns what it got: the body as it is, the head in fields of its own.
fn echo(head: &RequestHead, body: &[u8]) -> Reply {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let content_type =
        head.head().values_of(b"content-type").next().map_or("application/octet-stream".to_owned(), text);
    let mut fields = Map::new();
    for field in head.head().fields() {
        let values = fields.entry(text(field.raw).to_ascii_lowercase()).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(json!(text(field.value)));
        }
    }
    let told = Value::Object(fields).to_string();
    let mut reply = Reply { status: 200, content_type, fields: Vec::new(), body: body.to_vec() };
    reply.fields.push(("x-sim-method", text(head.method_bytes())));
    reply.fields.push(("x-sim-target", text(head.path_and_query())));
    if told.len() <= ECHO_FIELDS_BYTES_MAX && told.is_ascii() {
        reply.fields.push(("x-sim-headers", told));
    }
    reply
}
