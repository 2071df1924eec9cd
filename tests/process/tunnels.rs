//! Upgrades: what a client may ask for, what an endpoint may agree to, and bytes both ways from there on.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Gateway, OK, Peer, Upstream};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx-endpoint: own\r\n\r\n";

fn gateway(upstream: &Upstream, cluster: &str, upgrade: &str) -> Gateway {
    let url = upstream.url();
    Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{{ url = {url:?}, max_in_flight = 2 }}]\n{cluster}\n[[route]]\nname = \"all\"\nto = \"up\"\nupgrade = {upgrade}\n"
    ))
}

/// A client and an endpoint that talk through the gateway.
fn tunnel(gateway: &Gateway, upstream: &Upstream) -> (Peer, Peer) {
    let mut client = gateway.connect();
    client.send(HANDSHAKE);
    let mut endpoint = upstream.accept();
    endpoint.read_until("\r\n\r\n");
    endpoint.send(AGREED);
    assert!(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    (client, endpoint)
}

#[test]
fn a_handshake_passes_and_every_byte_behind_it_both_ways() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "", "true");
    let mut client = gateway.connect();
    // What comes with the handshake belongs to the other protocol, once that is agreed upon.
    client.send(format!("{HANDSHAKE}early"));
    let mut endpoint = upstream.accept();
    let asked = endpoint.read_until("\r\n\r\n");
    for line in
        ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", "via: 1.1 corelane"]
    {
        assert_eq!(asked.matches(&format!("{line}\r\n")).count(), 1, "{line}: {asked}");
    }
    assert_eq!(asked.to_ascii_lowercase().matches("connection:").count(), 1, "{asked}");
    assert!(endpoint.is_silent(), "nothing of it leaves before");
    // What frames a body means nothing here, and would mislead whoever reads it.
    let framed = "\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
    endpoint.send(format!("{}at once", AGREED.replace("\r\n\r\n", framed)));
    let told = client.read_until("\r\n\r\n");
    for line in [
        "HTTP/1.1 101 Switching Protocols",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "x-endpoint: own",
        "via: 1.1 corelane",
    ] {
        assert_eq!(told.matches(&format!("{line}\r\n")).count(), 1, "{line}: {told}");
    }
    for field in ["content-length", "transfer-encoding", "connection: close"] {
        assert!(!told.contains(field), "{told}");
    }
    assert_eq!(client.read_exactly(7), b"at once");
    assert_eq!(endpoint.read_exactly(5), b"early");
    for round in 0..100 {
        client.send(format!("ping {round:03}"));
        assert_eq!(endpoint.read_exactly(8), format!("ping {round:03}").as_bytes());
        endpoint.send(format!("pong {round:03}"));
        assert_eq!(client.read_exactly(8), format!("pong {round:03}").as_bytes());
    }
    assert_eq!(gateway.stats()["routes"]["all"]["in_flight"], 1);
    drop(endpoint);
    assert_eq!(client.read_to_end(), "");
    drop(client);
    gateway.until("the tunnel is over", |stats| stats["routes"]["all"]["success"] == 1);
    let (_, metrics) = gateway.admin("GET", "/metrics");
    assert!(metrics.contains("corelane_requests_total{route=\"all\",status=\"1xx\"} 1"), "{metrics}");
}

#[test]
fn only_a_websocket_is_offered_and_only_where_the_route_says_so() {
    for (upgrade, request) in [
        ("false", HANDSHAKE.to_owned()),
        ("true", HANDSHAKE.replace("WebSocket\r\n", "h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n")),
        ("true", HANDSHAKE.replace("WebSocket\r\n", "h2c, websocket\r\n")),
        ("true", HANDSHAKE.replace("WebSocket\r\n", "websocket\r\nupgrade: h2c\r\n")),
        ("true", HANDSHAKE.replace("keep-alive, Upgrade", "keep-alive")),
        ("true", HANDSHAKE.replace("GET /ws", "POST /ws")),
        ("true", HANDSHAKE.replace("\r\n\r\n", "\r\ncontent-length: 2\r\n\r\nhi")),
        ("true", HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0")),
    ] {
        let upstream = Upstream::start();
        let gateway = gateway(&upstream, "", upgrade);
        let mut client = gateway.connect();
        client.send(&request);
        let mut endpoint = upstream.accept();
        let asked = endpoint.read_until("\r\n\r\n").to_ascii_lowercase();
        assert!(!asked.contains("\r\nupgrade:") && !asked.contains("http2-settings"), "{request}: {asked}");
        // An endpoint that changes the protocol nevertheless is broken.
        endpoint.send(AGREED);
        let told = client.read_message();
        assert!(told.starts_with("HTTP/1.1 502 ") && told.contains("upstream_invalid"), "{request}: {told}");
    }
}

#[test]
fn an_endpoint_that_agrees_to_something_else_is_broken_and_one_that_refuses_is_heard() {
    for wrong in [
        AGREED.replace("upgrade: websocket", "upgrade: h2c"),
        AGREED.replace("upgrade: websocket\r\n", ""),
        AGREED.replace("connection: Upgrade\r\n", ""),
    ] {
        let upstream = Upstream::start();
        let gateway = gateway(&upstream, "", "true");
        let mut client = gateway.connect();
        client.send(HANDSHAKE);
        let mut endpoint = upstream.accept();
        endpoint.read_until("\r\n\r\n");
        endpoint.send(&wrong);
        assert!(client.read_message().starts_with("HTTP/1.1 502 "), "{wrong}");
    }
    // What follows a handshake that was refused is the next request, and is judged as one.
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "", "true");
    let mut client = gateway.connect();
    client.send(format!("{HANDSHAKE}GET /next HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 6.6.6.6\r\n\r\n"));
    let mut endpoint = upstream.accept();
    endpoint.read_until("\r\n\r\n");
    endpoint.send("HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nno");
    assert!(client.read_message().starts_with("HTTP/1.1 426 "));
    let next = endpoint.read_until("\r\n\r\n");
    assert!(next.starts_with("GET /next ") && !next.contains("6.6.6.6"), "{next}");
    endpoint.send(OK);
    assert!(client.read_message().ends_with("ok"));
}

