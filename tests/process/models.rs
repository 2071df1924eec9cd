//! The model that a request asks for: keys that are for some models only, limits by model, and fields that tell it.

use serde_json::Value;

use crate::keys::{KeysFile, entry};
use crate::support::{After, Gateway, Upstream};

/// An endpoint that answers with what it was sent.
fn mirror() -> String {
    Upstream::start().play(|peer, request| {
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{request}", request.len()));
        After::GoOn
    })
}

fn gateway(keys: &KeysFile, more: &str) -> Gateway {
    Gateway::start(&format!(
        "{}{more}[cluster.up]\nendpoints = [{:?}]\n\
         [[route]]\nname = \"pinned\"\nmatch = {{ path = \"/v1/chat/completions\", body = {{ model = \"llama-1\" }} }}\nto = \"up\"\nfilters = [\"keys\", \"edit\"]\n\
         [[route]]\nname = \"path\"\nmatch = {{ path = \"/v2/models/{{model}}/infer\" }}\nto = \"up\"\nfilters = [\"keys\", \"edit\"]\n\
         [[route]]\nname = \"limited\"\nmatch = {{ path = \"/limited\" }}\nto = \"up\"\nfilters = [\"limits\"]\n\
         [[route]]\nname = \"socket\"\nmatch = {{ path = \"/socket\" }}\nto = \"up\"\nupgrade = true\nfilters = [\"keys\"]\n\
         [[route]]\nname = \"all\"\nto = \"up\"\nfilters = [\"keys\", \"edit\"]\n",
        keys.filter(),
        mirror()
    ))
}

const MORE: &str = "[filter.edit]\nkind = \"headers\"\nrequest = { set = { x-model = \"{model}\" } }\n\
    [filter.limits]\nkind = \"rate-limit\"\nby = \"model\"\nrequests = \"1/hour\"\n";

