//! Limits by tokens: what a request may take is reserved, and what it took is settled by the answer.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::keys::{KeysFile, entry};
use crate::support::{After, Gateway, Peer, Upstream};

/// An endpoint that writes `written` tokens of a prompt of `read`, as an engine does that was asked so: with what the last
/// request was.
struct Engine {
    url: String,
    last: Arc<Mutex<String>>,
}

fn engine() -> Engine {
    let last = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&last);
    let url = Upstream::start().play(move |peer, request| {
        *seen.lock().unwrap() = request.clone();
        let body: Value = request
            .split_once("\r\n\r\n")
            .map_or(Value::Null, |(_, body)| serde_json::from_str(body).unwrap_or_default());
        let (read, written) = (body["x"][0].as_u64().unwrap_or(0), body["x"][1].as_u64().unwrap_or(0));
        let usage =
            json!({ "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written });
        if body["stream"] == true {
            stream(peer, written, (body["stream_options"]["include_usage"] == true).then_some(usage));
            return After::GoOn;
        }
        let (status, answer) = match body["fails"].as_bool() {
            Some(true) => (500, json!({ "error": {} })),
            _ if body["silent"] == true => (200, json!({ "choices": [] })),
            _ => (200, json!({ "choices": [], "usage": usage })),
        };
        let answer = answer.to_string();
        peer.send(format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        ));
        After::GoOn
    });
    Engine { url, last }
}

/// Events as vLLM of old and OpenAI write them: where the usage is asked for, each has the member.
fn stream(peer: &mut Peer, written: u64, usage: Option<Value>) {
    peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    let null = if usage.is_some() { ",\"usage\":null" } else { "" };
    let mut text: String = (0..written)
        .map(|token| {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"t{token}\"}}}}]{null}}}\n\n"
            )
        })
        .collect();
    if let Some(usage) = usage {
        text += &format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\n");
    }
    text += "data: [DONE]\n\n";
    for piece in text.as_bytes().chunks(61) {
        peer.send(format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece)));
    }
    peer.send("0\r\n\r\n");
}

fn gateway(engine: &Engine, filters: &str, chain: &str) -> Gateway {
    Gateway::start(&format!(
        "{filters}[cluster.up]\nendpoints = [{:?}]\n[[route]]\nname = \"all\"\nto = \"up\"\nfilters = [{chain}]\n",
        engine.url
    ))
}

/// The answer to a POST, its body without the chunks it came in.
fn ask(gateway: &Gateway, path: &str, fields: &str, body: &Value) -> (u16, String, String) {
    let mut client = gateway.connect();
    let body = body.to_string();
    client.send(format!(
        "POST {path} HTTP/1.0\r\nhost: x\r\n{fields}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let text = client.read_to_end();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
}

fn field(head: &str, name: &str) -> Option<String> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).next()
}

/// Tokens that are left, as a look-up tells, which takes none.
fn left(gateway: &Gateway, fields: &str) -> u64 {
    let mut client = gateway.connect();
    client.send(format!("GET /v1/models HTTP/1.0\r\nhost: x\r\n{fields}\r\n"));
    let text = client.read_to_end();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    field(&text, "x-ratelimit-remaining-tokens").unwrap().parse().unwrap()
}

const LIMIT: &str = "[filter.tokens]\nkind = \"rate-limit\"\nby = \"ip\"\ntokens = \"1000/day\"\n";
/// 40 bytes and the role: 11 tokens.
const PROMPT: &str = "0123456789012345678901234567890123456789";

