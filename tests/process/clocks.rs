//! Whose time ran out: a client that does not read, one that does not write, and one that left with its bytes unread.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::{Gateway, OK, Peer, Upstream, fresh_path, one_cluster};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
/// More than all buffers on the way hold.
const LARGE: usize = 200_000_000;

/// A server that answers with far more than its client reads; it ends when the gateway closes.
fn pour(mut server: Peer) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        server.read_until("\r\n\r\n");
        server.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"));
        let piece = vec![b'x'; 1 << 20];
        while server.stream.write_all(&piece).is_ok() {}
    })
}

fn a_slow_reader_is_cut_as_its_own_doing(settings: &str) {
    let log = fresh_path("access.log");
    let observe = format!("[observe]\naccess_log = {{ to = {:?} }}\n", log.to_str().unwrap());
    let upstream = Upstream::start();
    let config = one_cluster(&[&upstream.url()]).replace("[[route]]", &format!("{settings}\n[[route]]"));
    let gateway = Gateway::start(&format!("{observe}{config}"));
    let mut client = gateway.connect();
    client.send(GET);
    let pouring = pour(upstream.accept());
    gateway.until("it is cut", |stats| stats["routes"]["all"]["client_closed"] == 1);
    pouring.join().unwrap();
    let stats = gateway.stats();
    let (route, endpoint) = (&stats["routes"]["all"], &stats["endpoints"]["up"][upstream.url()]);
    assert_eq!((&route["S"], &route["in_flight"]), (&1.0.into(), &0.into()), "{route}");
    assert_eq!((&endpoint["faults"], &endpoint["in_flight"]), (&0.into(), &0.into()), "{endpoint}");
    assert!(client.read_to_any_end().0.len() < LARGE, "it must not look whole");
    let line = loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.ends_with('\n') {
            break text;
        }
    };
    assert!(line.contains("\"status\":499") && line.contains("\"fault\":\"client_slow\""), "{line}");
    std::fs::remove_file(log).unwrap();
}

#[test]
fn a_client_that_takes_nothing_is_cut_after_the_write_timeout() {
    a_slow_reader_is_cut_as_its_own_doing("[limits]\nwrite_timeout = \"1s\"");
}

#[test]
fn a_client_that_takes_nothing_until_the_total_is_over_is_cut_too() {
    a_slow_reader_is_cut_as_its_own_doing("timeout = { total = \"1s\" }");
}

#[test]
fn a_client_that_takes_little_now_and_then_is_not_cut() {
    let upstream = Upstream::start();
    let limits = "[limits]\nwrite_timeout = \"1s\"\n";
    let gateway = Gateway::start(&format!("{limits}{}", one_cluster(&[&upstream.url()])));
    let mut client = gateway.connect();
    client.send(GET);
    let pouring = pour(upstream.accept());
    // Each read opens the window again, well before a second is over.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        client.read_exactly(400_000);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(gateway.stats()["routes"]["all"]["client_closed"], 0);
    drop(client);
    pouring.join().unwrap();
}

/// How the client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Closing,
    Resetting,
}

#[test]
fn a_client_that_left_is_noticed_behind_all_that_lies_unread() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    // Pipelined bytes behind a request that waits, and an upload that the endpoint does not take. The end of a stream
    // cannot pass a window that is closed: where more was sent than the kernel holds, only a reset shows.
    let pipelined = format!("{GET}POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n");
    let upload = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 60000000\r\n\r\n".to_owned();
    for (head, sent, leaves) in [
        (&pipelined, 50_000, Leaves::Closing),
        (&pipelined, 200_000, Leaves::Resetting),
        (&upload, 50_000_000, Leaves::Resetting),
    ] {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let mut client = gateway.connect();
            client.send(head);
            let mut server = upstream.accept();
            server.read_until("\r\n\r\n");
            client.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            // As much as goes: the rest lies in buffers, read by nobody.
            let _ = client.stream.write_all(&vec![b'x'; sent]);
            let begun = Instant::now();
            match leaves {
                Leaves::Closing => drop(client),
                Leaves::Resetting => client.reset(),
            }
            gateway.until("it is noticed", |stats| stats["routes"]["all"]["in_flight"] == 0);
            best = best.min(begun.elapsed());
            drop(server);
        }
        assert!(best < Duration::from_millis(50), "{sent} bytes, {leaves:?}: {best:?}");
    }
    assert_eq!(gateway.endpoint(&upstream.url())["faults"], 0);
}

#[test]
fn a_client_that_waits_to_be_told_is_not_too_slow() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    // A busy engine: longer than a client may pause inside its body.
    std::thread::sleep(Duration::from_secs(7));
    server.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.read_until("HTTP/1.1 100 Continue\r\n\r\n");
    // Until clocks were looked at: its time begins only now.
    std::thread::sleep(Duration::from_millis(500));
    client.send("body");
    server.read_until("body");
    server.send(OK);
    assert!(client.read_message().starts_with("HTTP/1.1 200 "));
}
