//! Which route a request takes, what its path becomes, and what odd bodies do.

use serde_json::Value;

use crate::support::{Gateway, Peer, Upstream};

/// Answers with its name and what it was sent.
pub fn echo(name: &'static str) -> String {
    let upstream = Upstream::start();
    let url = upstream.url();
    std::thread::spawn(move || {
        for stream in upstream.listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut peer = Peer::new(stream);
                peer.stream.set_read_timeout(None).unwrap();
                while let Some(request) = peer.try_message() {
                    let body = format!("{name}\n{request}");
                    peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
                }
            });
        }
    });
    url
}

pub fn gateway(routes: &str) -> Gateway {
    let clusters: String = ["a", "b", "c"]
        .iter()
        .map(|name| format!("[cluster.{name}]\nendpoints = [\"{}\"]\n", echo(name)))
        .collect();
    Gateway::start(&format!("{clusters}{routes}"))
}

pub fn post(gateway: &Gateway, fields: &str, body: &str) -> (u16, String) {
    let answer = gateway.exchange(&format!(
        "POST /v1/chat HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    (answer[9..12].parse().unwrap(), answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// The code of a refusal.
pub fn code(answer: &(u16, String)) -> (u16, String) {
    let body: Value = serde_json::from_str(&answer.1).unwrap_or_default();
    (answer.0, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

const BY_MODEL: &str = r#"
[[route]]
match = { body = { model = ["qwen3-32b", "llama-*"] } }
to = "a"
[[route]]
match = { body = { model = "~^gpt-[0-9]+$", stream = true } }
to = "b"
[[route]]
match = { path = "/any/*" }
to = "c"
"#;

#[test]
fn bodies_choose_the_route_and_arrive_unchanged() {
    let gateway = gateway(BY_MODEL);
    let filler = "x".repeat(300_000);
    for (body, name) in [
        (r#"{"model":"qwen3-32b"}"#.to_owned(), "a"),
        (format!(r#"{{"messages":[{{"content":"{filler}"}}],"model":"llama-3"}}"#), "a"),
        (r#" {"stream":true , "mod\u0065l":"gpt-4"}"#.to_owned(), "b"),
    ] {
        let (status, answer) = post(&gateway, "", &body);
        let (server, request) = answer.split_once('\n').unwrap();
        assert_eq!((status, server), (200, name), "{}", &body[..40.min(body.len())]);
        let (head, sent) = request.split_once("\r\n\r\n").unwrap();
        assert!(sent == body, "the body arrives byte for byte");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    }
}

#[test]
fn chunked_bodies_choose_too_and_stay_chunked() {
    let gateway = gateway(BY_MODEL);
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send(
            "POST /v1/chat HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{\"model\":\r\n",
        );
        client.send("b\r\n\"llama-70b\"\r\n");
        client.send("1\r\n}\r\n0\r\n\r\n");
        let answer = client.read_message();
        assert!(answer.contains("\r\n\r\na\nPOST /v1/chat HTTP/1.1\r\n"), "{answer}");
        assert!(
            answer.contains("transfer-encoding: chunked\r\n") && answer.contains("{\"model\":\"llama-70b\"}")
        );
    }
}

#[test]
fn odd_bodies_are_told_apart() {
    let gateway = gateway(BY_MODEL);
    for (fields, body, status, expected) in [
        ("", r#"{"model":"unknown"}"#, 404, "model_not_found"),
        ("", r#"{"model":null}"#, 404, "model_not_found"),
        ("", r#"{"model":["qwen3-32b"]}"#, 404, "model_not_found"),
        ("", "{}", 404, "model_not_found"),
        ("", "", 400, "invalid_body"),
        ("", "[1]", 400, "invalid_body"),
        ("", "model=qwen3-32b", 400, "invalid_body"),
        ("", r#"{"model":"qwen3-32b""#, 400, "invalid_body"),
        ("", r#"{"model":"qwen3-32b"} {}"#, 400, "invalid_body"),
        ("", r#"{"model":"x","model":"qwen3-32b"}"#, 400, "invalid_body"),
        ("", r#"{"model":"qwen3-32b","a":[{}],"mod\u0065l":"qwen3-32b"}"#, 400, "invalid_body"),
        ("content-encoding: gzip\r\n", r#"{"model":"qwen3-32b"}"#, 415, "unsupported_encoding"),
        ("content-type: multipart/form-data; boundary=b\r\n", "no form", 400, "invalid_body"),
    ] {
        let answer = post(&gateway, fields, body);
        assert_eq!(code(&answer), (status, expected.to_owned()), "{fields} {body}: {}", answer.1);
    }
    let deep = format!("{{\"a\":{}{},\"model\":\"qwen3-32b\"}}", "[".repeat(600), "]".repeat(600));
    assert_eq!(code(&post(&gateway, "", &deep)), (400, "invalid_body".to_owned()));
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nqwen3-32b\r\n--b--\r\n";
    let answer = post(&gateway, "content-type: multipart/form-data; boundary=b\r\n", form);
    assert!(answer.0 == 200 && answer.1.starts_with("a\n") && answer.1.ends_with(form), "{answer:?}");
    let identity = post(&gateway, "content-encoding: identity\r\n", r#"{"model":"qwen3-32b"}"#);
    assert_eq!(identity.0, 200);
}

#[test]
fn a_route_without_body_conditions_takes_what_fits_no_other() {
    let gateway = gateway(&format!("{BY_MODEL}[[route]]\nto = \"c\"\n"));
    for body in ["", "hello", "[]", r#"{"model":"unknown"}"#, "{}"] {
        let (status, answer) = post(&gateway, "", body);
        assert!(status == 200 && answer.starts_with("c\n") && answer.ends_with(body), "{body}: {answer}");
    }
    // What some server may read as an object, and we cannot, does not pass the rules by.
    for body in [r#"{"model":"qwen3-32b",}"#, "{{ name }}", r#"{"model":"qwen3-32b""#] {
        assert_eq!(code(&post(&gateway, "", body)), (400, "invalid_body".to_owned()), "{body}");
    }
    // A member that stands twice is refused all the same: a server that reads the other one would be reached past the
    // rules.
    let doubled = post(&gateway, "", r#"{"model":"x","model":"qwen3-32b"}"#);
    assert_eq!(code(&doubled), (400, "invalid_body".to_owned()));
    assert!(
        doubled.1.contains("`model` stands twice") && doubled.1.contains(r#""param":"model""#),
        "{doubled:?}"
    );
}

#[test]
fn a_client_that_waits_for_100_is_told_once_and_by_the_gateway() {
    let gateway = gateway(BY_MODEL);
    let mut client = gateway.connect();
    let body = r#"{"model":"qwen3-32b"}"#;
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    assert_eq!(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(body);
    let answer = client.read_message();
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("expect"), "{answer}");
}

#[test]
fn bodies_that_decide_have_their_routes_limit() {
    let gateway = gateway("[[route]]\nmatch = { body = { model = \"m\" } }\nbody = \"64B\"\nto = \"a\"\n");
    let body = format!(r#"{{"model":"m","x":"{}"}}"#, "x".repeat(64));
    assert_eq!(code(&post(&gateway, "", &body)), (413, "body_too_large".to_owned()));
    let chunked = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let answer = gateway.exchange(&chunked);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn headers_take_lists_and_expressions() {
    let gateway = gateway(
        "[[route]]\nmatch = { header = { x-team = \"~^vision-[0-9]+$\" } }\nto = \"a\"\n\
         [[route]]\nmatch = { header = { x-team = [\"red\", \"blue-*\"] } }\nto = \"b\"\n[[route]]\nto = \"c\"\n",
    );
    for (team, name) in [
        ("vision-12", "a"),
        ("vision-x", "c"),
        ("red", "b"),
        ("blue-1", "b"),
        ("reds", "c"),
        ("red\r\nx-team: blue-1", "b"),
    ] {
        let (_, answer) = post(&gateway, &format!("x-team: {team}\r\n"), "");
        assert!(answer.starts_with(&format!("{name}\n")), "{team}: {answer}");
    }
}

#[test]
fn paths_are_rewritten_at_whole_segments() {
    let gateway = gateway(
        "[[route]]\nmatch = { path = \"/team-a/*\" }\nrewrite = { strip = \"/team-a\", add = \"/v1\" }\nto = \"a\"\n\
         [[route]]\nmatch = { path = \"/x/{id}\" }\nrewrite = { strip = \"/x\" }\nto = \"b\"\n",
    );
    for (target, sent) in [
        ("/team-a/models?a=%2f", "GET /v1/models?a=%2f HTTP/1.1"),
        ("/team-a", "GET /v1 HTTP/1.1"),
        ("/%74eam-a/m%20x", "GET /v1/m%20x HTTP/1.1"),
        ("/x/7?x", "GET /7?x HTTP/1.1"),
    ] {
        let answer =
            gateway.exchange(&format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        assert!(answer.contains(&format!("\n{sent}\r\n")), "{target}: {answer}");
    }
}

#[test]
fn shares_of_clusters_are_kept() {
    let gateway = gateway(
        "[[route]]\nto = [{ cluster = \"a\", weight = 3 }, { cluster = \"b\", weight = 1 }, { cluster = \"c\", weight = 0 }]\n",
    );
    let mut client = gateway.connect();
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..400 {
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = client.read_message();
        let name = answer.split_once("\r\n\r\n").unwrap().1.chars().next().unwrap();
        *counts.entry(name).or_insert(0) += 1;
    }
    // Mean 300, standard deviation 8.7: six of them.
    assert!((248..=352).contains(&counts[&'a']) && !counts.contains_key(&'c'), "{counts:?}");
}