fn chat(more: Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": PROMPT }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn what_a_request_may_take_is_reserved_and_what_it_took_is_paid() {
    let engine = engine();
    let gateway = gateway(&engine, LIMIT, "\"tokens\"");
    assert_eq!(left(&gateway, ""), 1000);
    let (status, head, _) = ask(
        &gateway,
        "/v1/chat/completions",
        "accept-encoding: gzip\r\n",
        &chat(json!({ "max_tokens": 100, "x": [20, 30] })),
    );
    assert_eq!(status, 200);
    // The head tells what is left while 11 + 100 are reserved.
    assert_eq!(field(&head, "x-ratelimit-remaining-tokens").as_deref(), Some("889"));
    assert_eq!(field(&head, "x-ratelimit-limit-tokens").as_deref(), Some("1000"));
    assert_eq!(field(&head, "ratelimit-remaining").as_deref(), Some("889"));
    assert_eq!(field(&head, "x-ratelimit-limit-requests"), None);
    let sent = engine.last.lock().unwrap().clone();
    assert!(
        sent.contains("\r\naccept-encoding: identity\r\n") && !sent.contains("gzip"),
        "the answer is read: {sent}"
    );
    assert_eq!(left(&gateway, ""), 950, "50 were used");
    for (more, used) in [
        (json!({ "max_tokens": 100, "fails": true, "x": [20, 30] }), 0),
        (json!({ "silent": true }), 11),
        (json!({ "n": 2, "max_completion_tokens": 10, "x": [5, 200] }), 205),
    ] {
        let before = left(&gateway, "");
        ask(&gateway, "/v1/chat/completions", "", &chat(more.clone()));
        assert_eq!(before - left(&gateway, ""), used, "{more}");
    }
    let remaining = left(&gateway, "");
    let (status, head, body) =
        ask(&gateway, "/v1/chat/completions", "", &chat(json!({ "max_tokens": remaining - 10 })));
    assert_eq!(status, 429, "{body}");
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&error["error"]["code"], &error["error"]["param"]),
        (&"rate_limited".into(), &"tokens".into())
    );
    // One token is missing; a day has 86,400 seconds.
    let wait: f64 = field(&head, "retry-after-ms").unwrap().parse().unwrap();
    assert!((1.0..=86_400.0).contains(&wait), "{wait}");
    assert_eq!(left(&gateway, ""), remaining, "nothing is taken from who is refused");
    let (status, _, _) = ask(
        &gateway,
        "/v1/chat/completions",
        "",
        &chat(json!({ "max_tokens": remaining - 11, "x": [1, 1] })),
    );
    assert_eq!(status, 200);
}

#[test]
fn an_estimate_above_the_whole_limit_enters_a_full_bucket_and_what_was_used_is_owed() {
    let engine = engine();
    let gateway = gateway(&engine, LIMIT, "\"tokens\"");
    let large = chat(json!({ "max_tokens": 5000, "x": [1000, 500] }));
    assert_eq!(ask(&gateway, "/v1/chat/completions", "", &large).0, 200);
    assert_eq!(left(&gateway, ""), 0);
    let (status, head, _) = ask(&gateway, "/v1/chat/completions", "", &chat(json!({})));
    assert_eq!(status, 429);
    // 500 are owed, and 11 are asked for: more than half a day.
    let wait: u64 = field(&head, "retry-after").unwrap().parse().unwrap();
    assert!((44_000..=44_200).contains(&wait), "{wait}");
}

#[test]
fn a_stream_is_settled_by_a_usage_that_its_client_never_sees() {
    let engine = engine();
    let gateway = gateway(&engine, LIMIT, "\"tokens\"");
    let asked = |more: Value| {
        let mut body = chat(json!({ "stream": true, "x": [20, 30] }));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let before = left(&gateway, "");
        let (status, head, body) = ask(&gateway, "/v1/chat/completions", "", &body);
        assert_eq!(status, 200, "{head}");
        let sent = engine.last.lock().unwrap().clone();
        assert!(sent.contains("\"include_usage\":true"), "{more}: {sent}");
        (before - left(&gateway, ""), body)
    };
    let without = |usage: bool| -> String {
        let null = if usage { ",\"usage\":null" } else { "" };
        (0..30)
            .map(|token| {
                format!(
                    "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"t{token}\"}}}}]{null}}}\n\n"
                )
            })
            .collect()
    };
    for more in [
        json!({}),
        json!({ "stream_options": null }),
        json!({ "stream_options": { "include_usage": false } }),
    ] {
        let (used, body) = asked(more.clone());
        assert_eq!(used, 50, "{more}");
        assert_eq!(body, without(false) + "data: [DONE]\n\n", "{more}");
    }
    // A client that asks for it gets it.
    let (used, body) = asked(json!({ "stream_options": { "include_usage": true } }));
    assert_eq!(used, 50);
    assert!(
        body.starts_with(&without(true))
            && body.contains("\"total_tokens\":50")
            && body.ends_with("data: [DONE]\n\n"),
        "{body}"
    );
    // What another API streams is not asked for it: its prompt as estimated, and an event for each token.
    let before = left(&gateway, "");
    let (_, _, body) = ask(&gateway, "/v1/other", "", &chat(json!({ "stream": true, "x": [20, 30] })));
    assert_eq!((body, before - left(&gateway, "")), (without(false) + "data: [DONE]\n\n", 41));
}

