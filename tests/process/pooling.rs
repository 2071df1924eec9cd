//! Upstream connections: reused newest first, evicted when closed, never shared by two exchanges.

use crate::support::{Gateway, OK, Peer, Upstream, one_cluster};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// One lane, so that there is one pool.
fn one_lane(config: &str) -> Gateway {
    Gateway::start_with(config, &["--listen", "127.0.0.1:0", "--lanes", "1"])
}

#[test]
fn requests_one_after_the_other_share_one_connection() {
    let url = Upstream::start().serve(OK);
    let gateway = one_lane(&one_cluster(&[&url]));
    for _ in 0..3 {
        let mut client = gateway.connect();
        for _ in 0..10 {
            client.send(GET);
            client.read_message();
        }
    }
    let endpoint = gateway.endpoint(&url);
    assert_eq!(
        (&endpoint["connects"], &endpoint["reused"], &endpoint["idle"]),
        (&1.into(), &29.into(), &1.into())
    );
}

/// Two exchanges at once leave two connections in the pool; returns them in the order in which they became idle.
fn two_idle(gateway: &Gateway, upstream: &Upstream) -> (Peer, Peer) {
    let (mut a, mut b) = (gateway.connect(), gateway.connect());
    a.send(GET);
    let mut older = upstream.accept();
    b.send(GET);
    let mut newer = upstream.accept();
    for (server, client) in [(&mut older, &mut a), (&mut newer, &mut b)] {
        server.read_until("\r\n\r\n");
        server.send(OK);
        client.read_message();
    }
    let url = upstream.url();
    gateway.until("two are idle", |stats| stats["endpoints"]["up"][&url]["idle"] == 2);
    (older, newer)
}

#[test]
fn the_newest_idle_connection_is_used_first() {
    let upstream = Upstream::start();
    let gateway = one_lane(&one_cluster(&[&upstream.url()]));
    let (mut older, mut newer) = two_idle(&gateway, &upstream);
    let mut client = gateway.connect();
    client.send(GET);
    newer.read_until("\r\n\r\n");
    newer.send(OK);
    client.read_message();
    assert!(older.is_silent());
}

#[test]
fn a_connection_that_its_upstream_closes_is_evicted_at_once() {
    let upstream = Upstream::start();
    let gateway = one_lane(&one_cluster(&[&upstream.url()]));
    let (older, newer) = two_idle(&gateway, &upstream);
    let url = upstream.url();
    drop(newer);
    gateway.until("one is idle", |stats| stats["endpoints"]["up"][&url]["idle"] == 1);
    older.reset();
    gateway.until("none is idle", |stats| stats["endpoints"]["up"][&url]["idle"] == 0);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    server.send(OK);
    assert!(client.read_message().starts_with("HTTP/1.1 200 "));
}

#[test]
fn bytes_that_nobody_asked_for_end_a_pooled_connection() {
    let upstream = Upstream::start();
    let gateway = one_lane(&one_cluster(&[&upstream.url()]));
    let url = upstream.url();
    let (_older, mut newer) = two_idle(&gateway, &upstream);
    newer.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged");
    gateway.until("one is idle", |stats| stats["endpoints"]["up"][&url]["idle"] == 1);
    newer.wait_for_end();
}

#[test]
fn an_answer_with_bytes_behind_it_is_not_reused() {
    let upstream = Upstream::start();
    let gateway = one_lane(&one_cluster(&[&upstream.url()]));
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    server.send(format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"));
    assert!(client.read_message().ends_with("ok"));
    server.wait_for_end();
    client.send(GET);
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    server.send(OK);
    assert!(client.read_message().ends_with("ok"));
}

#[test]
fn connections_that_either_side_wants_closed_are_not_pooled() {
    let upstream = Upstream::start();
    let gateway = one_lane(&one_cluster(&[&upstream.url()]));
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let mut client = gateway.connect();
        client.send(GET);
        let mut server = upstream.accept();
        server.read_until("\r\n\r\n");
        server.send(answer);
        client.read_message();
        server.wait_for_end();
    }
}

#[test]
fn idle_connections_end_with_their_limit_and_a_pool_of_none_keeps_none() {
    let upstream = Upstream::start();
    for (keep_alive, pooled) in [("idle = \"300ms\"", 1), ("max_idle = 0", 0)] {
        let config = one_cluster(&[&upstream.url()]);
        let gateway =
            one_lane(&config.replace("[[route]]", &format!("keep_alive = {{ {keep_alive} }}\n[[route]]")));
        let mut client = gateway.connect();
        client.send(GET);
        let mut server = upstream.accept();
        server.read_until("\r\n\r\n");
        server.send(OK);
        client.read_message();
        if pooled == 1 {
            assert_eq!(gateway.endpoint(&upstream.url())["keep_alive_ms"], 300);
        }
        server.wait_for_end();
    }
}

#[test]
fn pools_of_all_lanes_keep_no_more_than_their_bound() {
    let upstream = Upstream::start();
    let config =
        one_cluster(&[&upstream.url()]).replace("[[route]]", "keep_alive = { max_idle = 4 }\n[[route]]");
    let gateway = Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", "2"]);
    let mut clients: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    let mut servers: Vec<_> = clients.iter().map(|_| upstream.accept()).collect();
    for server in &mut servers {
        server.read_until("\r\n\r\n");
        server.send(OK);
    }
    clients.iter_mut().for_each(|client| assert!(client.read_message().ends_with("ok")));
    let url = upstream.url();
    gateway.until("the rest is closed", |stats| stats["endpoints"]["up"][&url]["idle"] == 4);
    let is_open = |peer: &mut Peer| peer.is_silent();
    assert_eq!(servers.iter_mut().filter_map(|server| is_open(server).then_some(())).count(), 4);
}

#[test]
fn a_safe_request_on_a_connection_that_dies_is_repeated_once_on_a_fresh_one() {
    let upstream = Upstream::start();
    let gateway = one_lane(&one_cluster(&[&upstream.url()]));
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    server.send(OK);
    client.read_message();
    for (method, repeated) in [("GET", true), ("POST", false)] {
        client.send(format!("{method} / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"));
        server.read_until("\r\n\r\n");
        drop(server);
        if repeated {
            server = upstream.accept();
            server.read_until("\r\n\r\n");
            server.send(OK);
            assert!(client.read_message().starts_with("HTTP/1.1 200 "));
        } else {
            assert!(client.read_message().starts_with("HTTP/1.1 502 "));
            assert!(!upstream.has_waiting());
            return;
        }
    }
}

#[test]
fn three_balancers_spread_as_they_say() {
    for balance in ["round-robin", "random", "least-work"] {
        let urls: Vec<_> = (0..3).map(|_| Upstream::start().serve(OK)).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        let config = one_cluster(&urls).replace("[[route]]", &format!("balance = \"{balance}\"\n[[route]]"));
        let gateway = one_lane(&config);
        let mut client = gateway.connect();
        for _ in 0..90 {
            client.send(GET);
            client.read_message();
        }
        let requests: Vec<_> =
            urls.iter().map(|url| gateway.endpoint(url)["requests"].as_u64().unwrap()).collect();
        let spread = if balance == "round-robin" { 29..=31 } else { 12..=50 };
        assert!(requests.iter().all(|count| spread.contains(count)), "{balance}: {requests:?}");
    }
}