#[test]
fn a_side_that_ends_is_told_to_the_other_which_may_still_speak() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "", "true");
    let (mut client, mut endpoint) = tunnel(&gateway, &upstream);
    client.send("last words");
    client.half_close();
    assert_eq!(endpoint.read_to_end(), "last words");
    endpoint.send("an answer to them");
    drop(endpoint);
    assert_eq!(client.read_to_end(), "an answer to them");

    let (mut client, mut endpoint) = tunnel(&gateway, &upstream);
    endpoint.send("last words");
    endpoint.half_close();
    assert_eq!(client.read_to_end(), "last words");
    client.send("an answer to them");
    drop(client);
    assert_eq!(endpoint.read_to_end(), "an answer to them");
    gateway.until("both are over", |stats| stats["routes"]["all"]["success"] == 2);

    // Where both have ended, what the second one said last is still on its way.
    let (mut client, mut endpoint) = tunnel(&gateway, &upstream);
    endpoint.half_close();
    assert_eq!(client.read_to_end(), "");
    let sending = thread::spawn(move || {
        client.send("x".repeat(8 << 20));
        client.half_close();
        client.read_to_end()
    });
    thread::sleep(Duration::from_millis(500));
    assert_eq!(endpoint.read_to_end().len(), 8 << 20);
    drop(endpoint);
    sending.join().unwrap();
}

#[test]
fn a_side_that_breaks_off_breaks_the_other() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "", "true");
    let (mut client, endpoint) = tunnel(&gateway, &upstream);
    endpoint.reset();
    assert!(!client.read_to_any_end().1, "a reset is passed on");
    let stats = gateway.stats();
    let endpoints = stats["endpoints"]["up"].as_object().unwrap();
    assert_eq!(endpoints.values().next().unwrap()["faults"], 1);
    assert_eq!(stats["routes"]["all"]["success"], 0);

    let (client, mut endpoint) = tunnel(&gateway, &upstream);
    client.reset();
    endpoint.wait_for_end();
    gateway.until("the client is known to have left", |stats| stats["routes"]["all"]["client_closed"] == 1);
}

#[test]
fn a_reset_is_noticed_though_nobody_reads_from_that_side() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "", "true");
    let fill = |peer: &Peer| {
        let mut stream = peer.stream.try_clone().unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(400))).unwrap();
        while stream.write(&[b'x'; 1 << 16]).is_ok() {}
    };
    // The endpoint says all it has to say and reads nothing; the client is held up, and gives up.
    let (mut client, endpoint) = tunnel(&gateway, &upstream);
    endpoint.half_close();
    assert_eq!(client.read_to_end(), "");
    fill(&client);
    client.reset();
    gateway.until("the client is missed", |stats| stats["routes"]["all"]["in_flight"] == 0);
    // The same the other way round.
    let (client, endpoint) = tunnel(&gateway, &upstream);
    fill(&endpoint);
    endpoint.reset();
    gateway.until("the endpoint is missed", |stats| stats["routes"]["all"]["in_flight"] == 0);
    drop(client);
}

#[test]
fn much_passes_both_ways_at_once_and_whole() {
    const BYTES: usize = 48 << 20;
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "", "true");
    let (client, endpoint) = tunnel(&gateway, &upstream);
    let before = gateway.resident_bytes();
    let pattern = |seed: usize, at: usize| ((at / 251) ^ (at % 251) ^ seed) as u8;
    let send = |peer: &Peer, seed: usize| {
        let mut stream = peer.stream.try_clone().unwrap();
        thread::spawn(move || {
            let mut at = 0;
            while at < BYTES {
                let step = [1, 700, 40_000, 300_000][at % 4].min(BYTES - at);
                let piece: Vec<u8> = (at..at + step).map(|at| pattern(seed, at)).collect();
                stream.write_all(&piece).unwrap();
                at += step;
            }
            stream.shutdown(Shutdown::Write).unwrap();
        })
    };
    let check = |peer: &Peer, seed: usize| {
        let mut stream = peer.stream.try_clone().unwrap();
        thread::spawn(move || {
            let (mut at, mut piece) = (0, vec![0; 1 << 18]);
            loop {
                match stream.read(&mut piece).unwrap() {
                    0 => break,
                    count => {
                        let expected = (at..at + count).map(|at| pattern(seed, at));
                        assert!(expected.eq(piece[..count].iter().copied()), "near byte {at}");
                        at += count;
                    }
                }
            }
            assert_eq!(at, BYTES);
        })
    };
    let all = [send(&client, 7), send(&endpoint, 9), check(&client, 9), check(&endpoint, 7)];
    for each in all {
        each.join().unwrap();
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes for {BYTES} each way");
    gateway.until("the tunnel is over", |stats| stats["routes"]["all"]["success"] == 1);
}

