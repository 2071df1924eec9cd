//! Answers that begin before the request ended: both directions go on, each to its own end.

use crate::support::{Gateway, OK, Upstream, one_cluster};

const POST: &str = "POST / HTTP/1.1\r\nhost: x\r\n";

#[test]
fn an_answer_that_begins_inside_the_upload_is_relayed_beside_it() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(format!("{POST}content-length: 10\r\n\r\n01234"));
    let mut server = upstream.accept();
    server.read_until("01234");
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n");
    client.read_until("01234\r\n");
    client.send("56789");
    assert_eq!(server.read_exactly(5), b"56789");
    server.send("5\r\n56789\r\n0\r\n\r\n");
    assert_eq!(client.read_until("0\r\n\r\n"), "5\r\n56789\r\n0\r\n\r\n");
    // Both ended whole: both connections go on.
    client.send(format!("{POST}content-length: 2\r\n\r\nhi"));
    server.read_until("\r\n\r\nhi");
    server.send(OK);
    assert!(client.read_message().ends_with("ok"));
}

#[test]
fn chunks_go_both_ways_in_turn() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(format!("{POST}transfer-encoding: chunked\r\n\r\n"));
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    client.read_until("\r\n\r\n");
    for turn in 0..50 {
        let said = format!("3\r\n{turn:03}\r\n");
        client.send(&said);
        assert_eq!(server.read_until("\r\n") + &server.read_until("\r\n"), said);
        server.send(&said);
        assert_eq!(client.read_until("\r\n") + &client.read_until("\r\n"), said);
    }
    client.send("0\r\n\r\n");
    server.read_until("0\r\n\r\n");
    server.send("0\r\n\r\n");
    client.read_until("0\r\n\r\n");
    gateway.until("the exchange is over", |stats| stats["routes"]["all"]["success"] == 1);
}

#[test]
fn an_early_answer_of_an_endpoint_that_reads_on_leaves_it_the_whole_body() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    let body = "x".repeat(1_000_000);
    client.send(format!("{POST}content-length: 1000000\r\n\r\n{}", &body[..1000]));
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    server.read_exactly(1000);
    server.send("HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\n\r\nmore");
    assert!(client.read_message().ends_with("more"));
    client.send(&body[1000..]);
    assert_eq!(server.read_exactly(999_000), body.as_bytes()[1000..].to_vec());
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    server.read_until("\r\n\r\n");
    server.send(OK);
    assert!(client.read_message().ends_with("ok"));
}

#[test]
fn an_early_refusal_reaches_the_client_and_ends_the_upload() {
    for closes in [true, false] {
        let upstream = Upstream::start();
        let gateway = Gateway::before(&upstream);
        let mut client = gateway.connect();
        client.send(format!("{POST}content-length: 50000000\r\n\r\nbegin"));
        let mut server = upstream.accept();
        server.read_until("begin");
        let close = if closes { "connection: close\r\n" } else { "" };
        server.send(format!("HTTP/1.1 413 Content Too Large\r\n{close}content-length: 4\r\n\r\nlong"));
        let answer = client.read_message();
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("long"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        server.wait_for_end();
        assert_eq!(gateway.endpoint(&upstream.url())["faults"], 0);
    }
}

#[test]
fn an_endpoint_that_answers_and_closes_ends_the_upload() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(format!("{POST}content-length: 50000000\r\n\r\nbegin"));
    let mut server = upstream.accept();
    server.read_until("begin");
    server.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ndone");
    drop(server);
    assert!(client.read_message().ends_with("done"));
    // Our side ends; what the client still sends is dropped for a while.
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn an_answer_ends_visibly_broken_where_the_request_breaks() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(format!("{POST}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"));
    let mut server = upstream.accept();
    server.read_until("hi\r\n");
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n");
    client.read_until("hi\r\n");
    client.send("nonsense\r\n");
    assert!(!client.read_to_any_end().0.contains("0\r\n\r\n"), "it must not look whole");
    server.wait_for_end();
    assert_eq!(gateway.endpoint(&upstream.url())["faults"], 0, "it is not the endpoint's doing");
}

#[test]
fn what_the_cluster_allows_bounds_an_upload_that_is_not_taken() {
    let upstream = Upstream::start();
    let timeout = "timeout = { between_bytes = \"1s\" }\n[[route]]";
    let gateway = Gateway::start(&one_cluster(&[&upstream.url()]).replace("[[route]]", timeout));
    let mut client = gateway.connect();
    client.send(format!("{POST}content-length: 60000000\r\n\r\n"));
    let server = upstream.accept();
    std::thread::scope(|scope| {
        let mut sending = crate::support::Peer::new(client.stream.try_clone().unwrap());
        scope.spawn(move || {
            // Ends with an error once the gateway reads no more.
            let _ = std::io::Write::write_all(&mut sending.stream, &vec![b'x'; 60_000_000]);
        });
        let answer = client.read_until("\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert!(answer.contains("x-should-retry: false\r\n"), "{answer}");
        drop(client);
    });
    drop(server);
    assert_eq!(gateway.endpoint(&upstream.url())["faults"], 1);
}
