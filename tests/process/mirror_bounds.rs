//! Copies for a mirror are bounded, and give way to whatever is not a copy.

use std::sync::mpsc::{TryRecvError, channel};
use std::sync::{Arc, Barrier, Mutex};

use serde_json::json;

use crate::mirroring::{MIB, PLAIN, Setting, ask, by_hand, counts, ended, next, post, start, telling};
use crate::support::{After, OK, Upstream};

#[test]
fn a_body_of_more_than_a_mebibyte_is_not_copied() {
    let ((up, asked), (shadow, copied)) = (telling(OK), telling(OK));
    let gateway = start(&Setting { up: &[&up], shadow: &shadow, ..PLAIN });
    let whole = "a".repeat(MIB);
    let chunked = |body: &str| {
        let head = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunks: String = body
            .as_bytes()
            .chunks(100_000)
            .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()))
            .collect();
        format!("{head}{chunks}0\r\n\r\n")
    };
    for (request, is_copied) in [
        (post("", &whole), true),
        (post("", &format!("{whole}a")), false),
        (chunked(&whole), true),
        (chunked(&format!("{whole}a")), false),
    ] {
        assert!(ask(&gateway, request).ends_with("\r\n\r\nok"));
        let original = next(&asked);
        if is_copied {
            let copy = next(&copied);
            assert_eq!(copy.split_once("\r\n\r\n").unwrap().1, original.split_once("\r\n\r\n").unwrap().1);
        }
    }
    ended(&gateway, 2, 2, 0);
    assert!(copied.try_recv().is_err());
}

const TIGHT: &str = "[limits]\nbuffered = \"1MiB\"\nbody = \"900KiB\"";
/// A further route, whose bodies are held.
const HELD: &str = "match = { path = \"/v1/*\" }\n[[route]]\nname = \"held\"\nto = \"up\"\n\
                    match = { path = \"/held\", body = { model = \"*\" } }";