/// Status, code and text of the answer to a request with this body.
fn ask(gateway: &Gateway, request: &str, fields: &str, body: &str) -> (u16, String, String) {
    let mut client = gateway.connect();
    client.send(format!(
        "{request} HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let text = client.read_message();
    let (_, json) = text.split_once("\r\n\r\n").unwrap();
    let code = serde_json::from_str::<Value>(json)
        .ok()
        .and_then(|json| Some(json["error"]["code"].as_str()?.to_owned()));
    (text[9..12].parse().unwrap(), code.unwrap_or_default(), text)
}

#[test]
fn a_key_is_for_its_models_wherever_a_request_names_one() {
    let keys = KeysFile::new(
        &(entry("some", "models = [\"llama-*\", \"qwen\"]")
            + &entry("none", "models = []")
            + &entry("all", "")),
    );
    let gateway = gateway(&keys, MORE);
    let json = "content-type: application/json\r\n";
    let form = "content-type: multipart/form-data; boundary=XX\r\n";
    let part = "--XX\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nqwen\r\n--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\0\x01\r\n--XX--\r\n";
    let pairs = "content-type: application/x-www-form-urlencoded\r\n";
    for (key, request, fields, body, status, code) in [
        ("some", "POST /v1/chat/completions", json, r#"{"model":"llama-1"}"#, 200, ""),
        ("some", "POST /v1/chat/completions", json, r#"{"messages":[],"model":"qwen"}"#, 200, ""),
        ("some", "POST /v1/audio", form, part, 200, ""),
        ("some", "POST /v1/x", pairs, "a=b&model=qwen", 200, ""),
        ("some", "POST /v1/chat/completions", json, r#"{"model":"gpt"}"#, 403, "model_not_allowed"),
        ("some", "POST /v1/chat/completions", json, r#"{"messages":[]}"#, 403, "model_not_allowed"),
        ("some", "POST /v1/chat/completions", json, "", 403, "model_not_allowed"),
        (
            "some",
            "POST /v1/chat/completions",
            "content-type: application/octet-stream\r\n",
            "model",
            403,
            "model_not_allowed",
        ),
        ("some", "POST /v1/chat/completions", json, r#"{"model":"qwen","model":"gpt"}"#, 400, "invalid_body"),
        ("some", "POST /v1/x", json, r#"{"model":"qwen","Model":"gpt"}"#, 400, "invalid_body"),
        (
            "some",
            "POST /v1/x",
            "content-encoding: gzip\r\n",
            r#"{"model":"qwen"}"#,
            415,
            "unsupported_encoding",
        ),
        ("some", "GET /v1/models", "", "", 200, ""),
        ("some", "GET /v1/models", "", r#"{"model":"gpt"}"#, 403, "model_not_allowed"),
        ("some", "DELETE /v1/x", "", "", 403, "model_not_allowed"),
        ("some", "POST /v2/models/qwen/infer", json, "{}", 200, ""),
        ("some", "POST /v2/models/qw%65n/infer", json, "{}", 200, ""),
        ("some", "POST /v2/models/gpt/infer", json, "{}", 403, "model_not_allowed"),
        ("some", "GET /v2/models/gpt/infer", "", "", 403, "model_not_allowed"),
        ("some", "POST /v2/models/qwen/infer", json, r#"{"model":"gpt"}"#, 403, "model_not_allowed"),
        ("some", "POST /v2/models/gpt/infer", json, r#"{"model":"qwen"}"#, 403, "model_not_allowed"),
        ("none", "GET /v1/models", "", "", 200, ""),
        ("none", "POST /v1/chat/completions", json, r#"{"model":"qwen"}"#, 403, "model_not_allowed"),
        ("all", "POST /v1/chat/completions", json, r#"{"model":"gpt"}"#, 200, ""),
        ("all", "POST /v1/x", "", "", 200, ""),
    ] {
        let (told, why, text) = ask(&gateway, request, &format!("x-api-key: sk-{key}\r\n{fields}"), body);
        assert_eq!((told, &why[..]), (status, code), "{key} {request} {body}: {text}");
        assert!(status != 200 || text.ends_with(body), "the body passes as it came: {text}");
        assert!(status != 403 || text.contains("\"param\":\"model\""), "{text}");
        assert!(status != 415 || text.contains("\r\naccept-encoding: identity\r\n"), "{text}");
    }
    // A tunnel says its model where nobody looks.
    let mut client = gateway.connect();
    client.send(
        "GET /socket?model=qwen HTTP/1.1\r\nhost: x\r\nx-api-key: sk-some\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert!(client.read_message().contains("\"code\":\"model_not_allowed\""));
}

#[test]
fn fields_tell_the_model_and_limits_count_by_it() {
    let keys = KeysFile::new(&entry("all", ""));
    let gateway = gateway(&keys, MORE);
    let json = "x-api-key: sk-all\r\ncontent-type: application/json\r\nx-model: mine\r\n";
    let told = |request: &str, body: &str| {
        let (_, _, text) = ask(&gateway, request, json, body);
        let line = text.lines().find_map(|line| line.strip_prefix("x-model: ").map(str::to_owned));
        line.unwrap_or_default()
    };
    assert_eq!(told("POST /v1/chat/completions", r#"{"model":"llama-1"}"#), "llama-1");
    assert_eq!(told("POST /v1/chat/completions", r#"{"model":"a\r\nx-y: \u00e4"}"#), "a%0D%0Ax-y: %C3%A4");
    assert_eq!(told("POST /v2/models/qw%65n/infer", "{}"), "qwen");
    assert_eq!(told("POST /v1/x", "{}"), "");
    for (body, status) in [
        (r#"{"model":"a"}"#, 200),
        (r#"{"model":"a"}"#, 429),
        (r#"{"mode\u006c":"a"}"#, 429),
        (r#"{"model":"b"}"#, 200),
        ("{}", 200),
        ("", 429),
    ] {
        assert_eq!(ask(&gateway, "POST /limited", json, body).0, status, "{body}");
    }
}

#[test]
fn a_body_that_filters_read_may_come_in_any_pieces_and_is_refused_before_it_leaves() {
    let keys = KeysFile::new(&entry("some", "models = [\"qwen\"]"));
    let gateway = gateway(&keys, MORE);
    for (body, status) in
        [(r#"{"messages":["x"],"model":"qwen"}"#, "200"), (r#"{"messages":["x"],"model":"gpt"}"#, "403")]
    {
        let mut client = gateway.connect();
        client.send("POST /v1/x HTTP/1.1\r\nhost: x\r\nx-api-key: sk-some\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        let (all, last) = body.split_at(body.len() - 2);
        for byte in all.bytes() {
            client.send(format!("1\r\n{}\r\n", char::from(byte)));
        }
        // What the model is shows with these: what follows them would not be waited for.
        client.send(format!("2\r\n{last}\r\n0\r\n\r\n"));
        let answer = client.read_message();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(!answer.contains("\r\nexpect:"), "it was met already: {answer}");
        // The connection lives on.
        client.send("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: sk-some\r\n\r\n");
        assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(gateway.endpoint(&url_of(&gateway))["requests"], 3, "what is refused never left");
}

/// The one endpoint's URL.
fn url_of(gateway: &Gateway) -> String {
    gateway.stats()["endpoints"]["up"].as_object().unwrap().keys().next().unwrap().clone()
}
