//! What is asked: one request as bytes, of an exact length, with a number of its own each time.

use std::fmt;

use serde_json::{Value, json};

use crate::codec::method::Method;

/// Which kind of request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/completions`.
    Completion,
    /// `POST /v1/embeddings`.
    Embedding,
    /// `GET /health`.
    Health,
}

impl Kind {
    /// Path below the base of a target.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completion => "/v1/completions",
            Self::Embedding => "/v1/embeddings",
            Self::Health => "/health",
        }
    }
}

/// What every request of a run has in common.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// Which kind.
    pub kind: Kind,
    /// The model asked for.
    pub model: String,
    /// Length of the body in bytes, exact; none for the shortest. A request without a body has none.
    pub body_bytes: Option<usize>,
    /// Longest answer in tokens; none leaves it to the server.
    pub max_tokens: Option<u32>,
    /// Whether the answer is asked for as a stream.
    pub stream: bool,
    /// Sent as `authorization: Bearer …`.
    pub key: Option<String>,
    /// Whether each request has a connection of its own.
    pub fresh_connections: bool,
}

/// A body cannot be as short as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooShort {
    /// The shortest that is possible, bytes.
    pub least: usize,
}

impl std::error::Error for TooShort {}

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the shortest body of this kind has {} bytes", self.least)
    }
}

/// One request, ready to be sent any number of times.
#[derive(Debug, Clone)]
pub struct Job {
    bytes: Vec<u8>,
    /// Where the number of the request stands.
    number_at: Option<usize>,
    head_bytes: usize,
    /// Its method.
    pub method: Method,
    /// What is asked for.
    pub kind: Kind,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// Whether each request has a connection of its own.
    pub fresh_connections: bool,
}

/// Digits of the number that makes each prompt its own.
const NUMBER_DIGITS: usize = 16;
/// Stands where the number goes.
const NUMBER_ZERO: &str = "0000000000000000";
/// What prompts are made of: words, and a character that JSON escapes now and then.
const TEXT: &str = "The quick brown fox jumps over the lazy dog, said the \\\"gateway\\\" to its engine.\\n";

impl Job {
    /// The request for a server whose authority is `host`, below the path `base`.
    pub fn new(options: &JobOptions, host: &str, base: &str) -> Result<Self, TooShort> {
        let (method, body) = match options.kind {
            Kind::Health => (Method::Get, None),
            _ => (Method::Post, Some(body(options)?)),
        };
        let mut head = format!(
            "{} {base}{} HTTP/1.1\r\nhost: {host}\r\nuser-agent: corelane-load/{}\r\naccept: */*\r\n",
            if body.is_some() { "POST" } else { "GET" },
            options.kind.path(),
            env!("CARGO_PKG_VERSION"),
        );
        if let Some(key) = &options.key {
            head += &format!("authorization: Bearer {key}\r\n");
        }
        if let Some(body) = &body {
            head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        if options.fresh_connections {
            head += "connection: close\r\n";
        }
        head += "\r\n";
        let head_bytes = head.len();
        let mut bytes = head.into_bytes();
        bytes.extend(body.iter().flat_map(|body| body.bytes()));
        let number_at = body.and_then(|body| body.find(NUMBER_ZERO)).map(|at| head_bytes + at);
        Ok(Self {
            bytes,
            number_at,
            head_bytes,
            method,
            kind: options.kind,
            stream: options.stream,
            fresh_connections: options.fresh_connections,
        })
    }

    /// The bytes of request `number`: each prompt ends differently, as prompts of different users do.
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.number_at {
            out[at..at + NUMBER_DIGITS].copy_from_slice(format!("{number:016x}").as_bytes());
        }
    }

    /// Length of the body in bytes.
    pub fn body_bytes(&self) -> usize {
        self.bytes.len() - self.head_bytes
    }
}

fn body(options: &JobOptions) -> Result<String, TooShort> {
    const PLACE: &str = "@prompt@";
    let mut body = match options.kind {
        Kind::Chat => json!({ "model": options.model, "messages": [{ "role": "user", "content": PLACE }] }),
        Kind::Completion => json!({ "model": options.model, "prompt": PLACE }),
        Kind::Embedding | Kind::Health => json!({ "model": options.model, "input": PLACE }),
    };
    if let (Some(tokens), Kind::Chat | Kind::Completion) = (options.max_tokens, options.kind) {
        body["max_tokens"] = Value::from(tokens);
    }
    if options.stream {
        body["stream"] = Value::from(true);
    }
    let empty = body.to_string();
    let least = empty.len() - PLACE.len() + NUMBER_DIGITS;
    let room = options.body_bytes.unwrap_or(least).checked_sub(least).ok_or(TooShort { least })?;
    Ok(empty.replacen(PLACE, &format!("{}{NUMBER_ZERO}", text(room)), 1))
}

/// `length` bytes of the inside of a JSON string.
fn text(length: usize) -> String {
    let mut text = TEXT.repeat(length / TEXT.len());
    let rest = length - text.len();
    // An escape must not be cut: what is left over is plain.
    text.push_str(&"x".repeat(rest));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(kind: Kind) -> JobOptions {
        JobOptions {
            kind,
            model: "m".into(),
            body_bytes: None,
            max_tokens: Some(4),
            stream: false,
            key: None,
            fresh_connections: false,
        }
    }

    #[test]
    fn a_body_is_json_of_the_length_asked_for_and_differs_from_request_to_request() {
        for kind in [Kind::Chat, Kind::Completion, Kind::Embedding] {
            for length in [200, 1000, 1024, 65_536] {
                let job =
                    Job::new(&JobOptions { body_bytes: Some(length), ..options(kind) }, "h", "").unwrap();
                let (mut one, mut two) = (Vec::new(), Vec::new());
                job.write(1, &mut one);
                job.write(2, &mut two);
                assert_ne!(one, two);
                assert_eq!(job.body_bytes(), length);
                let body: Value = serde_json::from_slice(&one[one.len() - length..]).unwrap();
                assert_eq!(body["model"], "m");
            }
        }
    }

    #[test]
    fn a_body_that_cannot_be_so_short_says_how_short_it_can_be() {
        let short = |length| {
            Job::new(&JobOptions { body_bytes: Some(length), ..options(Kind::Chat) }, "h", "").map(drop)
        };
        let least = short(1).unwrap_err().least;
        assert!(short(least).is_ok() && short(least - 1).is_err());
    }

    #[test]
    fn health_is_a_get_below_the_base() {
        let job = Job::new(&options(Kind::Health), "h:1", "/b").unwrap();
        let mut bytes = Vec::new();
        job.write(1, &mut bytes);
        assert!(bytes.starts_with(b"GET /b/health HTTP/1.1\r\nhost: h:1\r\n"), "{bytes:?}");
        assert!(bytes.ends_with(b"\r\n\r\n"));
    }
}
