//! A client that leaves takes its upstream request with it, in every phase.

use std::time::Duration;

use crate::support::{Gateway, OK, Peer, Upstream, one_cluster};

/// How soon the upstream must see the end; the best of a few tries, for this machine has other things to do.
const SOON: Duration = Duration::from_millis(10);
const TRIES: usize = 20;
/// Clients that leave together.
const CROWD: usize = 1000;

/// Brings a connection into a phase; returns both ends.
type Bring = fn(&Gateway, &Upstream) -> (Peer, Peer);

const POST: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n";

fn sending(gateway: &Gateway, upstream: &Upstream) -> (Peer, Peer) {
    let mut client = gateway.connect();
    client.send(POST);
    client.send("bo");
    let mut server = upstream.accept();
    server.read_until("bo");
    (client, server)
}

fn waiting(gateway: &Gateway, upstream: &Upstream) -> (Peer, Peer) {
    let mut client = gateway.connect();
    client.send(POST);
    client.send("body");
    let mut server = upstream.accept();
    server.read_until("body");
    (client, server)
}

fn streaming(gateway: &Gateway, upstream: &Upstream) -> (Peer, Peer) {
    let (mut client, mut server) = waiting(gateway, upstream);
    server.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n4\r\na\n\nb\r\n");
    client.read_until("b\r\n");
    (client, server)
}

#[test]
fn the_upstream_connection_closes_within_ten_milliseconds() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let phases: [(&str, Bring); 3] = [("sending", sending), ("waiting", waiting), ("streaming", streaming)];
    for (phase, bring) in phases {
        for by_reset in [false, true] {
            let mut best = Duration::MAX;
            for _ in 0..TRIES {
                let (client, mut server) = bring(&gateway, &upstream);
                if by_reset {
                    client.reset()
                } else {
                    drop(client)
                }
                best = best.min(server.wait_for_end());
            }
            assert!(best < SOON, "{phase}, reset {by_reset}: {best:?}");
        }
    }
    gateway.until("nothing is in flight", |stats| {
        stats["endpoints"]["up"][upstream.url()]["in_flight"] == 0 && stats["routes"]["all"]["in_flight"] == 0
    });
    let stats = gateway.stats();
    assert_eq!(stats["routes"]["all"]["client_closed"], 3 * 2 * TRIES);
    assert_eq!(stats["routes"]["all"]["S"], 1.0, "leaving early is no failure");
    assert_eq!(stats["endpoints"]["up"][upstream.url()]["faults"], 0);
}

#[test]
fn a_client_may_leave_while_the_gateway_still_connects() {
    // A backlog of one that is full: further connections wait in the handshake.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let fillers: Vec<_> = (0..4)
        .map(|_| {
            let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address.into());
            filler
        })
        .collect();
    let url = format!("http://{address}");
    let gateway = Gateway::start(
        &one_cluster(&[&url]).replace("[[route]]", "timeout = { connect = \"60s\" }\n[[route]]"),
    );
    for (request, count) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", CROWD),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody", 2),
    ] {
        let mut clients: Vec<_> = (0..count).map(|_| gateway.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(request));
        gateway.until("all are in flight", |stats| stats["endpoints"]["up"][&url]["in_flight"] == count);
        drop(clients);
        gateway.until("all are gone", |stats| stats["endpoints"]["up"][&url]["in_flight"] == 0);
    }
    assert_eq!(gateway.stats()["routes"]["all"]["client_closed"], CROWD + 2);
    drop(fillers);
}

#[test]
fn a_half_close_cancels_or_finishes_as_the_listener_says() {
    for (setting, finishes) in [("cancel", false), ("finish", true)] {
        let upstream = Upstream::start();
        let config = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\non_half_close = \"{setting}\"\n{}",
            one_cluster(&[&upstream.url()])
        );
        let gateway = Gateway::start_with(&config, &[]);
        let (mut client, mut server) = waiting(&gateway, &upstream);
        client.half_close();
        if finishes {
            server.send(OK);
            assert!(client.read_to_end().ends_with("\r\n\r\nok"));
        } else {
            server.wait_for_end();
            assert_eq!(client.read_to_end(), "");
        }
    }
}

#[test]
fn a_half_close_inside_a_request_is_a_broken_request() {
    let upstream = Upstream::start();
    let config = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\non_half_close = \"finish\"\n{}",
        one_cluster(&[&upstream.url()])
    );
    let gateway = Gateway::start_with(&config, &[]);
    let (mut client, mut server) = sending(&gateway, &upstream);
    client.half_close();
    server.wait_for_end();
    assert_eq!(client.read_to_end(), "");
}
