//! Bounds on clients: what a slow or a large one costs is its own connection.

use std::time::{Duration, Instant};

use crate::support::{Gateway, OK, Peer, Upstream, one_cluster};

#[test]
fn a_body_that_drips_below_the_rate_ends_with_408() {
    let upstream = Upstream::start();
    let gateway =
        Gateway::start(&format!("[limits]\nbody_rate = \"1MiB\"\n{}", one_cluster(&[&upstream.url()])));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc");
    let mut server = upstream.accept();
    server.read_until("abc");
    let begun = Instant::now();
    let dripping = client.stream.try_clone().unwrap();
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dripping = Peer::new(dripping);
            // Far longer than the grace allows; it ends when the gateway stops reading.
            for _ in 0..90 {
                std::thread::sleep(Duration::from_millis(100));
                if std::io::Write::write_all(&mut dripping.stream, b"x").is_err() {
                    break;
                }
            }
        });
        client.read_until("\r\n\r\n")
    });
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // Part of it went upstream: nobody knows what became of it.
    assert!(
        answer.contains("x-should-retry: false\r\n") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    server.wait_for_end();
}

#[test]
fn our_own_pauses_do_not_count_against_a_body() {
    let upstream = Upstream::start();
    // At this rate one step of the body earns next to nothing: only the grace is left, which the upstream outlasts.
    let gateway =
        Gateway::start(&format!("[limits]\nbody_rate = \"1GiB\"\n{}", one_cluster(&[&upstream.url()])));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n");
    let mut server = upstream.accept();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.send(vec![b'x'; 8_000_000]);
            assert!(client.read_message().starts_with("HTTP/1.1 200 "));
        });
        server.read_until("\r\n\r\n");
        std::thread::sleep(Duration::from_millis(6500));
        server.read_exactly(8_000_000);
        server.send(OK);
    });
}

const BUFFERED: &str = "[limits]\nbody_rate = \"0B\"\nbuffered = \"1MiB\"\nbody = \"960KiB\"\n";

fn by_model(upstream: &str) -> String {
    format!(
        "{BUFFERED}[cluster.up]\nendpoints = [\"{upstream}\"]\n[[route]]\nmatch = {{ body = {{ model = \"m\" }} }}\nto = \"up\"\n[[route]]\nmatch = {{ path = \"/free\" }}\nto = \"up\"\n"
    )
}

/// A body of this size that fits the route, which shows at its end, in two halves.
fn body(size: usize) -> (String, String) {
    let text = format!("{{\"x\":\"{}\",\"model\":\"m\"}}", "x".repeat(size - 20));
    assert_eq!(text.len(), size);
    let (first, second) = text.split_at(size / 2);
    (first.to_owned(), second.to_owned())
}

#[test]
fn bodies_wait_their_turn_to_be_held_in_order() {
    let gateway = Gateway::start(&by_model(&Upstream::start().serve(OK)));
    let open = |size: usize| {
        let mut client = gateway.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {size}\r\n\r\n"
        ));
        client
    };
    let mut first = open(900_000);
    first.read_until("100 Continue\r\n\r\n");
    let (one, two) = body(900_000);
    first.send(&one);
    let mut second = open(500_000);
    assert!(second.is_silent(), "there is no room for it");
    let mut third = open(100_000);
    assert!(third.is_silent(), "a large body does not overtake a larger one");
    let mut small = open(1000);
    small.read_until("100 Continue\r\n\r\n");
    let (begun, ended) = body(1000);
    small.send(begun + &ended);
    assert!(small.read_message().starts_with("HTTP/1.1 200 "), "a small body waits for no large one");
    // What need not be held is not held up.
    let mut free = gateway.connect();
    free.send("POST /free HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc");
    assert!(free.read_message().starts_with("HTTP/1.1 200 "));
    first.send(&two);
    assert!(first.read_message().starts_with("HTTP/1.1 200 "));
    for (client, size) in [(&mut second, 500_000), (&mut third, 100_000)] {
        client.read_until("100 Continue\r\n\r\n");
        let (one, two) = body(size);
        client.send(one + &two);
        assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn who_holds_room_without_using_it_loses_it_to_those_who_wait() {
    let gateway = Gateway::start(&by_model(&Upstream::start().serve(OK)));
    let post = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 900000\r\n\r\n";
    let (begun, ended) = body(900_000);
    // It keeps the rate that all bodies must keep, and would hold nearly all of the room for a quarter of an hour.
    let mut dripping = gateway.connect();
    dripping.send(post);
    // It has the room before the other asks for it, whichever lanes they are on.
    dripping.read_until("100 Continue\r\n\r\n");
    dripping.send(&begun[..1000]);
    let mut waiting = gateway.connect();
    waiting.send(post);
    let answer = dripping.read_message();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("x-should-retry: true\r\n"), "{answer}");
    waiting.read_until("100 Continue\r\n\r\n");
    waiting.send(begun + &ended);
    assert!(waiting.read_message().starts_with("HTTP/1.1 200 "));
}

