//! What is refused, how it is told, and that nothing of it reaches the upstream.

use serde_json::Value;

use crate::support::{Gateway, OK, Upstream, nobody, one_cluster};

#[test]
fn malformed_requests_are_refused_and_their_connection_closes() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    for (request, status, code) in [
        ("GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "bad_request"),
        ("GET / HTTP/1.1\nhost: a\n\n", 400, "bad_request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: 1\n\r\n", 400, "bad_request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx : 1\r\n\r\n", 400, "bad_request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n", 400, "bad_request"),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 400, "bad_request"),
        ("GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_request"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
            400,
            "bad_request",
        ),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3, 3\r\n\r\nabc", 400, "bad_request"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc", 400, "bad_request"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "bad_request",
        ),
        ("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
            "not_implemented",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
            501,
            "not_implemented",
        ),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 501, "not_implemented"),
        ("TRACE / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 501, "not_implemented"),
        ("GET /a/../b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 400, "bad_request"),
        ("GET /a%5cb HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 400, "bad_request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nexpect: much\r\nconnection: close\r\n\r\n", 417, "expectation_failed"),
    ] {
        let answer = gateway.exchange(request);
        check(&answer, status, code, request);
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(40_000));
    check(&gateway.exchange(&long), 414, "uri_too_long", "a long target");
    let wide = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(70_000));
    check(&gateway.exchange(&wide), 431, "head_too_large", "a long head");
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(300));
    check(&gateway.exchange(&many), 431, "head_too_large", "many fields");
    assert!(!upstream.has_waiting(), "a refused request opens no upstream connection");
}

fn check(answer: &str, status: u16, code: &str, request: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("connection: close"), "{request:?}: {head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["code"], code, "{request:?}");
    let id = body["error"]["request_id"].as_str().unwrap();
    assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
    assert!(body["error"]["message"].as_str().unwrap().len() > 20);
}

#[test]
fn a_chunked_body_that_breaks_leaves_no_complete_request_upstream() {
    for broken in ["zz\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "ffffffffffffffffff\r\n"] {
        let upstream = Upstream::start();
        let gateway = Gateway::before(&upstream);
        let mut client = gateway.connect();
        client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
        let mut server = upstream.accept();
        server.read_until("abc");
        client.send(broken);
        let answer = client.read_to_end();
        check(&answer, 400, "bad_request", broken);
        let (seen, _) = server.read_to_any_end();
        assert!(!seen.contains("0\r\n\r\n"), "the request was completed upstream: {seen:?}");
    }
}

