//! What passes and what does not, by the preset, by a schema, and by the grammar alone.

use super::super::testing::{request, view};
use super::*;
use crate::codec::operation::Operation;

/// What is told of a body that comes in pieces of this length: status, code and param.
fn told(validate: &Validate, operation: Operation, body: &[u8], piece: usize) -> Result<(), (u16, String)> {
    let head = request("POST", "content-type: application/json\r\ncontent-length: 9\r\n");
    let view = View { operation, ..view(&head) };
    let mut check = validate.check(&view);
    body.chunks(piece).for_each(|piece| check.feed(piece));
    check.end().map_err(|refusal| {
        let code = if refusal.code == "validation_failed" { String::new() } else { refusal.code.to_owned() };
        (refusal.status, code + refusal.param.as_deref().unwrap_or("-"))
    })
}

/// The param of what is told, whole and byte by byte; empty where it passes.
fn param(validate: &Validate, operation: Operation, body: &str) -> String {
    let whole = told(validate, operation, body.as_bytes(), usize::MAX);
    assert_eq!(told(validate, operation, body.as_bytes(), 1), whole, "{body}");
    match whole {
        Ok(()) => String::new(),
        Err((status, param)) => {
            assert_eq!(status, 400, "{body}");
            param
        }
    }
}

#[test]
fn requests_for_a_chat_are_what_the_api_asks_for() {
    let with = |more: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
    for (body, expected) in [
        (with(""), ""),
        (
            with(
                r#","temperature":0,"top_p":1.0,"n":1,"max_tokens":1.0,"stream":false,"unknown":{"messages":1}"#,
            ),
            "",
        ),
        (with(r#","temperature":null,"stop":null,"stream_options":null,"tools":null"#), ""),
        (with(r#","stop":["a","b","c","d"],"stream":true,"stream_options":{"include_usage":true}"#), ""),
        (with(r#","stream_options":{},"stream":true"#), ""),
        (with(r#","temperature":2.1"#), "temperature"),
        (with(r#","temperature":-0.1"#), "temperature"),
        (with(r#","temperature":"1""#), "temperature"),
        (with(r#","temperature":NaN"#), "temperature"),
        (with(r#","temperature":1e400"#), "temperature"),
        (with(r#","temperatur\u0065":9"#), "temperature"),
        (with(r#","temperature":1,"temperature":9"#), "temperature"),
        (with(r#","top_p":1.1"#), "top_p"),
        (with(r#","n":0"#), "n"),
        (with(r#","n":129"#), "n"),
        (with(r#","n":1.5"#), "n"),
        (with(r#","max_tokens":0"#), "max_tokens"),
        (with(r#","max_completion_tokens":"5""#), "max_completion_tokens"),
        (with(r#","presence_penalty":-3"#), "presence_penalty"),
        (with(r#","frequency_penalty":[1]"#), "frequency_penalty"),
        (with(r#","top_logprobs":21"#), "top_logprobs"),
        (with(r#","stop":["a","b","c","d","e"]"#), "stop"),
        (with(r#","stop":["a",1]"#), "stop[1]"),
        (with(r#","stop":{}"#), "stop"),
        (with(r#","stream":"true""#), "stream"),
        (with(r#","stream_options":{}"#), "stream_options"),
        (with(r#","stream_options":{},"stream":false"#), "stream_options"),
        (with(r#","stream_options":{},"n":0"#), "stream_options"),
        (with(r#","n":0,"stream_options":{}"#), "n"),
        (with(r#","tools":{}"#), "tools"),
        (with(r#","model":"n""#), "model"),
        (r#"{"messages":[{"role":"user"}]}"#.into(), "model"),
        (r#"{"model":null,"messages":[{"role":"user"}]}"#.into(), "model"),
        (r#"{"model":5,"messages":[{"role":"user"}]}"#.into(), "model"),
        (r#"{"model":"m"}"#.into(), "messages"),
        (r#"{"model":"m","messages":null}"#.into(), "messages"),
        (r#"{"model":"m","messages":[]}"#.into(), "messages"),
        (r#"{"model":"m","messages":"hi"}"#.into(), "messages"),
        (r#"{"model":"m","messages":{"role":"user"}}"#.into(), "messages"),
        (r#"{"model":"m","messages":["hi"]}"#.into(), "messages[0]"),
        (r#"{"model":"m","messages":[{"role":"user"},[]]}"#.into(), "messages[1]"),
        (r#"{"model":"m","messages":[{"role":"user"},{"content":"x"}]}"#.into(), "messages[1].role"),
        (r#"{"model":"m","messages":[{"role":"root"}]}"#.into(), "messages[0].role"),
        (r#"{"model":"m","messages":[{"role":"USER"}]}"#.into(), "messages[0].role"),
        (r#"{"model":"m","messages":[{"role":null}]}"#.into(), "messages[0].role"),
        (r#"{"model":"m","messages":[{"role":"t\u006fol","content":null}]}"#.into(), ""),
        (
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","role":1,"content":2}]}]}"#
                .into(),
            "",
        ),
        (r#"{"model":"m","messages":[{"role":"user","content":5}]}"#.into(), "messages[0].content"),
        (
            r#"{"model":"m","messages":[{"role":"user","content":"a","content":{}}]}"#.into(),
            "messages[0].content",
        ),
        (r#"{"messages":[{"role":"x"}],"temperature":9}"#.into(), "messages[0].role"),
        ("[]".into(), "-"),
        ("null".into(), "-"),
        ("\"messages\"".into(), "-"),
        (with("") + " {}", "invalid_body-"),
        (with(r#","x":"\x""#), "invalid_body-"),
        (with(r#","x":tru"#), "invalid_body-"),
        (String::new(), "invalid_body-"),
    ] {
        assert_eq!(param(&Validate::OpenAi, Operation::Chat, &body), expected, "{body}");
    }
}

#[test]
fn requests_for_completions_and_embeddings_are_too() {
    let prompt = |prompt: &str| format!(r#"{{"model":"m","prompt":{prompt}}}"#);
    for (text, expected) in [
        ("\"\"", ""),
        ("\"a\"", ""),
        ("[]", ""),
        ("[\"a\",\"b\"]", ""),
        ("[1,2]", ""),
        ("[[1],[2,3]]", ""),
        ("null", "prompt"),
        ("{}", "prompt"),
        ("5", "prompt"),
        ("[\"a\",1]", "prompt[1]"),
        ("[1,[2]]", "prompt[1]"),
        ("[[1],[2,\"x\"]]", "prompt[1][1]"),
        ("[[1],[1.5]]", "prompt[1][0]"),
        ("[null]", "prompt[0]"),
        ("[{}]", "prompt[0]"),
        ("[-1]", "prompt[0]"),
    ] {
        assert_eq!(param(&Validate::OpenAi, Operation::Completions, &prompt(text)), expected, "{text}");
    }
    let input = |input: &str| format!(r#"{{"model":"m","input":{input}}}"#);
    for (text, expected) in [
        (r#""a""#, ""),
        (r#"["a"],"encoding_format":"base64","dimensions":256"#, ""),
        (r#""""#, "input"),
        ("[]", "input"),
        ("[[1,2],[3]]", ""),
        (r#""a","encoding_format":"int8""#, "encoding_format"),
        (r#""a","dimensions":0"#, "dimensions"),
        // A member of another operation is not looked at.
        (r#""a","messages":5,"prompt":5"#, ""),
    ] {
        assert_eq!(param(&Validate::OpenAi, Operation::Embeddings, &input(text)), expected, "{text}");
    }
    assert_eq!(param(&Validate::OpenAi, Operation::Embeddings, r#"{"model":"m"}"#), "input");
    assert_eq!(param(&Validate::OpenAi, Operation::Completions, r#"{"model":"m"}"#), "prompt");
    // Other paths: JSON of any kind.
    assert_eq!(param(&Validate::OpenAi, Operation::Other, "[1]"), "");
    assert_eq!(param(&Validate::OpenAi, Operation::Other, "[1"), "invalid_body-");
}

#[test]
fn a_schema_names_what_does_not_fit() {
    let text = r#"{"type":"object","required":["messages"],"additionalProperties":false,"properties":{
        "messages":{"type":"array","minItems":1,"items":{"type":"object","required":["role"],"properties":{"content":{"type":"string","maxLength":3}}}},
        "user":{"pattern":"^u[0-9]+$"},"a/b":{"const":1}}}"#;
    let schema = Validate::Schema(Box::new(Schema::parse(text).unwrap()));
    for (body, expected) in [
        (r#"{"messages":[{"role":"x","content":"abc"}],"user":"u1","a/b":1}"#, ""),
        (r#"{"messages":[{"role":"x"},{"role":"y","content":"abcd"}]}"#, "messages[1].content"),
        (r#"{"messages":[{}]}"#, "messages[0].role"),
        ("{}", "messages"),
        ("[]", "-"),
        (r#"{"messages":[{"role":"x"}],"user":"me"}"#, "user"),
        (r#"{"messages":[{"role":"x"}],"a/b":2}"#, "a/b"),
        (r#"{"messages":[{"role":"x"}],"other":2}"#, "-"),
        (r#"{"messages":[{"role":"x"}],"messages":[{"role":"y"}]}"#, "messages"),
        (r#"{"messages":[{"role":NaN}]}"#, "-"),
        (r#"{"messages":["#, "invalid_body-"),
    ] {
        assert_eq!(param(&schema, Operation::Chat, body), expected, "{body}");
    }
    for broken in
        ["", "5", r#"{"type":"strin"}"#, r#"{"pattern":"(?=x)"}"#, r#"{"$ref":"http://127.0.0.1/x"}"#]
    {
        assert!(Schema::parse(broken).is_err(), "{broken}");
    }
}

#[test]
fn what_is_told_is_short_and_holds_no_value() {
    let head = request("POST", "content-length: 9\r\n");
    let schema = Schema::parse(r#"{"additionalProperties":{"const":"secret"}}"#).unwrap();
    let validate = Validate::Schema(Box::new(schema));
    let mut check = validate.check(&view(&head));
    check.feed(format!(r#"{{"{}":"private"}}"#, "é".repeat(5000)).as_bytes());
    let refusal = check.end().unwrap_err();
    assert!(refusal.message.len() < 600, "{}", refusal.message);
    assert!(
        !refusal.message.contains("private") && !refusal.message.contains("secret"),
        "{}",
        refusal.message
    );
}

#[test]
fn a_head_tells_whether_a_body_is_looked_at() {
    let json = "content-type: application/json\r\n";
    for (method, fields, expected) in [
        ("POST", format!("{json}content-length: 2\r\n"), "later"),
        (
            "POST",
            "content-type: application/vnd.x+json; charset=utf-8\r\ntransfer-encoding: chunked\r\n".into(),
            "later",
        ),
        ("POST", "content-length: 2\r\n".into(), "later"),
        ("GET", String::new(), "pass"),
        ("DELETE", String::new(), "pass"),
        ("GET", "content-length: 2\r\n".into(), "later"),
        ("POST", json.into(), "invalid_body"),
        ("POST", "content-length: 0\r\n".into(), "invalid_body"),
        ("POST", "content-type: text/plain\r\ncontent-length: 2\r\n".into(), "unsupported_media_type"),
        ("POST", "content-type:\r\ncontent-length: 2\r\n".into(), "unsupported_media_type"),
        (
            "POST",
            "content-type: multipart/form-data; boundary=x\r\ncontent-length: 2\r\n".into(),
            "unsupported_media_type",
        ),
        (
            "POST",
            "content-type: application/json; charset=utf-16\r\ncontent-length: 2\r\n".into(),
            "unsupported_media_type",
        ),
        (
            "POST",
            format!("{json}content-type: text/plain\r\ncontent-length: 2\r\n"),
            "unsupported_media_type",
        ),
        ("POST", format!("{json}content-encoding: gzip\r\ncontent-length: 2\r\n"), "unsupported_encoding"),
    ] {
        let head = request(method, &fields);
        let told = match Validate::OpenAi.on_request(&view(&head)) {
            Verdict::Continue => "pass",
            Verdict::Later => "later",
            Verdict::Refuse(refusal) => refusal.code,
            Verdict::Ask => "ask",
        };
        assert_eq!(told, expected, "{method} {fields}");
    }
}

#[test]
fn only_text_is_json() {
    for (body, passes) in [
        (&b"[\"\xC3\xA9\"]"[..], true),
        (b"[\"\xC3\"]", false),
        (b"[\"\xED\xA0\x80\"]", false),
        (b"\xEF\xBB\xBF[1]", true),
    ] {
        for piece in [1, 2, usize::MAX] {
            assert_eq!(told(&Validate::Json, Operation::Other, body, piece).is_ok(), passes, "{body:?}");
        }
    }
}
