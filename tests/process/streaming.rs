//! Token streams: each event leaves as it came, when it came.

use crate::support::{Gateway, Upstream};

const POST: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";

#[test]
fn each_event_arrives_by_itself_byte_for_byte() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(POST);
    let mut server = upstream.accept();
    server.read_until("{}");
    server.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    assert!(client.read_some().ends_with("\r\n\r\n"), "the head does not wait for the first event");
    for number in 0..50 {
        let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"t\u{e9}{number}\"}}}}]}}\n\n");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        server.send(&chunk);
        assert_eq!(client.read_some(), chunk);
    }
    server.send("0\r\n\r\n");
    assert_eq!(client.read_some(), "0\r\n\r\n");
    let route = &gateway.stats()["routes"]["all"];
    assert_eq!(route["requests"], 1);
    assert!(
        route["ttft_us"]["max"].as_u64().unwrap() > 0 && route["itl_us"]["max"].as_u64().unwrap() > 0,
        "{route}"
    );
}

#[test]
fn what_one_read_brings_leaves_in_one_write() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(POST);
    let mut server = upstream.accept();
    server.read_until("{}");
    let events = "5\r\ndata:\r\n3\r\n a\n\r\n1\r\n\n\r\n".to_owned();
    server.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{events}"
    ));
    assert!(client.read_some().ends_with(&events));
}

#[test]
fn an_event_of_many_megabytes_passes() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(POST);
    let mut server = upstream.accept();
    server.read_until("{}");
    let line = vec![b'x'; 8 << 20];
    let sender = std::thread::spawn(move || {
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ");
        server.send(&line);
        server.send("\n\n");
    });
    client.read_until("\r\n\r\n");
    let mut total = 0;
    loop {
        let size = usize::from_str_radix(client.read_until("\r\n").trim(), 16).unwrap();
        client.read_exactly(size + 2);
        total += size;
        if size == 0 {
            break;
        }
    }
    sender.join().unwrap();
    assert_eq!(total, (8 << 20) + 8);
}

#[test]
fn a_client_that_does_not_read_stops_the_upstream() {
    use std::io::Write;
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(POST);
    let mut server = upstream.accept();
    server.read_until("{}");
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
    server.stream.set_nonblocking(true).unwrap();
    let piece = vec![0; 1 << 16];
    let (mut sent, mut stuck_since) = (0, None);
    // Back-pressure: once all buffers on the way are full, the upstream can send no more.
    loop {
        match server.stream.write(&piece) {
            Ok(count) => {
                sent += count;
                stuck_since = None;
            }
            Err(_) => {
                let since = *stuck_since.get_or_insert_with(std::time::Instant::now);
                if since.elapsed() > std::time::Duration::from_millis(300) {
                    break;
                }
                std::thread::yield_now();
            }
        }
        assert!(sent < 200 << 20, "the gateway swallows what its client does not read");
    }
}
