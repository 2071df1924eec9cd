//! Bodies that must be JSON, what OpenAI's API asks for, or what a schema says.

use std::fs;

use serde_json::Value;

use crate::support::{Gateway, OK, Upstream, fresh_path};

/// Status and error of the answer to a POST.
fn ask(gateway: &Gateway, path: &str, fields: &str, body: &str) -> (u16, Value) {
    let mut client = gateway.connect();
    client.send(format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let text = client.read_message();
    let (_, json) = text.split_once("\r\n\r\n").unwrap();
    let error = serde_json::from_str::<Value>(json).map_or(Value::Null, |json| json["error"].clone());
    (text[9..12].parse().unwrap(), error)
}

#[test]
fn what_is_refused_never_leaves_and_is_told_with_the_member_that_is_at_fault() {
    let schema = fresh_path("chat.schema.json");
    fs::write(&schema, r#"{"properties":{"user":{"type":"string"}}}"#).unwrap();
    let gateway = Gateway::start(&format!(
        "[filter.json]\nkind = \"validate\"\n[filter.api]\nkind = \"validate\"\nschema = \"openai\"\n\
         [filter.own]\nkind = \"validate\"\nschema = {schema:?}\n[cluster.up]\nendpoints = [{:?}]\n\
         [[route]]\nname = \"json\"\nmatch = {{ path = \"/json\" }}\nto = \"up\"\nfilters = [\"json\"]\n\
         [[route]]\nname = \"team\"\nmatch = {{ path = \"/team/*\" }}\nto = \"up\"\nrewrite = {{ strip = \"/team\", add = \"/v1\" }}\nfilters = [\"api\", \"own\"]\n\
         [[route]]\nname = \"api\"\nto = \"up\"\nfilters = [\"api\"]\n",
        Upstream::start().serve(OK)
    ));
    let json = "content-type: application/json\r\n";
    let good = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    for (path, fields, body, status, code, param) in [
        ("/v1/chat/completions", json, good, 200, "", ""),
        (
            "/v1/chat/completions",
            json,
            r#"{"model":"m","messages":[{"role":"user"}],"n":0}"#,
            400,
            "validation_failed",
            "n",
        ),
        ("/v1/chat/completions", json, r#"{"model":"m"}"#, 400, "validation_failed", "messages"),
        // However the path is spelt.
        ("/v1/chat/completion%73", json, "{}", 400, "validation_failed", "model"),
        ("/v1/chat/completions/", json, "{}", 400, "validation_failed", "model"),
        ("/v1//chat/completions", json, "{}", 400, "validation_failed", "model"),
        ("/v1/chat%2Fcompletions", json, "{}", 400, "validation_failed", "model"),
        ("/v1/chat/completions;x", json, "{}", 400, "validation_failed", "model"),
        ("/v1/chat/completions?a=/b", json, "{}", 400, "validation_failed", "model"),
        ("/v1/other", json, "{}", 200, "", ""),
        ("/v1/other", json, "{", 400, "invalid_body", ""),
        ("/v1/chat/completions", "content-type: text/plain\r\n", good, 415, "unsupported_media_type", ""),
        (
            "/v1/chat/completions",
            "content-type: application/json\r\ncontent-encoding: gzip\r\n",
            good,
            415,
            "unsupported_encoding",
            "",
        ),
        ("/team/chat/completions", json, good, 200, "", ""),
        ("/team/chat/completions", json, r#"{"messages":[]}"#, 400, "validation_failed", "messages"),
        (
            "/team/chat/completions",
            json,
            r#"{"model":"m","messages":[{"role":"user"}],"user":1}"#,
            400,
            "validation_failed",
            "user",
        ),
        ("/json", json, "[1]", 200, "", ""),
        ("/json", json, "[1", 400, "invalid_body", ""),
        ("/json", json, "", 400, "invalid_body", ""),
    ] {
        let (told, error) = ask(&gateway, path, fields, body);
        assert_eq!(told, status, "{path} {fields} {body}: {error}");
        if status != 200 {
            assert_eq!(error["code"], code, "{path} {body}");
            assert_eq!(error["type"], "invalid_request_error");
            assert_eq!(error["param"].as_str().unwrap_or_default(), param, "{path} {body}");
        }
    }
    let requests = &gateway.stats()["routes"];
    assert_eq!(requests["team"]["requests"], 3);
    // A long one, in chunks, with all kinds of pieces; then the connection lives on.
    let mut client = gateway.connect();
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{json}transfer-encoding: chunked\r\n\r\n"
    ));
    let text = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}],"n":0}}"#,
        "é\\n\\u00e9".repeat(50_000)
    );
    for piece in text.as_bytes().chunks(7919) {
        client.send(format!("{:x}\r\n", piece.len()));
        client.send(piece);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    let answer = client.read_message();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"param\":\"n\""), "{answer}");
    client.send("GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    fs::remove_file(schema).unwrap();
}