#[test]
fn bodies_longer_than_the_route_allows_are_refused_whatever_their_framing() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!("{}body = \"10B\"\n", one_cluster(&[&upstream.url()])));
    let answer = gateway
        .exchange("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 11\r\n\r\nhello world");
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"code\":\"body_too_large\""));
    assert!(!upstream.has_waiting());
    let answer = gateway.exchange(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn unknown_paths_and_wrong_methods_are_told_and_the_connection_lives_on() {
    let gateway = Gateway::start(
        "[[route]]\nmatch = { path = \"/a\", method = \"GET\" }\nrespond = { status = 200 }\n",
    );
    let mut client = gateway.connect();
    client.send("GET /b HTTP/1.1\r\nhost: x\r\n\r\n");
    let answer = client.read_message();
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("route_not_found"), "{answer}");
    client.send("DELETE /a HTTP/1.1\r\nhost: x\r\n\r\n");
    let answer = client.read_message();
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    client.send("HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    client.send("POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc");
    assert!(client.read_message().starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_failing_upstream_is_told_apart_and_never_asked_twice() {
    let refused = {
        let upstream = Upstream::start();
        upstream.url()
    };
    let gateway = Gateway::start(&one_cluster(&[&refused]));
    let answer =
        gateway.exchange("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_connect"), "{answer}");
    assert!(
        answer.contains("x-should-retry: true\r\n")
            && answer.contains("proxy-status: corelane; error=connection_refused")
    );
    assert!(!answer.contains("127.0.0.1"), "an address leaked: {answer}");

    for (said, code) in
        [("", "upstream_reset"), ("HTTP/1.1 2", "upstream_reset"), ("nonsense\r\n\r\n", "upstream_invalid")]
    {
        let upstream = Upstream::start();
        let gateway = Gateway::before(&upstream);
        let mut client = gateway.connect();
        client.send("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi");
        let mut server = upstream.accept();
        server.read_until("hi");
        server.send(said);
        drop(server);
        let answer = client.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains(code), "{said:?}: {answer}");
        assert!(answer.contains("x-should-retry: false\r\n"), "{answer}");
        assert!(!upstream.has_waiting(), "a POST that may have been executed was sent again");
    }
}

#[test]
fn a_refused_endpoint_is_passed_over_for_one_that_accepts() {
    let dead = nobody();
    let alive = Upstream::start().serve(OK);
    let gateway = Gateway::start(&one_cluster(&[&dead, &alive]));
    for _ in 0..8 {
        let answer =
            gateway.exchange("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn an_endpoint_that_refuses_connections_shows_in_its_figures_though_every_request_was_saved() {
    let dead = nobody();
    let alive = Upstream::start().serve(OK);
    let config = one_cluster(&[&dead, &alive]).replace("[[route]]", "balance = \"round-robin\"\n[[route]]");
    let gateway = Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", "1"]);
    let mut client = gateway.connect();
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    }
    let figures = |url: &str| {
        let endpoint = gateway.endpoint(url);
        ["requests", "faults", "connects", "reused"].map(|name| endpoint[name].as_u64().unwrap())
    };
    // Each attempt that failed is a fault and a connect of its own; the exchange is the one's that answered. After five in
    // a row nobody asks it any more.
    assert_eq!(figures(&dead), [0, 5, 5, 0]);
    assert_eq!(figures(&alive), [20, 0, 1, 19]);
    let stats = gateway.stats();
    let route = stats["routes"].as_object().unwrap().values().next().unwrap();
    assert_eq!((&route["requests"], &route["S"]), (&20.into(), &1.0.into()));
}

#[test]
fn slow_heads_end_with_408_and_idle_connections_without_a_word() {
    let gateway = Gateway::start(
        "[limits]\nhead_timeout = \"300ms\"\nidle_timeout = \"300ms\"\n[[route]]\nrespond = { status = 200 }\n",
    );
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nho");
    let answer = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
    assert_eq!(gateway.connect().read_to_end(), "");
}

#[test]
fn each_clock_of_a_cluster_runs_out_by_itself() {
    let slow = |timeout: &str, upstream: &Upstream| {
        let config = one_cluster(&[&upstream.url()])
            .replace("[[route]]", &format!("timeout = {{ {timeout} }}\n[[route]]"));
        Gateway::start(&config)
    };
    let get = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for timeout in ["first_byte = \"200ms\"", "total = \"200ms\""] {
        let upstream = Upstream::start();
        let gateway = slow(timeout, &upstream);
        let mut client = gateway.connect();
        client.send(get);
        let mut server = upstream.accept();
        let answer = client.read_to_end();
        assert!(
            answer.starts_with("HTTP/1.1 504 ") && answer.contains("upstream_timeout"),
            "{timeout}: {answer}"
        );
        server.wait_for_end();
    }
    for timeout in ["between_bytes = \"200ms\"", "total = \"400ms\""] {
        let upstream = Upstream::start();
        let gateway = slow(timeout, &upstream);
        let mut client = gateway.connect();
        client.send(get);
        let mut server = upstream.accept();
        server.read_until("\r\n\r\n");
        server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
        let (answer, _) = client.read_to_any_end();
        assert!(answer.ends_with("3\r\nabc\r\n"), "a cut answer must look cut: {answer}");
        server.wait_for_end();
    }
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nstart");
    let mut server = upstream.accept();
    server.read_until("start");
    server.send("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig");
    let answer = client.read_message();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close\r\n"), "{answer}");
    client.send("more that nobody reads");
    assert_eq!(client.read_to_end(), "");
    server.wait_for_end();
}

#[test]
fn a_truncated_answer_looks_truncated_under_each_framing() {
    for (client_version, answer, clean) in [
        ("1.1", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", true),
        ("1.1", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", true),
        // the client can only tell by the reset
        ("1.0", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", false),
    ] {
        let upstream = Upstream::start();
        let gateway = Gateway::before(&upstream);
        let mut client = gateway.connect();
        client.send(format!("GET / HTTP/{client_version}\r\nhost: x\r\n\r\n"));
        let mut server = upstream.accept();
        server.read_until("\r\n\r\n");
        server.send(answer);
        client.read_until("abc");
        drop(server);
        let (rest, ended_clean) = client.read_to_any_end();
        assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
        assert_eq!(ended_clean, clean, "{answer:?} to HTTP/{client_version}");
    }
}

#[test]
fn a_shortage_of_descriptors_is_told_as_ours() {
    let upstream = Upstream::start();
    let ping = "[[route]]\nmatch = { path = \"/ping\" }\nrespond = {}\n";
    let gateway = Gateway::start(&format!("{}{ping}", one_cluster(&[&upstream.url()])));
    let mut client = gateway.connect();
    client.send("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    // From here on no descriptor is left: the highest in use is the last one there is.
    let id = gateway.process.id();
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    let highest =
        open.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse::<u32>().unwrap()).max().unwrap();
    let limit = |number: u32| {
        let number = format!("--nofile={number}:4096");
        let set = std::process::Command::new("prlimit").args(["--pid", &id.to_string(), &number]).status();
        assert!(set.unwrap().success());
    };
    limit(0);
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let answer = client.read_message();
    limit(highest + 100);
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"code\":\"no_descriptors\""),
        "{answer}"
    );
    assert!(answer.contains("retry-after: 1\r\n") && answer.contains("x-should-retry: true\r\n"), "{answer}");
    assert!(!answer.contains("proxy-status"), "the upstream is not the cause: {answer}");
    assert_eq!(gateway.endpoint(&upstream.url())["faults"], 0);
}
