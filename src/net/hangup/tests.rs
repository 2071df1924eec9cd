//! Peers that hang up while nobody reads.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::Hangups;
use crate::base::limits::HANGUP_BURST_MAX;
use crate::net::reader::Reader;
use crate::net::tests::{Kind, Peer, bytes, everywhere, pair};

const UNREAD: usize = 64 * 1024;

fn running() -> Rc<Hangups> {
    let hangups = Hangups::new().unwrap();
    let running = Rc::clone(&hangups);
    monoio::spawn(async move { running.run().await });
    hangups
}

async fn hung_up(reader: &mut Reader, hangups: &Rc<Hangups>) {
    poll_fn(|cx| reader.poll_hung_up(hangups, cx)).await;
}

async fn is_told(reader: &mut Reader, hangups: &Rc<Hangups>) -> bool {
    poll_fn(|cx| Poll::Ready(reader.poll_hung_up(hangups, cx).is_ready())).await
}

/// Hangs up in one of the ways there are, and gives back what must stay open for it.
type Leaving = fn(Peer) -> Option<Peer>;

const LEAVINGS: [Leaving; 3] = [
    |peer| {
        peer.finish();
        Some(peer)
    },
    |_| None,
    |peer| {
        peer.reset();
        None
    },
];

#[test]
fn a_peer_that_hangs_up_behind_unread_bytes_is_noticed_however_it_leaves() {
    everywhere(|kind| {
        Box::pin(async move {
            for leave in LEAVINGS {
                let hangups = running();
                let (mut stream, peer) = pair(kind);
                peer.send(&bytes(0, UNREAD));
                assert!(!is_told(&mut stream.reader, &hangups).await, "bytes are no hang-up");
                let peer = monoio::spawn(async move { leave(peer) });
                hung_up(&mut stream.reader, &hangups).await;
                assert!(is_told(&mut stream.reader, &hangups).await, "it stays told");
                drop(peer.await);
            }
        })
    });
}

#[test]
fn a_peer_that_hung_up_before_anybody_asked_is_noticed() {
    everywhere(|kind| {
        Box::pin(async move {
            for leave in LEAVINGS {
                let hangups = running();
                let (mut stream, peer) = pair(kind);
                peer.send(&bytes(0, UNREAD));
                let _peer = leave(peer);
                hung_up(&mut stream.reader, &hangups).await;
            }
        })
    });
}

#[test]
fn a_peer_that_left_with_our_bytes_unread_is_noticed() {
    everywhere(|kind| {
        Box::pin(async move {
            let hangups = running();
            let (mut stream, peer) = pair(kind);
            peer.send(&bytes(0, UNREAD));
            stream.writer.write(bytes(0, 100)).await.unwrap();
            drop(peer);
            hung_up(&mut stream.reader, &hangups).await;
        })
    });
}

#[test]
fn bytes_tell_nothing_and_wake_nobody() {
    everywhere(|kind| {
        Box::pin(async move {
            let hangups = Hangups::new().unwrap();
            let wakes = Rc::new(Cell::new(0));
            let (running, counted) = (Rc::clone(&hangups), Rc::clone(&wakes));
            monoio::spawn(async move {
                let mut run = pin!(running.run());
                poll_fn(|cx| {
                    counted.set(counted.get() + 1);
                    run.as_mut().poll(cx)
                })
                .await
            });
            let (mut staying, talker) = pair(kind);
            assert!(!is_told(&mut staying.reader, &hangups).await);
            for round in 0..50 {
                talker.send(&bytes(round, 100));
                let (mut leaving, peer) = pair(kind);
                assert!(!is_told(&mut leaving.reader, &hangups).await);
                drop(peer);
                hung_up(&mut leaving.reader, &hangups).await;
                assert!(!is_told(&mut staying.reader, &hangups).await);
            }
            assert!(wakes.get() <= 2 * 50 + 1, "woken {} times for 50 hang-ups", wakes.get());
        })
    });
}

#[test]
fn reading_on_ends_the_watching_and_brings_all_bytes_and_the_end() {
    everywhere(|kind| {
        Box::pin(async move {
            let hangups = running();
            let (mut stream, peer) = pair(kind);
            let sent = bytes(0, UNREAD);
            peer.send(&sent);
            peer.finish();
            hung_up(&mut stream.reader, &hangups).await;
            while stream.reader.fill().await.unwrap() > 0 {
                assert!(hangups.watched.borrow().is_empty());
            }
            assert!(sent == stream.reader.unread()[..]);
        })
    });
}

#[test]
fn a_watched_connection_that_ends_leaves_nothing_behind() {
    everywhere(|kind| {
        Box::pin(async move {
            let hangups = running();
            for _ in 0..100 {
                let (mut stream, peer) = pair(kind);
                assert!(!is_told(&mut stream.reader, &hangups).await);
                drop(stream);
                assert!(hangups.watched.borrow().is_empty());
                drop(peer);
            }
            // Descriptors were used again; what was watched under the same number before does not concern this one.
            let (mut stream, peer) = pair(kind);
            assert!(!is_told(&mut stream.reader, &hangups).await);
            drop(peer);
            hung_up(&mut stream.reader, &hangups).await;
        })
    });
}

#[test]
fn a_joined_connection_is_watched_no_more() {
    everywhere(|kind| {
        Box::pin(async move {
            let hangups = running();
            let (mut stream, _peer) = pair(kind);
            assert!(!is_told(&mut stream.reader, &hangups).await);
            let whole = stream.join().expect("nothing is under way");
            assert!(hangups.watched.borrow().is_empty());
            let mut again = whole.split();
            assert!(!is_told(&mut again.reader, &hangups).await);
        })
    });
}

#[test]
fn more_hang_ups_at_once_than_one_call_takes_are_all_noticed() {
    everywhere(|kind: Kind| {
        Box::pin(async move {
            let hangups = running();
            let (mut streams, peers): (Vec<_>, Vec<_>) =
                (0..3 * HANGUP_BURST_MAX + 1).map(|_| pair(kind)).unzip();
            for stream in &mut streams {
                assert!(!is_told(&mut stream.reader, &hangups).await);
            }
            drop(peers);
            for stream in &mut streams {
                hung_up(&mut stream.reader, &hangups).await;
            }
        })
    });
}
