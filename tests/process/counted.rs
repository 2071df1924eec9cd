//! What metrics count of tokens, keys and clients that leave.

use std::process::Command;

use serde_json::Value;

use crate::keys::{KeysFile, entry};
use crate::support::{After, Gateway, Upstream};

const USAGE: &str = r#""usage":{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":8}}"#;

/// An engine that answers with a document, a stream, a long document or nothing, as the path says.
fn engine() -> String {
    Upstream::start().play(|peer, request| {
        let length = request.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let (got, length) = (request.split_once("\r\n\r\n").unwrap().1.len(), length.parse::<usize>().unwrap());
        peer.read_exactly(length - got);
        let (kind, body) = match request.split(' ').nth(1).unwrap() {
            "/long" => ("application/json", format!("{{\"choices\":[\"{}\"],{USAGE}}}", "x".repeat(100_000))),
            "/stream" => {
                let text = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n".repeat(400);
                ("text/event-stream", format!("{text}data: {{\"choices\":[],{USAGE}}}\n\ndata: [DONE]\n\n"))
            }
            "/claude" => {
                let text = "event: content_block_delta\ndata: {\"delta\":{\"text\":\"a\"}}\n\n".repeat(400);
                let start = "data: {\"message\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":1,\"cache_read_input_tokens\":8}}}";
                let end = "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":4}}";
                ("text/event-stream", format!("{start}\n\n{text}{end}\n\n"))
            }
            // What an event tells beside its text, one that is named, and one that names its kind last.
            "/beside" => {
                let text = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n".repeat(9);
                let last = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}],{USAGE}}}\n\n");
                ("text/event-stream", format!("{text}{last}{}", "data: [DONE]\n\n"))
            }
            "/named" => {
                let text = "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\n".repeat(9);
                let told = format!("{{\"response\":{{\"output\":[{{\"text\":\"a\"}}],{USAGE}}},\"type\":\"response.completed\"}}");
                ("text/event-stream", format!("{text}event: response.completed\ndata: {told}\n\n"))
            }
            // Much behind it, and what a tool is given.
            "/behind" => {
                let tool = "[{\"type\":\"tool_use\",\"input\":{\"output_tokens\":999}}]";
                ("application/json", format!("{{{USAGE},\"content\":{tool},\"x\":\"{}\"}}", "x".repeat(3000)))
            }
            "/silent" => ("application/json", "{\"choices\":[]}".to_owned()),
            "/stall" => {
                peer.wait_for_end();
                return After::Close;
            }
            _ => ("application/json", format!("{{\"choices\":[{{\"text\":\"\\\"total_tokens\\\":9\"}}],{USAGE}}}")),
        };
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        After::GoOn
    })
}

fn config(url: &str, keys: &KeysFile) -> String {
    format!(
        "{}[cluster.up]\nendpoints = [{url:?}]\n[cluster.other]\nendpoints = [\"{url}/\"]\n\
         [[route]]\nname = \"both\"\nmatch = {{ path = \"/both\" }}\nfanout = {{ to = [\"up\", \"other\"], gather = \"all\" }}\n\
         [[route]]\nname = \"a\"\nmatch = {{ body = {{ model = [\"a\", \"b-*\"] }} }}\nto = \"up\"\nfilters = [\"keys\"]\n\
         [[route]]\nname = \"all\"\nto = \"up\"\n",
        keys.filter()
    )
}

