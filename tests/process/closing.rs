//! How connections end: what was answered is read to its end, what was cut looks cut, and nothing is said unasked.

use std::io::Write;
use std::net::TcpStream;

use crate::support::{Gateway, OK, Peer, Upstream, fresh_path, one_cluster};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn a_refusal_is_read_behind_a_large_body_that_nobody_wants() {
    let upstream = Upstream::start();
    let config = format!(
        "{}match = {{ path = \"/v1\", method = \"POST\" }}\nbody = \"1MiB\"\n",
        one_cluster(&[&upstream.url()])
    );
    let gateway = Gateway::start(&config);
    let body = vec![b'x'; 20_000_000];
    for (request, status) in [
        ("POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n", "413"),
        ("POST /v1 HTTP/1.1\r\nhost: x\r\nexpect: magic\r\ncontent-length: 20000000\r\n\r\n", "417"),
        ("POST /no HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n", "404"),
        ("PUT /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n", "405"),
        ("POST /v1/../x HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n", "400"),
        ("POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 1, 2\r\n\r\n", "400"),
    ] {
        let mut client = gateway.connect();
        client.send(request);
        // As Node's fetch and Python's urllib do: all of the body first, then the answer.
        client.stream.write_all(&body).unwrap_or_else(|error| panic!("{request}: {error}"));
        let answer = client.read_message();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
}

#[test]
fn an_answer_is_whole_though_bytes_of_a_next_request_lie_behind_it() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(GET);
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n");
    client.send("x".repeat(60_000));
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    gateway.signal("TERM");
    assert_eq!(gateway.next_line(), "draining");
    // Nobody accepts any more: each lane has heard of it.
    while TcpStream::connect(&gateway.listening[0]).is_ok() {}
    let answer = "y".repeat(3_000_000);
    std::thread::scope(|scope| {
        scope.spawn(|| server.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n{answer}")));
        let head = client.read_until("\r\n\r\n");
        assert!(head.contains("connection: close\r\n"), "{head}");
        assert_eq!(client.read_exactly(3_000_000).len(), 3_000_000);
        assert_eq!(client.read_to_end(), "");
    });
    drop(client);
    assert!(gateway.process.wait().unwrap().success());
}

#[test]
fn an_answer_cut_by_the_end_of_a_drain_looks_cut_and_is_booked() {
    let log = fresh_path("access.log");
    let observe = format!("[observe]\naccess_log = {{ to = {:?} }}\n", log.to_str().unwrap());
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(&format!("{observe}{}", one_cluster(&[&upstream.url()])));
    // HTTP/1.0 knows no chunks: such a body ends with its connection.
    let mut old = gateway.connect();
    old.send("GET / HTTP/1.0\r\nhost: x\r\n\r\n");
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    old.read_until("half");
    let mut waiting = gateway.connect();
    waiting.send(GET);
    let _other = upstream.accept();
    gateway.signal("TERM");
    assert_eq!(gateway.next_line(), "draining");
    gateway.signal("TERM");
    assert!(gateway.process.wait().unwrap().success());
    assert!(!old.read_to_any_end().1, "a clean end would make it whole");
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches("\"fault\":\"draining\"").count(), 2, "{text}");
    std::fs::remove_file(log).unwrap();
}

#[test]
fn behind_connect_nothing_is_read() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    // What follows may be a tunnel's bytes already, and must not be taken for a request.
    client.send(format!("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n{GET}"));
    let answer = client.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 501 ") && answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(!upstream.has_waiting());
}

#[test]
fn empty_lines_behind_a_body_begin_no_request() {
    let upstream = Upstream::start();
    let limits = "[limits]\nhead_timeout = \"300ms\"\n";
    let gateway = Gateway::start(&format!("{limits}{}", one_cluster(&[&upstream.url()])));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi\r\n");
    let mut server = upstream.accept();
    server.read_until("hi");
    server.send(OK);
    assert!(client.read_message().ends_with("ok"));
    for _ in 0..5 {
        assert!(client.is_silent(), "an answer to nothing would be taken for the next one's");
    }
    client.send(GET);
    server.read_until("\r\n\r\n");
    server.send(OK);
    assert!(client.read_message().ends_with("ok"));
}

#[test]
fn a_client_that_finishes_its_side_gets_all_its_answers() {
    let upstream = Upstream::start();
    let config = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\non_half_close = \"finish\"\n{}",
        one_cluster(&[&upstream.url()])
    );
    let gateway = Gateway::start_with(&config, &["--lanes", "1"]);
    let mut client = gateway.connect();
    client.send(GET.repeat(3));
    client.half_close();
    let mut server = upstream.accept();
    for _ in 0..3 {
        server.read_until("\r\n\r\n");
        server.send(OK);
    }
    let answers = client.read_to_end();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    // One that breaks off after that is noticed.
    let mut client = gateway.connect();
    client.send(GET);
    server.read_until("\r\n\r\n");
    client.half_close();
    client.reset();
    server.wait_for_end();
}

#[test]
fn an_interim_answer_ends_the_right_to_send_again() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for begun in ["HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", "HTTP/1.1 200 OK\r\nconte"] {
        client.send(GET);
        let mut server = upstream.accept();
        server.read_until("\r\n\r\n");
        server.send(OK);
        assert!(client.read_message().ends_with("ok"));
        // On the pooled connection: something comes, then the end.
        client.send(GET);
        server.read_until("\r\n\r\n");
        server.send(begun);
        drop(server);
        let mut answer = client.read_message();
        if answer.starts_with("HTTP/1.1 103 ") {
            answer = client.read_message();
        }
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(!upstream.has_waiting(), "it must not be sent a second time");
        upstream.listener.set_nonblocking(false).unwrap();
    }
}

#[test]
fn a_body_that_was_read_whole_costs_no_connection() {
    let upstream = Upstream::start();
    let text = one_cluster(&[&upstream.url()]);
    let gateway = Gateway::start(&format!("{text}match = {{ body = {{ model = \"m\" }} }}\n"));
    let mut client = gateway.connect();
    let post = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{\"model\":\"m\"}";
    client.send(post);
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    // Before it has read the body; our own side has.
    server.send("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n");
    let answer = client.read_message();
    assert!(answer.starts_with("HTTP/1.1 429 ") && !answer.contains("connection: close"), "{answer}");
    let mut other = Peer::new(client.stream.try_clone().unwrap());
    other.send(post);
    let mut server = {
        server.read_until("}");
        server
    };
    server.read_until("}");
    server.send(OK);
    assert!(other.read_message().ends_with("ok"));
}

#[test]
fn the_endpoints_own_request_id_passes() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    server.send("HTTP/1.1 200 OK\r\nX-Request-Id: req_42\r\ncontent-length: 0\r\n\r\n");
    let answer = client.read_message();
    assert_eq!(answer.to_ascii_lowercase().matches("x-request-id: ").count(), 1, "{answer}");
    assert!(answer.contains("X-Request-Id: req_42\r\n"), "{answer}");
}
