//! What goes upstream and what comes back, under each framing and version.

use crate::support::{Gateway, OK, Peer, Upstream, fresh_path, one_cluster};

/// Sends `request`, lets the upstream answer `answer` and close if `closes`, and returns both sides' bytes.
fn pass(request: &str, body_end: &str, answer: &str) -> (String, String) {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(request);
    let mut server = upstream.accept();
    let seen = server.read_until(body_end);
    server.send(answer);
    drop(server);
    client.half_close();
    (seen, client.read_to_end())
}

#[test]
fn a_request_is_written_anew_with_what_the_gateway_adds() {
    let (seen, _) = pass(
        "POST /v1/x?y=1 HTTP/1.1\r\nHost: api.local:8080\r\nX-Mine: a, b\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Forwarded-For: 6.6.6.6\r\nX-Request-Id: forged\r\nContent-Length: 5\r\n\r\nhello",
        "hello",
        OK,
    );
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "hello");
    assert!(head.starts_with("POST /v1/x?y=1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{head}");
    for there in [
        "X-Mine: a, b",
        "content-length: 5",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: api.local:8080",
        "via: 1.1 corelane",
    ] {
        assert!(head.lines().any(|line| line == there), "{there} is missing: {head}");
    }
    for gone in ["X-Hop", "Keep-Alive", "TE:", "Upgrade", "6.6.6.6", "forged", "Connection"] {
        assert!(!head.contains(gone), "{gone} passed: {head}");
    }
    assert_eq!(head.matches("x-request-id: ").count(), 1);
}

#[test]
fn each_framing_of_an_answer_reaches_each_kind_of_client() {
    let get = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let old = "GET / HTTP/1.0\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n";
    let until_close = "HTTP/1.0 200 OK\r\n\r\nabcde";
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde";
    for (request, answer, framing, body) in [
        (get, length, "content-length: 5", "abcde"),
        (get, chunked, "transfer-encoding: chunked", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (get, until_close, "transfer-encoding: chunked", "5\r\nabcde\r\n0\r\n\r\n"),
        (old, length, "content-length: 5", "abcde"),
        (old, chunked, "connection: close", "abcde"),
        (old, until_close, "connection: close", "abcde"),
    ] {
        let upstream = Upstream::start();
        let gateway = Gateway::start_with(
            &format!(
                "[[listener]]\naddress = \"127.0.0.1:0\"\non_half_close = \"finish\"\n{}",
                one_cluster(&[&upstream.url()])
            ),
            &[],
        );
        let mut client = gateway.connect();
        client.send(request);
        client.half_close();
        let mut server = upstream.accept();
        server.read_until("\r\n\r\n");
        server.send(answer);
        drop(server);
        let got = client.read_to_end();
        let (head, rest) = got.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(framing), "{request:?} {answer:?}: {head}");
        assert_eq!(rest, body, "{request:?} {answer:?}");
        assert!(!head.contains("x-sum") && head.contains("x-request-id: "), "{head}");
    }
}

#[test]
fn answers_without_a_body_have_none_and_the_connection_lives_on() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    let mut server: Option<Peer> = None;
    for (method, answer, ends) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n", "content-length: 12345"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "content-length: 7"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "content-length: 0"),
    ] {
        client.send(format!("{method} / HTTP/1.1\r\nhost: x\r\n\r\n"));
        let server = server.get_or_insert_with(|| upstream.accept());
        server.read_until("\r\n\r\n");
        server.send(answer);
        let head = client.read_until("\r\n\r\n");
        assert!(head.contains(ends), "{head}");
    }
    assert!(client.is_silent());
}

#[test]
fn interim_answers_pass_and_expect_is_end_to_end() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    let mut server = upstream.accept();
    assert!(server.read_until("\r\n\r\n").contains("expect: 100-continue"));
    assert!(client.is_silent(), "nothing is said before the upstream says it");
    server.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    server.read_until("body");
    server
        .send("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(client.read_until("\r\n\r\n"), "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
    assert!(client.read_message().ends_with("\r\n\r\nok"));
}

#[test]
fn pipelined_requests_are_answered_in_order_one_at_a_time() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send("POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\noneGET /2 HTTP/1.1\r\nhost: x\r\n\r\nGET /3 HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut server = upstream.accept();
    for number in ["1", "2", "3"] {
        assert!(server.try_request().unwrap().contains(&format!(" /{number} HTTP/1.1")));
        assert!(server.is_silent(), "the next request waits for the answer of this one");
        server.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}"));
        assert!(client.read_message().ends_with(&format!("\r\n\r\n{number}")));
    }
}

#[test]
fn head_and_first_bytes_leave_in_one_write_each_way() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody");
    let mut server = upstream.accept();
    let seen = server.read_some();
    assert!(seen.ends_with("\r\n\r\nbody"), "{seen}");
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    let got = client.read_some();
    assert!(got.ends_with("\r\n\r\n5\r\nfirst\r\n"), "{got}");
}

