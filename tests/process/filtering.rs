//! Filters: who is let through, by the listener's chain and the route's, and what they are told who are not.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::support::{Gateway, OK, Upstream, fresh_path};

const GET: &str = "GET /v1/models HTTP/1.1\r\nhost: x\r\n";

/// Status and text of the answer to a request without a body, whose empty line is still to come.
fn ask(gateway: &Gateway, request: &str) -> (u16, String) {
    let mut client = gateway.connect();
    client.send(format!("{request}\r\n"));
    let text = client.read_message();
    (text[9..12].parse().unwrap(), text)
}

fn cluster(upstream: Upstream) -> String {
    format!("[cluster.up]\nendpoints = [{:?}]\n", upstream.serve(OK))
}

#[test]
fn an_address_that_may_not_pass_is_refused_in_the_contracts_shape_and_never_reaches_the_endpoint() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let config = format!(
        "[filter.net]\nkind = \"ip\"\nallow = [\"10.0.0.0/8\"]\n[cluster.up]\nendpoints = [{url:?}]\n\
         [[route]]\nname = \"open\"\nmatch = {{ path = \"/open\" }}\nrespond = {{ body = \"open\" }}\n\
         [[route]]\nname = \"shut\"\nto = \"up\"\nfilters = [\"net\"]\n"
    );
    let gateway = Gateway::start(&config);
    let mut client = gateway.connect();
    client.send("POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello");
    let text = client.read_message();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 403 "), "{text}");
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let error = &body["error"];
    assert_eq!(
        (&error["type"], &error["code"], &error["param"]),
        (&"permission_error".into(), &"forbidden".into(), &Value::Null)
    );
    assert!(head.contains(&format!("x-request-id: {}", error["request_id"].as_str().unwrap())));
    assert!(!body.to_string().contains("10.0.0.0"), "nothing tells what would have passed");
    // The connection lives on, and another route is open.
    client.send("GET /open HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.read_message().ends_with("open"));
    assert!(!upstream.has_waiting());
    let stats = gateway.stats();
    assert_eq!(stats["routes"]["shut"]["requests"], 1);
    assert_eq!(stats["endpoints"]["up"][&url]["requests"], 0);
}

