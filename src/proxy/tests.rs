//! Calls that no client waits for: from bytes in memory, on both drivers, against a server of plain blocking sockets.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::answer;
use super::answered::Answer;
use super::intake::Intake;
use super::request::{Call, Found, Request};
use super::state::{LaneState, Tellers};
use super::turns::Turns;
use crate::base::choice::IoDriver;
use crate::base::ids::{EndpointId, Id, LaneId, ListenerId};
use crate::base::limits::LOG_BYTES_MAX;
use crate::base::rng::Rng;
use crate::board::granted::Granted;
use crate::board::lines::lines;
use crate::codec::fields::FieldTable;
use crate::codec::forwarded::Sender;
use crate::codec::progress::Progress;
use crate::codec::split::split_request;
use crate::control::load::{Origin, Source, load};
use crate::lane::adopt;
use crate::net::driver::{block_on, choose};
use crate::net::hangup::Hangups;

/// A lane in front of one endpoint, and nothing else.
fn lane(url: &str) -> Rc<LaneState> {
    let plan = load(&Origin::new(Source::Upstreams(vec![url.to_owned()])), None).unwrap();
    let mut rng = Rng::new(1);
    let id = LaneId::at(0);
    let first = adopt::start(Arc::new(plan), id, &mut rng);
    let (log, _) = lines(1, LOG_BYTES_MAX);
    let tellers = Tellers { turns: Turns::new(Granted::new(|| {})), hangups: Hangups::new().unwrap() };
    Rc::new(LaneState::new(id, first, rng, (log, crate::board::spans::spans(8).0), tellers))
}

fn request(head: &str, lane: &LaneState) -> Request {
    let head = split_request(Bytes::from(head.to_owned()), FieldTable::default()).unwrap();
    Request {
        framing: head.framing(),
        is_changed: false,
        is_carried: false,
        standing: None,
        id: lane.request_id(None, false),
        trace: lane.trace(head.head(), false),
        head,
        sender: Sender::new(None, &[]),
        listener: ListenerId::at(0),
        plan: lane.plan(),
        route: None,
        found: Found::default(),
        dress: None,
    }
}

/// Answers one request with its own body, in two chunks, and tells what it read.
fn echo(listener: TcpListener, length: usize) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        while !got.windows(4).any(|window| window == b"\r\n\r\n")
            || got.len() < got.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4 + length
        {
            let mut bytes = [0; 4096];
            let count = socket.read(&mut bytes).unwrap();
            assert!(count > 0);
            got.extend_from_slice(&bytes[..count]);
        }
        let body = got[got.len() - length..].to_vec();
        socket
            .write_all(
                b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .unwrap();
        for half in [&body[..length / 2], &body[length / 2..]] {
            write!(socket, "{:x}\r\n{}\r\n", half.len(), std::str::from_utf8(half).unwrap()).unwrap();
        }
        socket.write_all(b"0\r\n\r\n").unwrap();
        String::from_utf8(got).unwrap()
    })
}

#[test]
fn a_call_is_made_from_bytes_in_memory_with_no_client_anywhere() {
    for driver in [IoDriver::Epoll, choose()] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = echo(listener, 11);
        let answered = block_on(driver, async {
            let lane = lane(&url);
            let clock = lane.watchdogs.watch();
            let mut request = request("POST /v1 HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n", &lane);
            let mut call =
                Call::apart(Intake::of_bytes(Bytes::from_static(b"hello world")), &clock, &lane.turns);
            let answer = answer::of(&mut request, &mut call, &lane).await;
            let Answer::Relayed(mut relayed) = answer else { panic!("it is forwarded") };
            assert_eq!(relayed.head.status(), 200);
            let load = &lane.plan().endpoints[EndpointId::at(0)].load;
            assert_eq!(load.in_flight(), 1);
            let mut body = Vec::new();
            loop {
                match relayed.next_piece().unwrap() {
                    Progress::Ready(Some(piece)) => body.extend_from_slice(&piece),
                    Progress::Ready(None) => break,
                    Progress::NeedMore => {
                        assert!(poll_fn(|cx| relayed.poll_more(&mut call.body, cx)).await.unwrap());
                    }
                }
            }
            drop(relayed);
            assert_eq!(load.in_flight(), 0, "a ticket that is dropped is settled");
            String::from_utf8(body).unwrap()
        });
        assert_eq!(answered.unwrap(), "hello world");
        assert!(served.join().unwrap().starts_with("POST /v1 HTTP/1.1\r\n"));
    }
}

#[test]
fn a_call_that_is_dropped_leaves_nothing_behind() {
    for driver in [IoDriver::Epoll, choose()] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let left = block_on(driver, async {
            let lane = lane(&url);
            let clock = lane.watchdogs.watch();
            let mut request = request("GET /v1 HTTP/1.1\r\nhost: a\r\n\r\n", &lane);
            let mut call = Call::apart(Intake::of_bytes(Bytes::new()), &clock, &lane.turns);
            {
                let mut work = std::pin::pin!(answer::of(&mut request, &mut call, &lane));
                let mut pause = std::pin::pin!(monoio::time::sleep(std::time::Duration::from_millis(20)));
                poll_fn(|cx| {
                    assert!(std::future::Future::poll(work.as_mut(), cx).is_pending(), "nobody answers");
                    std::future::Future::poll(pause.as_mut(), cx)
                })
                .await;
                assert_eq!(lane.plan().endpoints[EndpointId::at(0)].load.in_flight(), 1);
            }
            lane.plan().endpoints[EndpointId::at(0)].load.in_flight()
        });
        assert_eq!(left.unwrap(), 0);
        let (mut socket, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        // A clean end or a reset: either way the connection is closed.
        let _ = socket.read_to_end(&mut got);
    }
}