fn ask(gateway: &Gateway, path: &str, key: &str, model: &str) -> String {
    let body = format!("{{\"model\":\"{model}\"}}");
    gateway.exchange(&format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer sk-{key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// The series of a family and their values, of those that are not zero.
fn family(gateway: &Gateway, name: &str) -> Vec<String> {
    gateway.until("all are counted", |stats| {
        stats["routes"].as_object().unwrap().values().all(|route| route["in_flight"] == 0)
    });
    let text = gateway.admin("GET", "/metrics").1;
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    lines.filter(|line| !line.ends_with(" 0")).map(|line| line.replace('"', "")).collect()
}

#[test]
fn tokens_are_counted_as_answers_tell_of_them() {
    let keys = KeysFile::new(&entry("one", ""));
    let gateway = Gateway::start(&config(&engine(), &keys));
    let tell = || family(&gateway, "corelane_usage_tokens_total");
    for (before, path) in
        ["/plain", "/long", "/stream", "/claude", "/beside", "/named", "/behind"].into_iter().enumerate()
    {
        assert!(ask(&gateway, path, "", "x").starts_with("HTTP/1.1 200 "));
        let kinds = [("input", 10), ("output", 4), ("cached", 8)];
        let lines = kinds.map(|(kind, each)| format!("route=all,kind={kind}}} {}", each * (before + 1)));
        assert_eq!(tell(), lines, "{path}");
    }
    let before = tell();
    ask(&gateway, "/silent", "", "x");
    assert_eq!(tell(), before);
    // Each of several answers counts, once.
    assert!(ask(&gateway, "/both", "", "x").contains("prompt_tokens"));
    assert_eq!(
        tell()[3..],
        ["route=both,kind=input} 20", "route=both,kind=output} 8", "route=both,kind=cached} 16"]
    );
}

#[test]
fn keys_are_counted_by_the_models_that_the_configuration_names() {
    let keys = KeysFile::new(&(entry("one", "") + &entry("two", "models = [\"b-1\", \"b-*\", \"a\"]")));
    let gateway = Gateway::start(&config(&engine(), &keys));
    for (key, model) in
        [("one", "a"), ("one", "b-1"), ("one", "b-x"), ("two", "a"), ("two", "a"), ("nobody", "a")]
    {
        ask(&gateway, "/plain", key, model);
    }
    let requests = [
        "key=one,model=a,status=2xx} 1",
        "key=one,model=b-1,status=2xx} 1",
        "key=one,model=other,status=2xx} 1",
        "key=two,model=a,status=2xx} 2",
    ];
    assert_eq!(family(&gateway, "corelane_key_requests_total"), requests);
    let tokens = family(&gateway, "corelane_key_tokens_total");
    assert_eq!(
        tokens[tokens.len() - 3..],
        [
            "key=two,model=a,kind=input} 20",
            "key=two,model=a,kind=output} 8",
            "key=two,model=a,kind=cached} 16",
        ]
    );
    // Whatever else they ask for has the same name.
    let series = || gateway.admin("GET", "/metrics").1.lines().filter(|line| !line.starts_with('#')).count();
    let before = series();
    for number in 0..200 {
        ask(&gateway, "/plain", "one", &format!("b-made-up-{number}"));
    }
    assert_eq!(series(), before);
    let checked =
        Command::new(env!("CARGO_BIN_EXE_corelane")).arg("check").arg(&gateway.config).output().unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    // Two keys, two models and `other`, nine series each; four pairs of the six were used, and one code of a refusal.
    assert!(
        said.ends_with(&format!("metric series {}, and up to 54 of keys\n", before - 4 * 9 - 1)),
        "{before} {said}"
    );
}

#[test]
fn a_client_that_leaves_is_counted_with_how_long_its_upstream_stayed() {
    let keys = KeysFile::new(&entry("one", ""));
    let gateway = Gateway::start(&config(&engine(), &keys));
    ask(&gateway, "/plain", "", "x");
    let body = "{\"model\":\"x\"}";
    let mut client = gateway.connect();
    client.send(format!("POST /stall HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    gateway.until("it waits upstream", |stats| {
        let mut endpoints = stats["endpoints"]["up"].as_object().unwrap().values();
        endpoints.any(|endpoint| endpoint["in_flight"] == 1)
    });
    drop(client);
    gateway.until("it left", |stats| stats["routes"]["all"]["client_closed"] == 1);
    let counts: Vec<_> = family(&gateway, "corelane_cancel_seconds_count");
    assert_eq!(counts, ["route=all} 1"]);
    let quick = family(&gateway, "corelane_cancel_seconds_bucket");
    assert!(quick.iter().any(|line| line == "route=all,le=0.0327} 1"), "{quick:?}");
    let stats: Value = gateway.stats();
    assert_eq!(stats["routes"]["all"]["success"], 1);
}