/// What an engine does whose stream stays without an end.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// It waits until nobody listens any more.
    Waits,
    /// It goes.
    Goes,
}

/// A limit in front of an engine that streams `text`, in one chunk, and no more.
fn unfinished(text: String, then: Then) -> Gateway {
    let url = Upstream::start().play(move |peer, request| {
        if request.starts_with("GET ") {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            return After::GoOn;
        }
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n", text.len()));
        if then == Then::Waits {
            let _ = peer.wait_for_end();
        }
        After::Close
    });
    Gateway::start(&format!(
        "{LIMIT}[cluster.up]\nendpoints = [{url:?}]\n[[route]]\nto = \"up\"\nfilters = [\"tokens\"]\n"
    ))
}

/// A client that asked for a stream.
fn asking(gateway: &Gateway, path: &str, more: Value) -> Peer {
    let mut client = gateway.connect();
    let body = chat(more).to_string();
    client.send(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    client
}

#[test]
fn a_stream_that_is_cut_pays_what_was_delivered() {
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let gateway = unfinished(event.repeat(5), Then::Waits);
    let mut client = asking(&gateway, "/v1/chat/completions", json!({ "stream": true, "max_tokens": 500 }));
    client.read_until("\n\n\r\n");
    drop(client);
    gateway.until("it is settled", |_| left(&gateway, "") == 1000 - 11 - 5);
}

#[test]
fn a_message_that_is_cut_pays_for_what_was_written_though_it_told_of_its_beginning() {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n";
    let delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n";
    let gateway = unfinished(start.to_owned() + &delta.repeat(50), Then::Goes);
    let mut client = asking(&gateway, "/v1/messages", json!({ "stream": true, "max_tokens": 500 }));
    client.read_to_any_end();
    gateway.until("it is settled", |_| left(&gateway, "") == 1000 - 25 - 50);
}

#[test]
fn the_last_words_of_a_stream_that_breaks_off_are_handed_on() {
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"last words\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[{";
    let gateway = unfinished(text.to_owned(), Then::Goes);
    let mut client = asking(&gateway, "/v1/chat/completions", json!({ "stream": true }));
    let (answer, _) = client.read_to_any_end();
    assert!(answer.contains("last words") && answer.contains("data: {\"choices\":[{\r\n"), "{answer}");
    assert!(!answer.contains("\r\n0\r\n"), "it looks whole: {answer}");
}

#[test]
fn who_writes_so_that_nobody_here_can_count_is_refused_or_counted_in_full() {
    let engine = engine();
    let gateway = gateway(&engine, LIMIT, "\"tokens\"");
    let post = |bytes: &[u8]| {
        let mut client = gateway.connect();
        client.send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", bytes.len()));
        client.send(bytes);
        client.read_message()[9..12].parse::<u16>().unwrap()
    };
    let text = chat(json!({ "stream": true })).to_string();
    let wide = |of: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(of).collect::<Vec<_>>();
    assert_eq!((post(&wide(u16::to_le_bytes)), post(&wide(u16::to_be_bytes))), (400, 400));
    assert_eq!(post(&text.chars().flat_map(|sign| u32::from(sign).to_le_bytes()).collect::<Vec<_>>()), 400);
    assert_eq!(left(&gateway, ""), 1000);
    // Something is used, so that what exceeds the whole no longer enters.
    assert_eq!(post(chat(json!({ "x": [10, 10] })).to_string().as_bytes()), 200);
    let zeros = "0".repeat(40);
    for bound in [format!("5000.{zeros}"), "\"5000\"".into(), "5e3".into()] {
        assert_eq!(post(format!("{{\"messages\":[],\"max_tokens\":{bound}}}").as_bytes()), 429, "{bound}");
    }
}

#[test]
fn a_key_has_its_tokens_a_minute_and_a_limit_counts_both() {
    let engine = engine();
    let keys = KeysFile::new(&(entry("a", "tpm = 1000000") + &entry("b", "")));
    let filters = format!(
        "{}[filter.both]\nkind = \"rate-limit\"\nby = [\"key\", \"model\"]\nrequests = \"2/day\"\ntokens = \"1000/day\"\n",
        keys.filter()
    );
    let gateway = gateway(&engine, &filters, "\"keys\", \"both\"");
    let key = |name: &str| format!("x-api-key: sk-{name}\r\n");
    let (status, head, _) =
        ask(&gateway, "/v1/chat/completions", &key("a"), &chat(json!({ "max_tokens": 10, "x": [20, 30] })));
    assert_eq!(status, 200);
    for (name, value) in [
        ("x-ratelimit-limit-requests", "2"),
        ("x-ratelimit-remaining-requests", "1"),
        // The limit's own, which is nearer than the key's million.
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "979"),
        // Half of the requests are left, and nearly all tokens.
        ("ratelimit-limit", "2"),
        ("ratelimit-remaining", "1"),
    ] {
        assert_eq!(field(&head, name).as_deref(), Some(value), "{name}: {head}");
    }
    assert_eq!(ask(&gateway, "/v1/chat/completions", &key("a"), &chat(json!({}))).0, 200);
    let (status, _, body) = ask(&gateway, "/v1/chat/completions", &key("a"), &chat(json!({})));
    assert!(status == 429 && body.contains("\"param\":\"requests\""), "{body}");
    // Another model, and another key.
    assert_eq!(ask(&gateway, "/v1/chat/completions", &key("a"), &chat(json!({ "model": "n" }))).0, 200);
    assert_eq!(ask(&gateway, "/v1/chat/completions", &key("b"), &chat(json!({}))).0, 200);
    // A compressed body cannot be counted.
    let (status, _, body) =
        ask(&gateway, "/v1/chat/completions", &(key("b") + "content-encoding: gzip\r\n"), &chat(json!({})));
    assert!(status == 415 && body.contains("unsupported_encoding"), "{body}");
}