#[test]
fn tensors_behind_the_document_that_decides_are_not_held() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&by_model(&upstream.url()));
    // Nearly all of the room is taken.
    let mut other = gateway.connect();
    other.send("POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 900000\r\n\r\n");
    other.read_until("100 Continue\r\n\r\n");
    let document = r#"{"model":"m"}"#;
    let tensors = vec![0; 900_000];
    let mut client = gateway.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: x\r\ninference-header-content-length: {}\r\ncontent-length: {}\r\n\r\n{document}",
        document.len(),
        document.len() + tensors.len()
    ));
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    assert_eq!(server.read_exactly(document.len()), document.as_bytes(), "before the first tensor came");
    assert!(other.is_silent(), "who waited for room would have taken it from the other one");
    let half = tensors.len() / 2;
    client.send(&tensors[..half]);
    server.read_exactly(half);
    client.send(&tensors[half..]);
    server.read_exactly(tensors.len() - half);
    server.send(OK);
    assert!(client.read_message().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_turn_that_never_comes_ends_with_503() {
    let upstream = Upstream::start();
    let lanes = ["--listen", "127.0.0.1:0", "--lanes", "1"];
    let gateway = Gateway::start_with(&by_model(&upstream.url()), &lanes);
    let open = |size: usize| {
        let mut client = gateway.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {size}\r\n\r\n"
        ));
        client
    };
    // A body that came whole is kept until its answer begins, however long that takes.
    let mut first = open(800_000);
    first.read_until("100 Continue\r\n\r\n");
    let (begun, ended) = body(800_000);
    first.send(begun + &ended);
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    server.read_exactly(800_000);
    // A body of unknown length reserves as it grows, and does not wait while it is half read.
    let mut growing = gateway.connect();
    growing.send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n186a0\r\n");
    growing.send(vec![b' '; 100_000]);
    assert!(growing.is_silent());
    growing.send("\r\n186a0\r\n");
    growing.send(vec![b' '; 100_000]);
    let answer = growing.read_until("}}");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("buffers_full"), "{answer}");
    let (leaving, mut waiting) = (open(600_000), open(600_000));
    drop(leaving);
    waiting.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let answer = waiting.read_until("\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for field in ["retry-after: 1\r\n", "retry-after-ms: 1000\r\n", "x-should-retry: true\r\n"] {
        assert!(answer.contains(field), "{answer}");
    }
    assert!(waiting.read_until("}").contains("buffers_full"));
    // Room that the first one leaves behind is used again.
    server.send(OK);
    assert!(first.read_message().starts_with("HTTP/1.1 200 "));
    let mut last = gateway.connect();
    let (one, two) = body(700_000);
    last.send(format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 700000\r\n\r\n{one}{two}"));
    server.read_until("\r\n\r\n");
    server.read_exactly(700_000);
    server.send(OK);
    assert!(last.read_message().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_head_limit_of_ones_own_is_kept() {
    let gateway = Gateway::start(&format!(
        "[limits]\nhead = \"1KiB\"\n{}",
        one_cluster(&[&Upstream::start().serve(OK)])
    ));
    let ask = |size: usize| {
        let fixed = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: \r\n\r\n".len();
        gateway.exchange(&format!(
            "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {}\r\n\r\n",
            "y".repeat(size - fixed)
        ))
    };
    assert!(ask(1024).starts_with("HTTP/1.1 200 "));
    let answer = ask(1025);
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("head_too_large"), "{answer}");
}

#[test]
fn slow_clients_hold_nothing_but_their_own_connection() {
    let upstream = Upstream::start();
    let url = upstream.url();
    std::thread::spawn(move || {
        for stream in upstream.listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut peer = Peer::new(stream);
                peer.stream.set_read_timeout(None).unwrap();
                peer.stream.set_write_timeout(None).unwrap();
                while let Some(request) = peer.try_request() {
                    let size = if request.contains("/large") { 50_000_000 } else { 2 };
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
                    let body = vec![b'x'; size];
                    // Who does not read holds this thread, and nobody else.
                    if std::io::Write::write_all(&mut peer.stream, &[head.as_bytes(), &body].concat())
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    let gateway = Gateway::start_with(&one_cluster(&[&url]), &["--listen", "127.0.0.1:0", "--lanes", "1"]);
    let slow: Vec<Peer> = (0..60)
        .map(|number| {
            let mut client = gateway.connect();
            client.send(match number % 3 {
                0 => "GET /large HTTP/1.1\r\nhost: x\r\n\r\n",
                1 => "GET / HTTP/1.1\r\nho",
                _ => "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc",
            });
            client
        })
        .collect();
    gateway
        .until("the large answers began", |stats| stats["routes"]["all"]["in_flight"].as_u64() >= Some(40));
    let mut quick = gateway.connect();
    let begun = Instant::now();
    for _ in 0..200 {
        quick.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        assert!(quick.read_message().starts_with("HTTP/1.1 200 "));
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let resident = gateway.resident_bytes();
    assert!(resident < 120 << 20, "{} MiB held for 20 readers that do not read", resident >> 20);
    drop(slow);
    gateway.until("all slow ones are gone", |stats| stats["routes"]["all"]["in_flight"] == 0);
}
