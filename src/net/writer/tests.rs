//! Writes that nobody waits for, are left and taken up; peers that take nothing, little, or break off.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use bytes::Bytes;

use super::{Outgoing, Wake, Writer};
use crate::net::tests::{Turns, bytes, everywhere, narrow_pair, pair};

fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Starts a write for whose end nobody is woken.
fn start(writer: &mut Writer, what: impl Into<Outgoing>) {
    writer.start(what, &mut nobody());
}

/// Whether a write is under way now.
fn look(writer: &mut Writer) -> bool {
    writer.go_on(Wake::IfNeeded, &mut nobody())
}

/// More than a narrow connection holds.
const LARGE: usize = 4 * 1024 * 1024;
/// What a slow peer takes at a time.
const NIBBLE: usize = 32 * 1024;

/// Polls the write under way until it ended or the peer takes no more.
async fn push(writer: &mut Writer, turns: &mut Turns) {
    let mut still = 0;
    while still < 10 {
        let before = writer.progress();
        if !look(writer) {
            return;
        }
        turns.one().await;
        still = if writer.progress() == before { still + 1 } else { 0 };
    }
}

#[test]
fn a_write_that_nobody_waits_for_reaches_the_peer() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            let mut turns = Turns::new();
            // On epoll a socket takes bytes once the loop was told that it does.
            turns.one().await;
            for round in 0..1000 {
                start(&mut stream.writer, bytes(round, 100));
                turns.one().await;
                assert_eq!(peer.take(100), bytes(round, 100));
                poll_fn(|cx| stream.writer.poll_idle(cx)).await.unwrap();
                assert!(stream.writer.take_spare().capacity() >= 100, "the buffer comes back");
            }
            assert_eq!(stream.writer.progress(), 100 * 1000);
        })
    });
}

#[test]
fn a_write_that_is_left_goes_on_where_it_was() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = narrow_pair(kind);
            let sent = bytes(0, LARGE);
            {
                let mut writing = pin!(stream.writer.write(Bytes::from(sent.clone())));
                poll_fn(|cx| {
                    assert!(writing.as_mut().poll(cx).is_pending(), "the peer takes nothing");
                    Poll::Ready(())
                })
                .await;
            }
            assert!(look(&mut stream.writer));
            let taker = thread::spawn(move || (peer.take(LARGE), peer.take_all()));
            poll_fn(|cx| stream.writer.poll_idle(cx)).await.unwrap();
            stream.writer.write(b"and more".to_vec()).await.unwrap();
            stream.writer.shutdown().unwrap();
            let (taken, rest) = taker.join().unwrap();
            assert!(taken == sent);
            assert_eq!(rest, b"and more");
        })
    });
}

#[test]
fn writes_stand_in_line() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = narrow_pair(kind);
            let sent = bytes(0, LARGE);
            let taker = thread::spawn(move || peer.take_all());
            for piece in sent.chunks(100_000) {
                stream.writer.write(piece.to_vec()).await.unwrap();
            }
            stream.writer.shutdown().unwrap();
            assert!(taker.join().unwrap() == sent);
        })
    });
}

#[test]
fn a_peer_that_takes_nothing_is_told_from_one_that_takes_little() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = narrow_pair(kind);
            let (writer, mut turns) = (&mut stream.writer, Turns::new());
            start(writer, bytes(0, LARGE));
            push(writer, &mut turns).await;
            let stalled = writer.progress();
            assert!(stalled < LARGE as u64);
            for _ in 0..20 {
                turns.one().await;
                assert!(look(writer));
            }
            assert_eq!(writer.progress(), stalled, "it takes nothing");
            assert!(writer.queued().unwrap() > 0);

            let slow = thread::spawn(move || {
                (0..LARGE / NIBBLE).for_each(|_| drop(peer.take(NIBBLE)));
                peer
            });
            let mut seen = vec![stalled];
            poll_fn(|cx| {
                let polled = writer.poll_idle(cx);
                seen.push(writer.progress());
                polled
            })
            .await
            .unwrap();
            assert!(seen.is_sorted() && seen.len() > 2, "{seen:?}");
            assert_eq!(writer.progress(), LARGE as u64);
            let _peer = slow.join().unwrap();
            while writer.queued().unwrap() > 0 {
                turns.one().await;
            }
        })
    });
}

#[test]
fn a_peer_that_breaks_off_ends_the_write_under_way_with_an_error_told_once() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = narrow_pair(kind);
            start(&mut stream.writer, bytes(0, LARGE));
            push(&mut stream.writer, &mut Turns::new()).await;
            assert!(look(&mut stream.writer));
            let breaking = monoio::spawn(async move { peer.reset() });
            assert!(poll_fn(|cx| stream.writer.poll_idle(cx)).await.is_err());
            breaking.await;
            assert!(!stream.writer.is_under_way());
            poll_fn(|cx| stream.writer.poll_idle(cx)).await.expect("told once");
            assert!(stream.writer.write(bytes(0, 10)).await.is_err(), "nobody is there any more");
        })
    });
}

#[test]
fn our_own_reset_or_shutdown_is_what_the_peer_sees() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            stream.writer.write(b"whole".to_vec()).await.unwrap();
            stream.writer.shutdown().unwrap();
            assert_eq!(peer.take_all(), b"whole");
            peer.send(b"answered");
            assert_eq!(stream.reader.fill().await.unwrap(), 8, "only our sending side is closed");
        })
    });
}

#[test]
fn a_connection_is_joined_only_where_no_write_is_under_way() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, _peer) = narrow_pair(kind);
            start(&mut stream.writer, bytes(0, LARGE));
            push(&mut stream.writer, &mut Turns::new()).await;
            assert!(stream.join().is_none());

            let (mut stream, peer) = narrow_pair(kind);
            stream.writer.write(b"done".to_vec()).await.unwrap();
            assert!(stream.join().is_some());
            assert_eq!(peer.take(4), b"done");
        })
    });
}