#[test]
fn the_listeners_filters_judge_every_request_before_its_route() {
    let net = "[filter.net]\nkind = \"ip\"\ndeny = [\"127.0.0.0/8\"]\n";
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\nfilters = [\"net\"]\n";
    let routes = "[[route]]\nmatch = { path = \"/only\", method = \"GET\" }\nrespond = {}\n";
    let gateway = Gateway::start_with(&format!("{net}{listener}{routes}"), &[]);
    for request in ["GET /only", "GET /none", "POST /only", "GET /a/../b", "CONNECT x:1"] {
        let (status, text) = ask(&gateway, &format!("{request} HTTP/1.1\r\nhost: x\r\n"));
        assert!(status == 403 && text.contains("\"code\":\"forbidden\""), "{request}: {text}");
    }
    // Before any byte of a body is awaited.
    let mut client = gateway.connect();
    client.send("POST /only HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n");
    assert!(client.read_message().starts_with("HTTP/1.1 403 "));
}

#[test]
fn who_the_client_is_a_trusted_sender_tells_and_nobody_else() {
    let rows = |listener: &str, cases: &[(&str, u16)]| {
        let config = format!(
            "[filter.net]\nkind = \"ip\"\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.6.6.0/24\"]\n{}\
             [[listener]]\naddress = \"127.0.0.1:0\"\n{listener}\n[[route]]\nto = \"up\"\nfilters = [\"net\"]\n",
            cluster(Upstream::start())
        );
        let gateway = Gateway::start_with(&config, &[]);
        for (fields, expected) in cases {
            let (status, text) = ask(&gateway, &format!("{GET}{fields}"));
            assert_eq!(status, *expected, "{listener} {fields}: {text}");
        }
    };
    rows("", &[("", 403), ("x-forwarded-for: 10.1.1.1\r\n", 403), ("x_forwarded_for: 10.1.1.1\r\n", 403)]);
    rows(
        "trusted = [\"127.0.0.1\"]",
        &[
            ("x-forwarded-for: 10.1.1.1\r\n", 200),
            ("x-forwarded-for: 10.1.1.1:4711\r\n", 200),
            ("x-forwarded-for: [::ffff:10.1.1.1]:4711\r\n", 200),
            ("x-forwarded-for: 10.6.6.6\r\n", 403),
            // The rightmost that is not trusted counts, over all lines.
            ("x-forwarded-for: 10.1.1.1, 192.0.2.1\r\n", 403),
            ("x-forwarded-for: 192.0.2.1, 10.1.1.1\r\n", 200),
            ("x-forwarded-for: 10.1.1.1\r\nx-forwarded-for: 192.0.2.1\r\n", 403),
            ("x-forwarded-for: 10.1.1.1, 127.0.0.1\r\n", 200),
            // What is no address ends the walk: nobody knows who it is.
            ("x-forwarded-for: 10.1.1.1, unknown\r\n", 403),
            ("x-forwarded-for: 10.1.1.1, 010.1.1.1\r\n", 403),
            ("x-forwarded-for: 10.1.1.1 10.1.1.1\r\n", 403),
            ("x_forwarded_for: 10.1.1.1\r\n", 403),
            ("forwarded: for=10.1.1.1\r\n", 403),
            ("x-real-ip: 10.1.1.1\r\n", 403),
            ("", 403),
        ],
    );
}

#[test]
fn a_peer_of_a_unix_socket_passes_where_it_is_named() {
    for (list, expected) in [
        ("allow = [\"unix:\"]", "200"),
        ("allow = [\"127.0.0.1\"]", "403"),
        ("deny = [\"192.0.2.0/24\"]", "403"),
        ("allow = [\"unix:\"]\ndeny = [\"192.0.2.0/24\"]", "200"),
    ] {
        let path = fresh_path("filtered.sock");
        let config = format!(
            "[filter.net]\nkind = \"ip\"\n{list}\n[[route]]\nrespond = {{ body = \"in\" }}\nfilters = [\"net\"]\n"
        );
        let _gateway = Gateway::start_with(&config, &["--listen", &format!("unix:{}", path.display())]);
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(format!("{GET}connection: close\r\n\r\n").as_bytes()).unwrap();
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        assert!(got.starts_with(&format!("HTTP/1.1 {expected} ")), "{list}: {got}");
    }
}

#[test]
fn a_reload_changes_who_passes_and_a_refusal_stands_in_the_log() {
    let log = fresh_path("filtered.log");
    let config = |list: &str| {
        format!(
            "[filter.net]\nkind = \"ip\"\n{list}\n[[route]]\nname = \"in\"\nrespond = {{ body = \"in\" }}\nfilters = [\"net\"]\n\
             [observe]\naccess_log = {{ to = {:?} }}\n",
            log.to_str().unwrap()
        )
    };
    let gateway = Gateway::start(&config("deny = [\"127.0.0.1\"]"));
    assert_eq!(ask(&gateway, GET).0, 403);
    std::fs::write(&gateway.config, config("allow = [\"127.0.0.1\"]")).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    assert_eq!(ask(&gateway, GET).0, 200);
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    gateway.until("both are logged", |_| lines().lines().count() == 2);
    let first: Value = serde_json::from_str(lines().lines().next().unwrap()).unwrap();
    assert_eq!((&first["status"], &first["code"]), (&403.into(), &"forbidden".into()));
    assert_eq!((&first["route"], &first["client"]), (&"in".into(), &"127.0.0.1".into()));
    let _ = std::fs::remove_file(&log);
}

#[test]
fn explain_tells_what_each_filter_says() {
    let file = fresh_path("filtered.toml");
    let config = "[filter.net]\nkind = \"ip\"\nallow = [\"127.0.0.1\"]\n[filter.not-me]\nkind = \"ip\"\ndeny = [\"127.0.0.1\"]\n\
                  [[listener]]\naddress = \"127.0.0.1:1\"\nfilters = [\"net\"]\n\
                  [[route]]\nname = \"in\"\nmatch = { path = \"/in\" }\nrespond = {}\n\
                  [[route]]\nname = \"out\"\nmatch = { path = \"/out\" }\nrespond = {}\nfilters = [\"not-me\"]\n";
    std::fs::write(&file, config).unwrap();
    let explain = |path: &str, options: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_corelane"));
        let output =
            command.args(["explain", "--config"]).arg(&file).args(options).arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let json = |path: &str| serde_json::from_str::<Value>(&explain(path, &["--json"])).unwrap();
    let pass = serde_json::json!({ "name": "net", "verdict": "pass" });
    assert_eq!(json("/in")["filters"], serde_json::json!([pass]));
    let out = json("/out");
    assert_eq!(out["filters"], serde_json::json!([pass, { "name": "not-me", "verdict": "refuse" }]));
    assert_eq!((&out["status"], &out["code"]), (&403.into(), &"forbidden".into()));
    assert!(explain("/out", &[]).contains("filter    not-me: refuse\n"), "{}", explain("/out", &[]));
    // The listener's are met though no route fits.
    assert_eq!(json("/none")["filters"], serde_json::json!([pass]));
    std::fs::remove_file(&file).unwrap();
}
