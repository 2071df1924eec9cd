//! What stands behind may read a host, a header or a path in another way than it came: one reading decides nothing.

use serde_json::Value;

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
