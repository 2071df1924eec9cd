//! What stands behind may read a host, a header or a path in another way than it came: one reading decides nothing.

use serde_json::Value;

use crate::routing::{gateway, post};
use crate::support::Gateway;

/// A gateway with one route that is closed (403), one more where asked for, and an open one (200) for the rest.
fn guarded(closed: &str) -> Gateway {
    let routes = format!(
        "{closed}\nrespond = {{ status = 403, body = \"closed\" }}\n[[route]]\nname = \"open\"\nrespond = {{ body = \"open\" }}\n"
    );
    Gateway::start(&format!("[cluster.none]\nendpoints = [\"http://127.0.0.1:1\"]\n{routes}"))
}

/// The status of the answer to this head, and the code if it is a refusal.
fn ask(gateway: &Gateway, line: &str, fields: &str) -> (u16, String) {
    let answer = gateway.exchange(&format!("{line} HTTP/1.1\r\nconnection: close\r\n{fields}\r\n"));
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_default();
    (answer[9..12].parse().unwrap(), body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_host_is_the_same_with_its_last_dot_and_has_no_escapes() {
    let closed = guarded("[[route]]\nmatch = { host = \"api.local\" }");
    let written_with_dot = guarded("[[route]]\nmatch = { host = \"API.local.\" }");
    let globbed = guarded("[[route]]\nmatch = { host = \"*.local\" }");
    for gateway in [&closed, &written_with_dot, &globbed] {
        for (line, host, status) in [
            ("GET /", "api.local", 403),
            ("GET /", "API.local:8080", 403),
            ("GET /", "api.local.", 403),
            ("GET /", "api.local.:8080", 403),
            ("GET http://api.local./", "other", 403),
            ("GET /", "api%2elocal", 400),
            ("GET /", "api.loca%6c", 400),
            ("GET http://api%2elocal/", "other", 400),
            ("GET /", "other", 200),
            ("GET /", "other.", 200),
        ] {
            let got = ask(gateway, line, &format!("host: {host}\r\n"));
            let code = if status == 400 { "bad_request" } else { "" };
            assert_eq!(got, (status, code.to_owned()), "{line} {host}");
        }
    }
    let literal = guarded("[[route]]\nmatch = { host = \"[::1]\" }");
    for (host, status) in [("[::1]", 403), ("[0:0::1]:80", 403), ("[::0001]", 403), ("[::2]", 200)] {
        assert_eq!(ask(&literal, "GET /", &format!("host: {host}\r\n")).0, status, "{host}");
    }
}

#[test]
fn the_host_is_forwarded_as_it_came() {
    let url = crate::routing::echo("a");
    let routes = "[[route]]\nmatch = { host = \"api.local\" }\nto = \"keep\"\n";
    let gateway =
        Gateway::start(&format!("[cluster.keep]\nhost = \"keep\"\nendpoints = [\"{url}\"]\n{routes}"));
    let answer = gateway.exchange("GET / HTTP/1.1\r\nhost: api.local.\r\nconnection: close\r\n\r\n");
    assert!(answer.contains("host: api.local.\r\n"), "{answer}");
}

#[test]
fn a_routed_header_that_comes_twice_must_lead_to_one_route() {
    let gateway = guarded("[[route]]\nmatch = { header = { x-team = [\"a\", \"red-*\"] } }");
    for (fields, status) in [
        ("x-team: a\r\n", 403),
        ("x-team: b\r\n", 200),
        ("x-team: b\r\nx-team: a\r\n", 400),
        ("x-team: a\r\nX-TEAM: b\r\n", 400),
        ("x-team: a\r\nx-team:\r\n", 400),
        ("x-team: a\r\nx-team: a\r\n", 403),
        ("x-team: a\r\nx-team: red-1\r\n", 403),
        ("x-team: b\r\nx-team: c\r\n", 200),
        ("x-other: b\r\nx-other: a\r\n", 200),
    ] {
        let (got, code) = ask(&gateway, "GET /", &format!("host: x\r\n{fields}"));
        let expected = if status == 400 { "bad_request" } else { "" };
        assert_eq!((got, &code[..]), (status, expected), "{fields}");
    }
    let many: String = (0..200).map(|at| format!("x-team: {at}\r\n")).collect();
    assert_eq!(ask(&gateway, "GET /", &format!("host: x\r\n{many}")).0, 400, "too many to be tried");
    let same = "x-team: b\r\n".repeat(200);
    assert_eq!(ask(&gateway, "GET /", &format!("host: x\r\n{same}")).0, 200);
}

#[test]
fn a_header_that_comes_twice_is_judged_with_the_body() {
    let gateway =
        guarded("[[route]]\nmatch = { header = { x-team = \"a\" }, body = { model = \"secret\" } }");
    for (model, status) in [("secret", 400), ("ok", 200)] {
        let got = post(&gateway, "x-team: b\r\nx-team: a\r\n", &format!("{{\"model\":\"{model}\"}}"));
        assert_eq!(got.0, status, "{model}: {}", got.1);
    }
}

#[test]
fn a_path_passes_where_all_its_readings_lead_to_one_route() {
    let gateway = guarded("[[route]]\nmatch = { path = \"/v1/*\" }");
    for (target, status) in [
        ("/v1/models", 403),
        ("/other", 200),
        // An encoded slash is a slash, or a letter.
        ("/v1/models/org%2Fm", 403),
        ("/v1/models/org%2fm?x=%2F", 403),
        ("/v1%2Fmodels", 400),
        ("/%2Fv1/models", 400),
        ("/a%2Fb", 200),
        // Two slashes are two, or one.
        ("//v1/models", 400),
        ("/%2fv1/models", 400),
        ("///v1/models", 400),
        ("/v1//models", 403),
        ("//a//b", 200),
        // What follows a semicolon is part of its segment, or is not.
        ("/v1;x/models", 400),
        ("/v1/models;x", 403),
        ("/;x/v1/models", 400),
        ("/;x/;y%2f/v1", 400),
        ("/a;b/c", 200),
        // Escapes are decoded once.
        ("/v1%252Fmodels", 200),
        ("/%25761/models", 200),
        // Dot segments in any reading.
        ("/v1/..;/x", 400),
        ("/a/..;x/b", 400),
        ("/a/.;/b", 400),
        ("/a%2F..%2Fb", 400),
        ("/a/%2e%2e%2Fb", 400),
        ("/a;x%2F../b", 400),
        ("/v1/../x", 400),
        ("/a%5Cb", 400),
        ("/a%00", 400),
        ("/a%2", 400),
    ] {
        let (got, code) = ask(&gateway, &format!("GET {target}"), "host: x\r\n");
        let expected = if status == 400 { "bad_request" } else { "" };
        assert_eq!((got, &code[..]), (status, expected), "{target}");
    }
}

#[test]
fn a_reading_that_leads_nowhere_counts_as_another_route() {
    let gateway = gateway(
        "[[route]]\nmatch = { path = \"/v1/models/{model}\" }\nto = \"a\"\n[[route]]\nmatch = { path = \"/v1/x\", method = \"POST\" }\nto = \"b\"\n",
    );
    for (target, status) in [
        ("/v1/models/m", 200),
        ("/v1/models/org%2Fm", 400),
        ("/v1/models/m;x", 200),
        ("//v1/models/m", 400),
        ("//v1/other", 404),
        ("//v1/x", 404),
        ("/v1/x", 405),
    ] {
        assert_eq!(ask(&gateway, &format!("GET {target}"), "host: x\r\n").0, status, "{target}");
    }
}

#[test]
fn the_last_parameter_may_take_all_segments_that_follow() {
    let gateway = gateway(
        "[[route]]\nmatch = { path = \"/v1/models/{model*}\" }\nto = \"a\"\n[[route]]\nmatch = { path = \"/v1/models/{model}/info\" }\nto = \"b\"\n[[route]]\nmatch = { path = \"/v1/*\" }\nto = \"c\"\n",
    );
    for (target, name) in [
        ("/v1/models/org%2Fm", "a"),
        ("/v1/models/org/m", "a"),
        ("/v1/models/m", "a"),
        ("/v1/models/m/info", "b"),
        ("/v1/models/org/m/info", "a"),
        ("/v1/models", "c"),
        ("/v1/models/", "c"),
    ] {
        let answer =
            gateway.exchange(&format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        assert!(answer.contains(&format!("\r\n\r\n{name}\nGET {target} HTTP/1.1\r\n")), "{target}: {answer}");
    }
    assert_eq!(ask(&gateway, "GET /v1/models/m%2Finfo", "host: x\r\n").0, 400);
}
