//! What is told upstream of who asks, and who is believed.

use std::io::{Read, Write};

use crate::support::{Gateway, OK, Place, Upstream, fresh_path, one_cluster};

const LIES: &str = "x-forwarded-for: 9.9.9.9\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil\r\nx-forwarded-port: 9\r\nforwarded: for=9.9.9.9\r\nx-request-id: mine-1\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: a=b\r\n";

/// The head that reaches the upstream when a client of this listener sends `prefix`, then `fields` in a request; and the
/// answer.
fn sent(listener: &str, prefix: &[u8], fields: &str) -> (String, String) {
    let upstream = Upstream::start();
    let gateway = Gateway::start_with(
        &format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n{listener}\n[cluster.up]\nendpoints = [\"{}\"]\n[[route]]\nto = \"up\"\n",
            upstream.url()
        ),
        &[],
    );
    let mut client = gateway.connect();
    client.send([prefix, format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n").as_bytes()].concat());
    let mut server = upstream.accept();
    let head = server.read_until("\r\n\r\n");
    server.send(OK);
    (head, client.read_message())
}

#[test]
fn answers_of_our_own_are_signed_like_others() {
    let gateway = Gateway::start(
        "[observe]\nserver_timing = true\n[[route]]\nmatch = { path = \"/ping\" }\nrespond = { body = \"pong\" }\n",
    );
    for (request, status) in [
        ("GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "200"),
        ("HEAD /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "200"),
        ("GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "404"),
        ("GET / HTTP/9\r\n\r\n", "400"),
    ] {
        let answer = gateway.exchange(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(value(&answer, "via"), "1.1 corelane");
        assert_eq!(value(&answer, "x-request-id").len(), 32, "{answer}");
        assert!(value(&answer, "server-timing").starts_with("queue;dur=0.000, gw;dur="), "{answer}");
    }
}

/// The value of a field that must be there once.
fn value<'h>(head: &'h str, name: &str) -> &'h str {
    let mut values = head.lines().filter_map(|line| line.strip_prefix(&format!("{name}: ")));
    let value = values.next().unwrap_or_else(|| panic!("no {name} in {head}"));
    assert_eq!(values.next(), None, "{name} twice in {head}");
    value
}

#[test]
fn what_strangers_say_of_themselves_is_replaced() {
    let (head, answer) = sent("", b"", LIES);
    assert_eq!(value(&head, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(value(&head, "x-forwarded-proto"), "http");
    assert_eq!(value(&head, "x-forwarded-host"), "x");
    for absent in ["x-forwarded-port", "forwarded:", "tracestate", "9.9.9.9", "mine-1", "4bf92f35"] {
        assert!(!head.contains(absent), "{absent} in {head}");
    }
    let trace = value(&head, "traceparent");
    assert!(trace.len() == 55 && trace.starts_with("00-") && trace.ends_with("-00"), "{trace}");
    assert_eq!(value(&head, "x-request-id"), value(&answer, "x-request-id"));
    assert_eq!((value(&head, "via"), value(&answer, "via")), ("1.1 corelane", "1.1 corelane"));
}

#[test]
fn what_trusted_senders_say_is_kept_and_added_to() {
    let (head, answer) = sent("trusted = [\"127.0.0.0/8\"]", b"", LIES);
    assert_eq!(value(&head, "x-forwarded-for"), "9.9.9.9, 127.0.0.1");
    assert_eq!(value(&head, "x-forwarded-proto"), "https");
    assert_eq!(value(&head, "x-forwarded-host"), "evil");
    assert_eq!(value(&head, "x-forwarded-port"), "9");
    assert_eq!(value(&head, "forwarded"), "for=9.9.9.9");
    assert_eq!((value(&head, "x-request-id"), value(&answer, "x-request-id")), ("mine-1", "mine-1"));
    let trace = value(&head, "traceparent");
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace.ends_with("-01"), "{trace}");
    assert!(!trace.contains("00f067aa0ba902b7"), "the parent of what follows is ours");
    assert_eq!(value(&head, "tracestate"), "a=b");
}

#[test]
fn an_id_that_is_too_long_is_replaced() {
    let (head, _) = sent("trusted = [\"127.0.0.1\"]", b"", &format!("x-request-id: {}\r\n", "x".repeat(129)));
    assert_eq!(value(&head, "x-request-id").len(), 32);
}

#[test]
fn the_proxy_protocol_names_the_client() {
    let line = b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 80\r\n";
    let (head, _) = sent("proxy_protocol = \"v1\"", line, LIES);
    assert_eq!(value(&head, "x-forwarded-for"), "203.0.113.7");
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x0a\0\0\x01\x13\x88\0\x50";
    let (head, _) = sent("proxy_protocol = \"v2\"", binary, "");
    assert_eq!(value(&head, "x-forwarded-for"), "203.0.113.7");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let (head, _) = sent("proxy_protocol = \"v2\"", local, "");
    assert_eq!(value(&head, "x-forwarded-for"), "127.0.0.1");
    // Whom the load balancer names is believed if that one is trusted, not if the load balancer is.
    let (head, _) = sent("proxy_protocol = \"v1\"\ntrusted = [\"203.0.113.0/24\"]", line, LIES);
    assert_eq!(value(&head, "x-forwarded-for"), "9.9.9.9, 203.0.113.7");
    let (head, _) = sent("proxy_protocol = \"v1\"\ntrusted = [\"127.0.0.1\"]", line, LIES);
    assert_eq!(value(&head, "x-forwarded-for"), "203.0.113.7");
}

#[test]
fn a_connection_without_the_header_it_must_have_is_closed() {
    let upstream = Upstream::start();
    let gateway = Gateway::start_with(
        &format!(
            "[limits]\nhead_timeout = \"300ms\"\n[[listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = \"v1\"\n[cluster.up]\nendpoints = [\"{}\"]\n[[route]]\nto = \"up\"\n",
            upstream.url()
        ),
        &[],
    );
    for bytes in [
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "PROXY TCP4 x y 1 2\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "PROXY TC",
    ] {
        let mut client = gateway.connect();
        client.send(bytes);
        client.wait_for_end();
    }
    assert!(!upstream.has_waiting());
}

#[test]
fn clients_over_a_unix_socket_have_no_address_and_may_be_trusted() {
    for (trusted, expected) in [("", None), ("trusted = [\"unix:\"]", Some("9.9.9.9"))] {
        let path = fresh_path("front.sock");
        let upstream = Upstream::start();
        let _gateway = Gateway::start_with(
            &format!(
                "[[listener]]\naddress = \"unix:{}\"\n{trusted}\n[cluster.up]\nendpoints = [\"{}\"]\n[[route]]\nto = \"up\"\n",
                path.display(),
                upstream.url()
            ),
            &[],
        );
        let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 9.9.9.9\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut server = upstream.accept();
        let head = server.read_until("\r\n\r\n");
        server.send(OK);
        client.read_to_string(&mut String::new()).unwrap();
        match expected {
            Some(chain) => assert_eq!(value(&head, "x-forwarded-for"), chain),
            None => assert!(!head.contains("x-forwarded-for"), "{head}"),
        }
    }
}

#[test]
fn a_field_that_cgi_takes_for_one_that_routes_look_at_stays_behind() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nendpoints = [\"{}\"]\n[[route]]\nmatch = {{ header = {{ x-team = \"a\" }} }}\nto = \"up\"\n",
        upstream.url()
    ));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\nx-team: a\r\nX_Team: b\r\nx_teams: c\r\nx_forwarded_for: 9.9.9.9\r\n\r\n");
    let mut server = upstream.accept();
    let head = server.read_until("\r\n\r\n");
    server.send(OK);
    client.read_message();
    assert_eq!(value(&head, "x-team"), "a");
    assert_eq!(value(&head, "x_teams"), "c");
    assert!(!head.contains("X_Team") && !head.contains("9.9.9.9"), "{head}");
    // It does not count for the route either.
    assert!(
        gateway
            .exchange("GET / HTTP/1.1\r\nhost: x\r\nx_team: a\r\nconnection: close\r\n\r\n")
            .starts_with("HTTP/1.1 404 ")
    );
}

#[test]
fn a_request_that_runs_in_a_circle_is_ended() {
    let place = Place::keep();
    let gateway = Gateway::start_with(&one_cluster(&[&place.url()]), &["--listen", &place.address()]);
    let answer = gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 508 Loop Detected\r\n"), "{answer}");
    assert!(answer.contains("\"code\":\"loop_detected\""), "{answer}");
    assert!(answer.contains("proxy-status: corelane; error=proxy_loop_detected\r\n"), "{answer}");
    assert!(answer.contains("x-should-retry: false\r\n"), "{answer}");
    let stats = gateway.stats();
    assert_eq!(stats["routes"]["all"]["requests"], 9, "{stats}");
    // Others of the same name, further in, are not counted.
    let chain = "via: 1.1 a, 1.1 b (corelane), 1.1 corelane.example\r\n".repeat(9);
    let answer = gateway.exchange(&format!("GET / HTTP/1.1\r\nhost: x\r\n{chain}connection: close\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 508 "), "it runs in a circle, too, but only after nine more passes");
    assert_eq!(gateway.stats()["routes"]["all"]["requests"], 18);
}

#[test]
fn via_names_the_version_of_what_came() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\nhost: x\r\n\r\n");
    let mut server = upstream.accept();
    assert!(server.read_until("\r\n\r\n").contains("\r\nvia: 1.0 corelane\r\n"));
    server.send("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert!(client.read_message().contains("\r\nvia: 1.0 corelane\r\n"));
}