/// A request to it, with a body that long.
fn held(length: usize) -> String {
    let text = "a".repeat(length - "{\"model\":\"m\",\"input\":\"\"}".len());
    let head = format!("POST /held HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    format!("{head}{{\"model\":\"m\",\"input\":\"{text}\"}}")
}

#[test]
fn a_copy_for_which_there_is_no_room_is_not_made() {
    let (up, (shadow, copied)) = (Upstream::start().serve(OK), telling(OK));
    let gateway = start(&Setting { up: &[&up], shadow: &shadow, of_route: HELD, beside: TIGHT, ..PLAIN });
    // A quarter of the room is for copies.
    for (length, sent, skipped) in [(MIB / 4, 1, 0), (MIB / 4 + 1, 1, 1)] {
        assert!(ask(&gateway, post("", &"a".repeat(length))).ends_with("\r\n\r\nok"));
        ended(&gateway, sent, skipped, 0);
    }
    // It is in use by a body that is held.
    let request = held(MIB / 2);
    let (first, rest) = request.split_at(1000);
    let mut client = gateway.connect();
    client.send(first);
    gateway.until("it is held", |stats| stats["connections"].as_array().unwrap().contains(&json!(1)));
    let mut skipped = 1;
    while skipped == 1 {
        assert!(ask(&gateway, post("", "a")).ends_with("\r\n\r\nok"));
        gateway.until("it ended", |stats| stats["endpoints"]["shadow"][&shadow]["in_flight"] == 0);
        skipped = counts(&gateway.stats())["skipped"].as_u64().unwrap();
    }
    client.send(rest);
    assert!(client.read_message().ends_with("\r\n\r\nok"));
    while copied.try_recv().is_ok() {}
    assert!(ask(&gateway, post("", "last")).ends_with("\r\n\r\nok"));
    assert!(next(&copied).ends_with("last"));
}

#[test]
fn a_copy_that_was_taken_has_no_room_any_more() {
    let (up, shadow) = (Upstream::start().serve(OK), by_hand());
    let gateway = start(&Setting { up: &[&up], shadow: &shadow.url(), beside: TIGHT, ..PLAIN });
    let mut unanswered = Vec::new();
    for _ in 0..5 {
        assert!(ask(&gateway, post("", &"a".repeat(MIB / 5))).ends_with("\r\n\r\nok"));
        let mut copy = shadow.accept();
        assert!(copy.read_message().len() > MIB / 5);
        unanswered.push(copy);
    }
    assert_eq!(gateway.stats()["endpoints"]["shadow"][&shadow.url()]["in_flight"], 5);
}

#[test]
fn a_copy_gives_way_to_a_body_that_waits_for_room() {
    let up = Upstream::start().serve(OK);
    // Nobody accepts there, and its queue is full: who connects waits.
    let shadow = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    shadow.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    shadow.listen(0).unwrap();
    let address = shadow.local_addr().unwrap().as_socket().unwrap();
    let _full = std::net::TcpStream::connect(address).unwrap();
    let gateway = start(&Setting {
        up: &[&up],
        shadow: &format!("http://{address}"),
        of_shadow: "timeout = { connect = \"60s\" }",
        of_route: HELD,
        beside: TIGHT,
        ..PLAIN
    });
    assert!(ask(&gateway, post("", &"a".repeat(MIB / 4))).ends_with("\r\n\r\nok"));
    // It is not sent, and has its room for as long; the next one has none.
    assert!(ask(&gateway, post("", "a")).ends_with("\r\n\r\nok"));
    ended(&gateway, 0, 1, 0);
    assert!(ask(&gateway, held(800 << 10)).ends_with("\r\n\r\nok"));
    ended(&gateway, 0, 1, 1);
}

#[test]
fn past_64_under_way_there_is_no_copy_until_one_of_them_ends() {
    let up = Upstream::start().serve(OK);
    let (gate, all) = (Arc::new(Barrier::new(65)), Arc::new(Mutex::new(0)));
    let (hold, seen) = (Arc::clone(&gate), Arc::clone(&all));
    let shadow = Upstream::start().play(move |peer, _| {
        let number = {
            let mut seen = seen.lock().unwrap();
            *seen += 1;
            *seen
        };
        if number <= 64 {
            hold.wait();
        }
        peer.send(OK);
        After::GoOn
    });
    let gateway = start(&Setting { up: &[&up], shadow: &shadow, ..PLAIN });
    // Each on a connection of its own, and so on all lanes.
    for _ in 0..64 {
        assert!(ask(&gateway, post("", "body")).ends_with("\r\n\r\nok"));
    }
    gateway.until("64 are under way", |_| *all.lock().unwrap() == 64);
    for _ in 0..3 {
        assert!(ask(&gateway, post("", "body")).ends_with("\r\n\r\nok"));
    }
    ended(&gateway, 0, 3, 0);
    gate.wait();
    ended(&gateway, 64, 3, 0);
    assert!(ask(&gateway, post("", "body")).ends_with("\r\n\r\nok"));
    ended(&gateway, 65, 3, 0);
}

#[test]
fn a_client_that_leaves_does_not_end_the_copy() {
    let (up, shadow) = (by_hand(), by_hand());
    let gateway = start(&Setting { up: &[&up.url()], shadow: &shadow.url(), ..PLAIN });
    let mut client = gateway.connect();
    client.send(post("", "body"));
    let (mut original, mut copy) = (up.accept(), shadow.accept());
    original.read_message();
    assert!(copy.read_message().ends_with("\r\n\r\nbody"));
    drop(client);
    original.wait_for_end();
    copy.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha");
    assert!(copy.is_silent(), "it is read on");
    copy.send("lf");
    ended(&gateway, 1, 0, 0);
    // Its connection is whole, and serves the next one.
    let mut client = gateway.connect();
    client.send(post("", "next"));
    up.accept().send(OK);
    let mut next = if copy.is_silent() { shadow.accept() } else { copy };
    assert!(next.read_message().ends_with("\r\n\r\nnext"));
}

#[test]
fn a_huge_answer_is_read_to_its_end_and_dropped() {
    let up = Upstream::start().serve(OK);
    let shadow = by_hand();
    let gateway = start(&Setting { up: &[&up], shadow: &shadow.url(), ..PLAIN });
    // On one connection, and so on one lane.
    let mut client = gateway.connect();
    client.send(post("", "body"));
    assert!(client.read_message().ends_with("\r\n\r\nok"));
    let before = gateway.resident_bytes();
    let mut copy = shadow.accept();
    copy.read_message();
    // As fast as it is taken, for as long as others ask.
    let (others, are_done) = channel::<()>();
    let flood = std::thread::spawn(move || {
        copy.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = format!("{MIB:x}\r\n{}\r\n", "z".repeat(MIB));
        let mut count = 0;
        while are_done.try_recv() == Err(TryRecvError::Empty) || count < 64 {
            copy.send(&chunk);
            count += 1;
        }
        copy.send("0\r\n\r\n");
        copy
    });
    for _ in 0..64 {
        client.send(post("", "next"));
        assert!(client.read_message().ends_with("\r\n\r\nok"), "others have their turns");
    }
    drop(others);
    let _copy = flood.join().unwrap();
    gateway.until("it was read", |stats| counts(stats)["sent"] == 1);
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB as u64, "{grown} bytes more are held");
}