#[test]
fn a_side_that_takes_nothing_holds_up_the_other() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "", "true");
    let (client, endpoint) = tunnel(&gateway, &upstream);
    let before = gateway.resident_bytes();
    let mut sent = 0usize;
    let mut stream = &endpoint.stream;
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    while let Ok(count) = stream.write(&[b'x'; 1 << 16]) {
        sent += count;
        assert!(sent < 256 << 20, "nobody holds it up");
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes of {sent}");
    drop(client);
}

#[test]
fn only_the_tunnels_own_clock_runs_behind_the_handshake_and_counts_what_is_taken() {
    let upstream = Upstream::start();
    let clocks = "timeout = { first_byte = \"200ms\", between_bytes = \"200ms\", total = \"300ms\" }";
    let gateway = gateway(&upstream, clocks, "{ idle = \"1500ms\" }");
    let (mut client, mut endpoint) = tunnel(&gateway, &upstream);
    let begun = Instant::now();
    thread::sleep(Duration::from_millis(700));
    client.send("still here");
    assert_eq!(endpoint.read_exactly(10), b"still here");
    assert_eq!(client.read_to_end(), "", "the silence ends it");
    assert!(begun.elapsed() >= Duration::from_millis(2100), "{:?}", begun.elapsed());
    assert_eq!(endpoint.read_to_end(), "");
    gateway.until("it ended as intended", |stats| stats["routes"]["all"]["success"] == 1);

    // Before the handshake is over the cluster's clocks run.
    let mut client = gateway.connect();
    client.send(HANDSHAKE);
    let _silent = upstream.accept();
    assert!(client.read_message().starts_with("HTTP/1.1 504 "));
}

#[test]
fn a_client_that_takes_bytes_slowly_is_not_idle_and_one_that_takes_none_is() {
    let upstream = Upstream::start();
    // Longer than this client's thread is ever held up on a busy machine.
    let gateway = gateway(&upstream, "[limits]\nwrite_timeout = \"1s\"", "{ idle = \"2s\" }");
    let (mut client, endpoint) = tunnel(&gateway, &upstream);
    let mut stream = endpoint.stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let mut sent = 0;
        while let Ok(count) = stream.write(&[b'x'; 1 << 16]) {
            sent += count;
        }
        sent
    });
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        // So little that the endpoint is not asked for more meanwhile.
        client.read_exactly(20_000);
        thread::sleep(Duration::from_millis(100));
    }
    assert!(!sending.is_finished(), "it was taken for idle");
    let since = Instant::now();
    let sent = sending.join().unwrap();
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    assert!(sent > 0);
    // What the client never takes holds its connection no longer than that of any other.
    gateway.until("its connection is let go", |_| {
        let metrics = gateway.admin("GET", "/metrics").1;
        metrics
            .lines()
            .filter(|line| line.starts_with("corelane_connections{"))
            .all(|line| line.ends_with(" 0"))
    });
}

#[test]
fn tunnels_take_a_place_at_their_endpoint_and_outlive_a_drain() {
    let upstream = Upstream::start();
    let mut gateway = gateway(&upstream, "", "true");
    let (mut client, mut endpoint) = tunnel(&gateway, &upstream);
    let (second, other) = tunnel(&gateway, &upstream);
    let mut third = gateway.connect();
    third.send(HANDSHAKE);
    assert!(third.read_message().starts_with("HTTP/1.1 429 "), "two are at most");
    drop((second, other));
    gateway.signal("TERM");
    // Idle connections have a second.
    thread::sleep(Duration::from_millis(1500));
    client.send("still here");
    assert_eq!(endpoint.read_exactly(10), b"still here");
    drop(client);
    assert_eq!(endpoint.read_to_end(), "");
    drop(endpoint);
    assert!(gateway.process.wait().unwrap().success());
}

#[test]
fn the_end_of_a_drain_ends_a_tunnel() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let config = format!(
        "[server]\ndrain = \"1500ms\"\n[cluster.up]\nendpoints = [{url:?}]\n[[route]]\nto = \"up\"\nupgrade = true\n"
    );
    let mut gateway = Gateway::start(&config);
    let (mut client, mut endpoint) = tunnel(&gateway, &upstream);
    gateway.signal("TERM");
    client.wait_for_end();
    endpoint.wait_for_end();
    assert!(gateway.process.wait().unwrap().success());
}
