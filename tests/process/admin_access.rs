//! Who may use the admin API, and how those are treated that may not, or that keep silent.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::{Gateway, Peer, fresh_path};

const PONG: &str = "[[route]]\nrespond = { body = \"pong\" }\n";

fn peer(gateway: &Gateway) -> Peer {
    Peer::new(TcpStream::connect(&gateway.admin).unwrap())
}

/// Sends one request with these fields and reads the whole answer.
fn ask(gateway: &Gateway, request: &str, fields: &str) -> String {
    let mut peer = peer(gateway);
    peer.send(format!("{request} HTTP/1.1\r\nconnection: close\r\n{fields}\r\n"));
    peer.read_to_end()
}

#[test]
fn no_web_page_steers_the_gateway() {
    let upstream = "http://127.0.0.1:9";
    let gateway = Gateway::start(&format!(
        "[server]\nadmin_hosts = [\"gate.example\", \"*.ops.example\"]\n[cluster.up]\nendpoints = [\"{upstream}\"]\n[[route]]\nto = \"up\"\n"
    ));
    let own = format!("host: {}\r\n", gateway.admin);
    let drain = format!("POST /endpoints/up/drain?url={upstream}");
    for fields in [
        format!("{own}origin: http://evil.example\r\n"),
        format!("{own}origin: null\r\n"),
        format!("{own}sec-fetch-site: cross-site\r\n"),
        "host: rebind.example\r\n".to_owned(),
        "host: rebind.example:9901\r\norigin: http://rebind.example:9901\r\nsec-fetch-site: same-origin\r\n"
            .to_owned(),
    ] {
        for request in ["POST /reload", &drain] {
            let answer = ask(&gateway, request, &fields);
            assert!(answer.starts_with("HTTP/1.1 403 "), "{request} {fields}: {answer}");
            assert!(answer.contains("\"code\":\"forbidden\""), "{answer}");
        }
    }
    for request in ["GET /config", "GET /stats", "GET /nowhere", "GET http://rebind.example/config"] {
        let answer = ask(&gateway, request, "host: rebind.example\r\n");
        assert!(answer.starts_with("HTTP/1.1 403 "), "{request}: {answer}");
    }
    let stats = gateway.stats();
    assert_eq!(stats["plan"]["generation"], 1, "nothing was reloaded");
    assert_eq!(stats["endpoints"]["up"][upstream]["admitted"], true, "nothing was drained");

    for request in ["GET /livez", "GET /readyz", "GET /metrics"] {
        assert!(ask(&gateway, request, "host: rebind.example\r\n").starts_with("HTTP/1.1 200 "), "{request}");
    }
    for host in ["127.0.0.1", "[::1]:9", "localhost:1", "gate.example", "x.ops.example:80"] {
        let answer = ask(&gateway, "GET /config", &format!("host: {host}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    let page = format!("{own}origin: http://{}\r\nsec-fetch-site: same-origin\r\n", gateway.admin);
    for fields in [&own, &page] {
        assert!(ask(&gateway, "POST /reload", fields).starts_with("HTTP/1.1 200 "), "{fields}");
    }
    let mut old = peer(&gateway);
    old.send("GET /config HTTP/1.0\r\n\r\n");
    assert!(old.read_to_end().starts_with("HTTP/1.1 200 "));
}

#[test]
fn over_a_unix_socket_any_name_will_do() {
    let path = fresh_path("admin.sock");
    let mut gateway = Gateway::start_with(
        PONG,
        &["--listen", "127.0.0.1:0", "--admin", &format!("unix:{}", path.display())],
    );
    let mut socket = UnixStream::connect(&path).unwrap();
    use std::io::{Read, Write};
    socket.write_all(b"GET /config HTTP/1.1\r\nhost: anything\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    gateway.signal("TERM");
    assert!(gateway.process.wait().unwrap().success());
    assert!(!path.exists());
}

#[test]
fn the_token_is_asked_for_and_never_shown() {
    let file = fresh_path("token");
    std::fs::write(&file, "from-the-file\n").unwrap();
    let with = |token: &str| format!("[server]\nadmin_token = {token:?} # the token\n{PONG}");
    let gateway = Gateway::start(&with("s3cret \\u0041"));
    let own = "host: localhost\r\n";
    for request in ["GET /stats", "GET /metrics", "GET /config", "POST /reload", "GET /nowhere"] {
        let answer = ask(&gateway, request, own);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{request}: {answer}");
        assert!(answer.contains("\r\nwww-authenticate: Bearer realm=\"corelane\"\r\n"), "{answer}");
        assert!(answer.contains("\r\nwww-authenticate: Basic realm=\"corelane\", charset=\"UTF-8\"\r\n"));
        assert!(answer.contains("\"code\":\"unauthorized\""), "{answer}");
    }
    for request in ["GET /livez", "GET /readyz"] {
        assert!(ask(&gateway, request, own).starts_with("HTTP/1.1 200 "));
    }
    let token = "s3cret \\u0041";
    let bearer = |token: &str| format!("{own}authorization: Bearer {token}\r\n");
    let basic = format!("{own}authorization: Basic {}\r\n", STANDARD.encode(format!("me:{token}")));
    for fields in [&bearer(token), &basic] {
        let answer = ask(&gateway, "GET /config", fields);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let config: Value = serde_json::from_str(body).unwrap();
        assert_eq!(config["understood"]["server"]["admin_token"], "***");
        assert!(
            config["written"].as_str().unwrap().contains("admin_token = \"***\" # the token\n"),
            "{body}"
        );
        assert!(!answer.contains("s3cret"), "{answer}");
    }
    assert!(ask(&gateway, "GET /config", &bearer("s3cret")).starts_with("HTTP/1.1 401 "));
    // A reload changes it, and a file is read anew.
    std::fs::write(&gateway.config, with(&format!("file:{}", file.display()))).unwrap();
    assert!(ask(&gateway, "POST /reload", &bearer(token)).starts_with("HTTP/1.1 200 "));
    assert!(ask(&gateway, "GET /stats", &bearer(token)).starts_with("HTTP/1.1 401 "));
    assert!(ask(&gateway, "GET /stats", &bearer("from-the-file")).starts_with("HTTP/1.1 200 "));
    std::fs::remove_file(file).unwrap();
}

#[test]
fn an_admin_api_that_all_may_use_is_warned_of() {
    let check = |server: &str| {
        let file = fresh_path("check.toml");
        std::fs::write(&file, format!("[server]\n{server}\n{PONG}")).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_corelane"));
        let output = command.arg("check").arg(&file).output().unwrap();
        std::fs::remove_file(file).unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = check("admin = \"0.0.0.0:9901\"");
    assert!(said.starts_with("warning: ") && said.contains("has no token\n  why: "), "{said}");
    for quiet in
        ["", "admin = \"off\"", "admin = \"unix:/run/x\"", "admin = \"0.0.0.0:1\"\nadmin_token = \"x\""]
    {
        assert_eq!(check(quiet), "", "{quiet}");
    }
}

#[test]
fn a_refused_request_is_answered_and_not_reset() {
    let gateway = Gateway::start(PONG);
    for (head, status, body) in [
        ("POST /reload HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 5000000\r\n\r\n", 403, 5_000_000),
        ("POST /reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000000\r\n\r\n", 413, 5_000_000),
        ("POST /reload HTTP/1.1\r\nhost: localhost\r\nexpect: x\r\ncontent-length: 3\r\n\r\n", 417, 3),
        ("POST /reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: +3\r\n\r\n", 400, 100_000),
        ("GET /stats HTTP/1.1\r\n\r\n", 400, 0),
        ("BREW\r\n\r\n", 400, 0),
    ] {
        let mut peer = peer(&gateway);
        peer.send(head);
        peer.send(vec![b'x'; body]);
        let answer = peer.read_to_end();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    // A chunked body is counted as it comes.
    let mut chunked = peer(&gateway);
    chunked.send("POST /reload HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n");
    chunked.send(format!("186a0\r\n{}\r\n0\r\n\r\n", "x".repeat(100_000)));
    assert!(chunked.read_to_end().starts_with("HTTP/1.1 413 "));
}

#[test]
fn a_client_that_expects_to_go_on_is_told_to() {
    let gateway = Gateway::start(PONG);
    let mut peer = peer(&gateway);
    let head = "POST /reload HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: ";
    peer.send(format!("{head}3\r\n\r\n"));
    assert_eq!(peer.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    peer.send("abc");
    assert!(peer.read_message().starts_with("HTTP/1.1 200 "));
    // The connection lives on, also behind a refusal without a body.
    peer.send("GET /stats HTTP/1.1\r\nhost: evil.example\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(peer.read_message().starts_with("HTTP/1.1 403 "));
    assert!(peer.read_message().starts_with("HTTP/1.1 200 "));
    // Nobody is asked for what would be refused.
    peer.send(format!("{head}5000000\r\n\r\n"));
    assert!(peer.read_to_end().starts_with("HTTP/1.1 413 "));
}

#[test]
fn silent_connections_make_room_for_a_probe() {
    let gateway = Gateway::start(PONG);
    let mut silent: Vec<_> = (0..80).map(|_| peer(&gateway)).collect();
    // Most of them were made room for by those behind; the newest ones are still there.
    assert_eq!(gateway.admin("GET", "/livez").0, 200);
    silent[0].wait_for_end();
    let mut newest = silent.pop().unwrap();
    assert!(newest.is_silent(), "it is closed although there is room");
    newest.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(newest.read_message().starts_with("HTTP/1.1 200 "));
    // Nor do those keep it out that never send all of a body.
    let _slow: Vec<_> = (0..80)
        .map(|_| {
            let mut slow = peer(&gateway);
            slow.send("POST /reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\na");
            slow
        })
        .collect();
    assert_eq!(gateway.admin("GET", "/livez").0, 200);
    // One that is about to say something goes after those that said nothing.
    let mut busy = peer(&gateway);
    busy.send("POST /reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\na");
    let _more: Vec<_> = (0..30).map(|_| peer(&gateway)).collect();
    assert_eq!(gateway.admin("GET", "/livez").0, 200);
    busy.send("bc");
    assert!(busy.read_message().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_head_that_began_has_to_come() {
    let gateway = Gateway::start(PONG);
    let (mut dripping, mut silent) = (peer(&gateway), peer(&gateway));
    dripping.send("GET /stats HTTP/1.1\r\nho");
    assert!(dripping.read_to_end().starts_with("HTTP/1.1 408 "));
    assert!(silent.is_silent(), "one that said nothing yet has more time");
}