#[test]
fn large_bodies_pass_both_ways_under_each_framing() {
    let body: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    for chunked in [false, true] {
        let mut client = gateway.connect();
        let sent = body.clone();
        let mut writing = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            use std::io::Write;
            if chunked {
                writing
                    .write_all(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
                    .unwrap();
                for piece in sent.chunks(70_001) {
                    writing.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
                    writing.write_all(piece).unwrap();
                    writing.write_all(b"\r\n").unwrap();
                }
                writing.write_all(b"0\r\n\r\n").unwrap();
            } else {
                write!(writing, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", sent.len())
                    .unwrap();
                writing.write_all(&sent).unwrap();
            }
        });
        let mut server = upstream.accept();
        server.read_until("\r\n\r\n");
        let got = if chunked { read_chunked(&mut server) } else { server.read_exactly(body.len()) };
        assert!(got == body, "the upload changed on its way (chunked: {chunked})");
        sender.join().unwrap();
        server
            .send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len()));
        server.send(&body);
        client.read_until("\r\n\r\n");
        assert!(client.read_exactly(body.len()) == body, "the answer changed on its way");
    }
}

fn read_chunked(peer: &mut Peer) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = peer.read_until("\r\n");
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        body.extend(peer.read_exactly(size));
        assert_eq!(peer.read_exactly(2), b"\r\n");
        if size == 0 {
            return body;
        }
    }
}

#[test]
fn http_1_0_clients_may_keep_their_connection_by_asking() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&one_cluster(&[&upstream.serve(OK)]));
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
        assert!(client.read_message().contains("connection: keep-alive\r\n"));
    }
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert!(client.read_to_end().contains("connection: close\r\n"));
}

#[test]
fn unix_sockets_work_on_both_sides() {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    let (front, back) = (fresh_path("front.sock"), fresh_path("back.sock"));
    let listener = UnixListener::bind(&back).unwrap();
    let url = format!("unix:{}", back.display());
    let gateway =
        Gateway::start_with(&one_cluster(&[&url]), &["--listen", &format!("unix:{}", front.display())]);
    assert_eq!(gateway.listening[0], format!("unix:{}", front.display()));
    let mut client = UnixStream::connect(&front).unwrap();
    for _ in 0..2 {
        client.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut bytes = vec![0; 4096];
        let count = server.read(&mut bytes).unwrap();
        let seen = String::from_utf8_lossy(&bytes[..count]).into_owned();
        assert!(seen.starts_with("GET /a HTTP/1.1\r\nhost: localhost\r\n"), "{seen}");
        server.write_all(OK.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        // the pooled connection goes with its server; a new client gets a new one
        drop(server);
        gateway
            .until("the closed connection is evicted", |stats| stats["endpoints"]["up"][&url]["idle"] == 0);
        client = UnixStream::connect(&front).unwrap();
    }
    std::fs::remove_file(&back).unwrap();
}

#[test]
fn routes_choose_by_host_path_method_and_header() {
    let (a, b) = (Upstream::start(), Upstream::start());
    let config = format!(
        r#"[cluster.a]
endpoints = ["{}/base"]
[cluster.b]
endpoints = ["{}"]
host = "keep"
[[route]]
to = "a"
[[route]]
match = {{ path = "/v1/*", method = "POST", header = {{ x-team = "blue-*" }} }}
to = "b"
[[route]]
match = {{ path = "/ping" }}
respond = {{ status = 200, body = "pong", content_type = "text/plain" }}
[[route]]
match = {{ path = "/only", method = "GET" }}
respond = {{ status = 204 }}
[[route]]
match = {{ host = "*.other" }}
respond = {{ status = 418 }}
"#,
        a.url(),
        b.url()
    );
    let gateway = Gateway::start(&config);
    let mut client = gateway.connect();
    client.send("POST /v1/x HTTP/1.1\r\nhost: me\r\nx-team: blue-1\r\ncontent-length: 0\r\n\r\n");
    let mut server = b.accept();
    assert!(server.read_until("\r\n\r\n").starts_with("POST /v1/x HTTP/1.1\r\nhost: me\r\n"));
    server.send(OK);
    client.read_message();
    client.send("POST /v1/x HTTP/1.1\r\nhost: me\r\nx-team: red\r\ncontent-length: 0\r\n\r\n");
    let mut server = a.accept();
    assert!(server.read_until("\r\n\r\n").starts_with("POST /base/v1/x HTTP/1.1\r\nhost: 127.0.0.1:"));
    server.send(OK);
    client.read_message();
    let mut ask = |request: &str| {
        client.send(request);
        client.read_message()
    };
    assert!(ask("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n").ends_with("\r\n\r\npong"));
    assert!(ask("GET /only HTTP/1.1\r\nhost: x\r\n\r\n").starts_with("HTTP/1.1 204"));
    assert!(ask("GET / HTTP/1.1\r\nhost: an.other:80\r\n\r\n").starts_with("HTTP/1.1 418"));
}

#[test]
fn an_answer_on_a_new_connection_leaves_at_once() {
    // A new socket's readiness is not known on epoll before the loop has waited for it: the first write has to be woken
    // for that, or it lies there until the connection's next tick.
    let gateway = Gateway::start("[[route]]\nrespond = { body = \"pong\" }\n");
    let mut times: Vec<_> = (0..21)
        .map(|_| {
            let mut client = gateway.connect();
            let begun = std::time::Instant::now();
            client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            assert!(client.read_message().ends_with("pong"));
            begun.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[10] < std::time::Duration::from_millis(40), "{times:?}");
}
