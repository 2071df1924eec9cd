//! Endpoints that fail, one row for each way: what the client is told, that nothing is sent twice, that nothing hangs, and
//! that no byte of a broken exchange turns up in another.

use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::{Gateway, OK, Peer, Upstream, nobody};

/// One step of an endpoint that fails.
#[derive(Debug, Clone, Copy)]
enum Do {
    /// Reads the head of the request, or all of it.
    ReadHead,
    ReadAll,
    Say(&'static str),
    /// The same bytes again and again, until nobody takes them.
    Repeat(&'static str),
    /// One byte at a time, with this pause.
    Drip(&'static str, u64),
    /// Nothing more until the gateway ends the connection.
    Stall,
    HalfClose,
    Close,
    Reset,
}
use Do::{Close, Drip, HalfClose, ReadAll, ReadHead, Repeat, Reset, Say, Stall};

/// What the client sees.
#[derive(Debug, Clone, Copy)]
enum Sees {
    /// An answer of the gateway's: status, code, error of `proxy-status`.
    Told(u16, &'static str, &'static str),
    /// The endpoint's answer, whole: status and body.
    Whole(u16, &'static str),
    /// The endpoint's head, the beginning of its body, and then an end that cannot be taken for that of the body.
    Broken(&'static str),
}
use Sees::{Broken, Told, Whole};

struct Row {
    name: &'static str,
    does: &'static [Do],
    sees: Sees,
    /// Whether it is booked as a fault of the endpoint.
    is_fault: bool,
}

const fn row(name: &'static str, does: &'static [Do], sees: Sees, is_fault: bool) -> Row {
    Row { name, does, sees, is_fault }
}

const RESET: Sees = Told(502, "upstream_reset", "connection_terminated");
const INVALID: Sees = Told(502, "upstream_invalid", "http_protocol_error");
const LATE: Sees = Told(504, "upstream_timeout", "http_response_timeout");
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";

const ROWS: &[Row] = &[
    row("closes before it reads", &[Close], RESET, true),
    row("closes inside the request", &[ReadHead, Close], RESET, true),
    row("resets inside the request", &[ReadHead, Reset], RESET, true),
    row("closes behind the request", &[ReadAll, Close], RESET, true),
    row("resets behind the request", &[ReadAll, Reset], RESET, true),
    row("closes inside its head", &[ReadAll, Say("HTTP/1.1 200 OK\r\nconte"), Close], RESET, true),
    row("resets inside its head", &[ReadAll, Say("HTTP/1.1 200 OK\r\nconte"), Reset], RESET, true),
    row("half-closes and says nothing", &[ReadAll, HalfClose, Stall], RESET, true),
    row("never reads", &[Stall], LATE, true),
    row("never answers", &[ReadAll, Stall], LATE, true),
    row("stops inside its head", &[ReadAll, Say("HTTP/1.1 200 OK\r\nconte"), Stall], LATE, true),
    row("drips its head", &[ReadAll, Drip("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 40)], LATE, true),
    row("speaks nonsense", &[ReadAll, Say("nonsense\r\n\r\n"), Stall], INVALID, true),
    row("speaks TLS", &[ReadAll, Say("\x15\x03\x03\0\x02\x02\n"), Close], INVALID, true),
    row(
        "has two lengths",
        &[ReadAll, Say("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok")],
        INVALID,
        true,
    ),
    row(
        "switches protocols unasked",
        &[ReadAll, Say("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), Stall],
        INVALID,
        true,
    ),
    row(
        "has a head without end",
        &[ReadAll, Say("HTTP/1.1 200 OK\r\n"), Repeat("x-more: of the same, again and again\r\n")],
        INVALID,
        true,
    ),
    row(
        "has a line without end",
        &[ReadAll, Say("HTTP/1.1 200 OK\r\nx: "), Repeat("more of the same, again and again")],
        INVALID,
        true,
    ),
    row("says 100 without end", &[ReadAll, Repeat("HTTP/1.1 100 Continue\r\n\r\n")], INVALID, true),
    row(
        "says 103 without end",
        &[ReadAll, Repeat("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")],
        INVALID,
        true,
    ),
    row("closes inside a length", &[ReadAll, Say(LENGTH), Close], Broken("half"), true),
    row("resets inside a length", &[ReadAll, Say(LENGTH), Reset], Broken("half"), true),
    row("closes inside chunks", &[ReadAll, Say(CHUNKED), Close], Broken("half"), true),
    row("resets inside chunks", &[ReadAll, Say(CHUNKED), Reset], Broken("half"), true),
    row(
        "resets a body that runs until close",
        &[ReadAll, Say("HTTP/1.1 200 OK\r\n\r\nhalf"), Reset],
        Broken("half"),
        true,
    ),
    row("stops inside a length", &[ReadAll, Say(LENGTH), Stall], Broken("half"), true),
    row("stops inside chunks", &[ReadAll, Say(CHUNKED), Stall], Broken("half"), true),
    row(
        "stops inside a body that runs until close",
        &[ReadAll, Say("HTTP/1.1 200 OK\r\n\r\nhalf"), Stall],
        Broken("half"),
        true,
    ),
    row("breaks its chunks", &[ReadAll, Say(CHUNKED), Say("zz\r\n"), Stall], Broken("half"), true),
    row(
        "has a chunk line without end",
        &[ReadAll, Say(CHUNKED), Repeat("0000000000000000")],
        Broken("half"),
        true,
    ),
    row(
        "drips its body",
        &[ReadAll, Say("HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n"), Drip("drip by drip", 30), Stall],
        Whole(200, "drip by drip"),
        false,
    ),
    row("answers and closes", &[ReadAll, Say(OK), Close], Whole(200, "ok"), false),
    row("answers and half-closes", &[ReadAll, Say(OK), HalfClose, Stall], Whole(200, "ok"), false),
    row(
        "answers and says more",
        &[ReadAll, Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"), Stall],
        Whole(200, "ok"),
        false,
    ),
    row(
        "answers before it has read",
        &[
            ReadHead,
            Say("HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig"),
            Close,
        ],
        Whole(413, "big"),
        false,
    ),
    row(
        "closes a body that runs until close",
        &[ReadAll, Say("HTTP/1.0 200 OK\r\n\r\nwhole"), Close],
        Whole(200, "whole"),
        false,
    ),
    row(
        "is busy",
        &[ReadAll, Say("HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nbusy")],
        Whole(429, "busy"),
        false,
    ),
    row(
        "is unavailable",
        &[ReadAll, Say("HTTP/1.1 503 X\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nbusy")],
        Whole(503, "busy"),
        false,
    ),
    row(
        "fails by its own word",
        &[ReadAll, Say("HTTP/1.1 500 X\r\ncontent-length: 4\r\n\r\noops")],
        Whole(500, "oops"),
        true,
    ),
];

const TIMEOUTS: &str =
    "timeout = { connect = \"300ms\", first_byte = \"400ms\", between_bytes = \"300ms\" }\n";
const POST: &str = "POST /fails HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";

/// A gateway in front of `fails`, and of an endpoint that always answers `ok`.
fn gateway(fails: &str) -> Gateway {
    let well = Upstream::start().serve(OK);
    Gateway::start(&format!(
        "[cluster.fails]\nendpoints = [{fails:?}]\n{TIMEOUTS}[cluster.well]\nendpoints = [{well:?}]\n\
        [[route]]\nmatch = {{ path = \"/fails\" }}\nto = \"fails\"\n[[route]]\nto = \"well\"\n"
    ))
}

fn play(mut peer: Peer, does: &[Do]) {
    peer.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for step in does {
        match *step {
            ReadHead => drop(peer.read_until("\r\n\r\n")),
            ReadAll => drop(peer.read_message()),
            Say(bytes) => peer.send(bytes),
            Repeat(bytes) => {
                use std::io::Write;
                let many = bytes.repeat(1000);
                while peer.stream.write_all(many.as_bytes()).is_ok() {}
            }
            Drip(bytes, pause) => {
                use std::io::Write;
                for byte in bytes.as_bytes() {
                    if peer.stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(pause));
                }
            }
            Stall => drop(peer.wait_for_end()),
            HalfClose => peer.half_close(),
            Close => return,
            Reset => return peer.reset(),
        }
    }
    peer.wait_for_end();
}

fn check(row: &Row) {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream.url());
    let mut client = gateway.connect();
    let begun = Instant::now();
    client.send(POST);
    let server = upstream.accept();
    let does = row.does;
    let playing = std::thread::spawn(move || play(server, does));
    match row.sees {
        Told(status, code, error) => {
            let mut answer = client.read_message();
            while answer.starts_with("HTTP/1.1 1") {
                answer = client.read_message();
            }
            // Interim answers end with a bound on their bytes or with the clock, whichever comes first.
            let is_late = answer.starts_with("HTTP/1.1 504 ") && row.name.starts_with("says 10");
            let (status, code, error) = if is_late {
                (504, "upstream_timeout", "http_response_timeout")
            } else {
                (status, code, error)
            };
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
            assert!(answer.contains(&format!("proxy-status: corelane; error={error}\r\n")), "{answer}");
            assert!(answer.contains("x-should-retry: false\r\n"), "it may have been executed: {answer}");
        }
        Whole(status, body) => {
            let answer = client.read_until(body);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            if answer.to_ascii_lowercase().contains("transfer-encoding: chunked") {
                client.read_until("\r\n0\r\n\r\n");
            }
            assert_eq!(answer.contains("retry-after: 7\r\n"), row.name.starts_with("is "), "{answer}");
        }
        Broken(body) => {
            let (answer, _) = client.read_to_any_end();
            let (head, rest) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
            assert!(head.starts_with("HTTP/1.1 200 ") && rest.contains(body), "{answer}");
            assert!(!rest.contains("0\r\n\r\n"), "it looks whole: {answer}");
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
    assert!(!upstream.has_waiting(), "it was sent again");
    // The same client, if it may go on, and another one: both get their own answers.
    if matches!(row.sees, Told(..)) {
        client.send("GET /well HTTP/1.1\r\nhost: x\r\n\r\n");
        assert!(client.read_message().ends_with("\r\n\r\nok"), "{}", row.name);
    }
    assert!(gateway.exchange("GET /well HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with("ok"));
    gateway.until("it is over", |stats| stats["endpoints"]["fails"][upstream.url()]["in_flight"] == 0);
    let stats = gateway.stats();
    let endpoint = &stats["endpoints"]["fails"][upstream.url()];
    assert_eq!(endpoint["faults"], u64::from(row.is_fault), "{endpoint}");
    drop(client);
    drop(gateway);
    playing.join().unwrap();
}

#[test]
fn each_way_to_fail_is_told_once_and_breaks_nothing_else() {
    // Clocks run in most of them: several at a time.
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|part| {
                scope.spawn(move || {
                    for row in ROWS.iter().skip(part).step_by(4) {
                        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(row))) {
                            eprintln!("an endpoint that {}", row.name);
                            resume_unwind(panic);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn nobody_who_listens_and_nobody_who_accepts_are_told_apart_and_may_be_tried_again() {
    let dead = nobody();
    // A full backlog takes no connection: the kernel drops them.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let full: TcpListener = socket.into();
    let address = full.local_addr().unwrap();
    let _queued: Vec<_> = (0..4)
        .filter_map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
        .collect();
    for (url, status, code, error) in [
        (dead, 502, "upstream_connect", "connection_refused"),
        (format!("http://{address}"), 504, "upstream_timeout", "connection_timeout"),
    ] {
        let gateway = gateway(&url);
        let mut client = gateway.connect();
        client.send(POST);
        let answer = client.read_message();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code), "{answer}");
        assert!(answer.contains(&format!("proxy-status: corelane; error={error}\r\n")), "{answer}");
        assert!(answer.contains("x-should-retry: true\r\n"), "nothing was executed: {answer}");
        client.send("GET /well HTTP/1.1\r\nhost: x\r\n\r\n");
        assert!(client.read_message().ends_with("ok"));
    }
}