/// How many requests the next test makes; ten thousand were made by hand.
const MIXED: u64 = 800;

#[test]
fn what_is_taken_is_what_was_used_over_many_mixed_requests_at_once() {
    let engine = engine();
    let limit = "[filter.tokens]\nkind = \"rate-limit\"\nby = \"ip\"\ntokens = \"50000000/day\"\n";
    let gateway = gateway(&engine, limit, "\"tokens\"");
    let before = left(&gateway, "");
    let used: u64 = std::thread::scope(|scope| {
        let work = |lane: u64| {
            let gateway = &gateway;
            scope.spawn(move || {
                let each = (0..MIXED / 8).map(|number| {
                    let (read, written) = (100 + (lane * 37 + number * 11) % 200, (lane + number * 7) % 90);
                    let more = json!({ "x": [read, written], "stream": number % 3 != 0, "max_tokens": 1 + number % 500 });
                    let fails = number % 10 == 9;
                    let body = chat(if fails { json!({ "fails": true, "max_tokens": 400 }) } else { more });
                    let (status, _, text) = ask(gateway, "/v1/chat/completions", "", &body);
                    assert_eq!(status, if fails { 500 } else { 200 }, "{text}");
                    if fails { 0 } else { read + written }
                });
                each.sum::<u64>()
            })
        };
        let threads: Vec<_> = (0..8).map(work).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let taken = before - left(&gateway, "");
    // While it runs some refill, 579 each second.
    assert!(taken <= used && used - taken < used / 50, "{taken} of {used}");
}
