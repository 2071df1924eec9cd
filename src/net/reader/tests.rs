//! Reads that are left, taken up, cancelled; peers that stall, dribble and break off.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use super::Reader;
use crate::base::limits::RELAY_BYTES;
use crate::base::rng::Rng;
use crate::net::tests::{Kind, Turns, bytes, everywhere, pair};

/// Polls a read once; none leaves it under way.
async fn look(reader: &mut Reader) -> Option<io::Result<usize>> {
    poll_fn(|cx| match reader.poll_fill(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The same beside what lies unread.
async fn listen(reader: &mut Reader) -> Option<io::Result<usize>> {
    poll_fn(|cx| match reader.poll_listen(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Does at random what users of a reader do, until the end of the stream; gives back what was understood, and how often
/// a read was left.
async fn read_restlessly(mut reader: Reader, seed: u64) -> (Vec<u8>, usize) {
    let mut rng = Rng::new(seed);
    let mut turns = Turns::new();
    let (mut understood, mut left) = (vec![], 0);
    loop {
        let ended = match rng.below(8) {
            0..=2 => look(&mut reader).await,
            3..=4 => listen(&mut reader).await,
            5 => {
                reader.disarm().await.unwrap();
                assert!(!reader.is_armed());
                None
            }
            6 => {
                // Another task takes it up, and leaves it.
                let (ended, back) = monoio::spawn(async move { (look(&mut reader).await, reader) }).await;
                reader = back;
                ended
            }
            _ => Some(reader.fill().await),
        };
        left += usize::from(reader.is_armed());
        if matches!(ended, Some(Ok(0))) {
            break;
        }
        ended.transpose().unwrap();
        let unread = reader.unread();
        if !unread.is_empty() && (unread.len() > 2 * RELAY_BYTES || rng.below(2) == 0) {
            let count = 1 + rng.below(unread.len() as u64) as usize;
            understood.extend_from_slice(&unread.split_to(count));
        }
        match rng.below(32) {
            0 => reader.settle(),
            1..=12 => turns.one().await,
            _ => {}
        }
    }
    understood.extend_from_slice(reader.unread());
    (understood, left)
}

#[test]
fn a_read_that_is_left_and_taken_up_loses_no_byte() {
    everywhere(|kind| {
        Box::pin(async move {
            let mut left = 0;
            for seed in 0..4 {
                let (stream, peer) = pair(kind);
                let sent = bytes(seed as usize, 512 * 1024);
                let sending = sent.clone();
                let sender = thread::spawn(move || {
                    let mut rng = Rng::new(seed ^ 0x5EED);
                    let mut rest = &sending[..];
                    while !rest.is_empty() {
                        let most = [1, 40, 700, 5000, 40_000][rng.below(5) as usize];
                        let (now, later) = rest.split_at(rest.len().min(1 + rng.below(most) as usize));
                        peer.send(now);
                        rest = later;
                        // A sender that is always ahead leaves no read to wait for.
                        match rng.below(8) {
                            0 => thread::sleep(Duration::from_millis(1)),
                            _ => thread::yield_now(),
                        }
                    }
                });
                let (understood, leaves) = read_restlessly(stream.reader, seed).await;
                sender.join().unwrap();
                assert!(understood == sent, "seed {seed}: {} of {} bytes", understood.len(), sent.len());
                left += leaves;
            }
            assert!(left > 100, "only {left} reads were left");
        })
    });
}

#[test]
fn single_messages_survive_thousands_of_reads_that_are_left_or_cancelled() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            let (reader, mut rng) = (&mut stream.reader, Rng::new(7));
            for round in 0..3000 {
                let message = bytes(round, 8);
                let before = rng.below(2) == 0;
                if before {
                    assert!(look(reader).await.is_none());
                }
                peer.send(&message);
                // The bytes are there, and nobody looked at the read: it may have taken them already.
                if rng.below(2) == 0 {
                    reader.disarm().await.unwrap();
                }
                while reader.unread().len() < message.len() {
                    assert!(reader.fill().await.unwrap() > 0);
                }
                assert_eq!(reader.unread().split()[..], message[..], "round {round}");
            }
        })
    });
}

#[test]
fn a_disarmed_reader_has_what_the_read_had_taken() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            let mut turns = Turns::new();
            assert!(look(&mut stream.reader).await.is_none());
            peer.send(b"in the meantime");
            turns.one().await;
            stream.reader.disarm().await.unwrap();
            assert!(!stream.reader.is_armed());
            while stream.reader.unread().is_empty() {
                // On epoll nothing was taken: the bytes lie where they lay.
                stream.reader.fill().await.unwrap();
            }
            assert_eq!(stream.reader.unread().split()[..], b"in the meantime"[..]);
        })
    });
}

#[test]
fn a_disarming_that_is_left_harms_no_later_read() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            let mut turns = Turns::new();
            for round in 0..100 {
                assert!(look(&mut stream.reader).await.is_none());
                turns.one().await;
                {
                    let mut disarming = std::pin::pin!(stream.reader.disarm());
                    // Left at once, wherever it is.
                    poll_fn(|cx| {
                        let _ = disarming.as_mut().poll(cx);
                        Poll::Ready(())
                    })
                    .await;
                }
                if round % 2 == 0 {
                    turns.one().await;
                }
                peer.send(&[round]);
                assert_eq!(stream.reader.fill().await.unwrap(), 1);
                assert_eq!(stream.reader.unread().split()[..], [round]);
            }
        })
    });
}

#[test]
fn bytes_that_come_beside_unread_ones_keep_their_order() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            let reader = &mut stream.reader;
            peer.send(b"one ");
            reader.fill().await.unwrap();
            assert!(listen(reader).await.is_none(), "nothing came yet");
            assert_eq!(reader.unread()[..], b"one "[..], "what lies unread stays within reach");
            peer.send(b"two ");
            reader.fill().await.unwrap();
            assert_eq!(reader.unread()[..], b"one two "[..]);

            assert!(listen(reader).await.is_none());
            let understood = reader.unread().split();
            peer.send(b"three ");
            reader.fill().await.unwrap();
            assert_eq!(understood[..], b"one two "[..]);
            assert_eq!(reader.unread()[..], b"three "[..], "all that was unread was understood in between");

            assert!(listen(reader).await.is_none());
            reader.settle();
            peer.send(b"four");
            reader.fill().await.unwrap();
            assert_eq!(reader.unread()[..], b"three four"[..]);
        })
    });
}

#[test]
fn the_end_of_the_stream_is_told_again_and_behind_all_bytes() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            peer.send(b"last words");
            peer.finish();
            let reader = &mut stream.reader;
            assert_eq!(reader.fill().await.unwrap(), 10);
            for _ in 0..3 {
                assert_eq!(reader.fill().await.unwrap(), 0);
                assert_eq!(poll_fn(|cx| reader.poll_listen(cx)).await.unwrap(), 0);
                reader.disarm().await.unwrap();
            }
            assert_eq!(reader.unread()[..], b"last words"[..]);
        })
    });
}

#[test]
fn the_end_of_the_stream_met_while_disarming_is_told_by_the_next_read() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            assert!(look(&mut stream.reader).await.is_none());
            peer.finish();
            stream.reader.disarm().await.unwrap();
            assert_eq!(stream.reader.fill().await.unwrap(), 0);
        })
    });
}

#[test]
fn a_peer_that_breaks_off_is_told_to_the_read_under_way_and_to_the_next() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            peer.send(b"half a");
            assert_eq!(stream.reader.fill().await.unwrap(), 6);
            assert!(listen(&mut stream.reader).await.is_none());
            peer.reset();
            match (kind, stream.reader.fill().await) {
                (Kind::Tcp, Err(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
                (Kind::Unix, Ok(0)) => {}
                (_, told) => panic!("{told:?}"),
            }
            assert_eq!(stream.reader.fill().await.unwrap(), 0, "a reset is told once (tcp(7)), then the end");
            assert_eq!(stream.reader.unread()[..], b"half a"[..]);
        })
    });
}

#[test]
fn a_peer_that_dribbles_is_read_byte_by_byte_and_one_that_stalls_is_waited_for() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            let mut turns = Turns::new();
            let message = bytes(0, 200);
            for (at, byte) in message.iter().enumerate() {
                for _ in 0..3 {
                    assert!(look(&mut stream.reader).await.is_none(), "nothing was sent");
                    turns.one().await;
                }
                peer.send(&[*byte]);
                assert_eq!(stream.reader.fill().await.unwrap(), 1);
                assert_eq!(stream.reader.unread().len(), at + 1);
            }
            assert!(message == stream.reader.unread()[..]);
        })
    });
}

#[test]
fn a_connection_is_joined_only_where_no_read_is_under_way_and_nothing_unread() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, _peer) = pair(kind);
            assert!(look(&mut stream.reader).await.is_none());
            assert!(stream.join().is_none(), "a read is under way");

            let (mut stream, peer) = pair(kind);
            peer.send(b"unread");
            stream.reader.fill().await.unwrap();
            assert!(stream.join().is_none(), "bytes lie unread");

            let (mut stream, peer) = pair(kind);
            for round in 0..20 {
                assert!(look(&mut stream.reader).await.is_none());
                stream.reader.disarm().await.unwrap();
                let whole = stream.join().expect("nothing is under way");
                stream = whole.split();
                peer.send(&[round]);
                stream.reader.fill().await.unwrap();
                assert_eq!(stream.reader.unread().split()[..], [round]);
                stream.writer.write(vec![round; 3]).await.unwrap();
                assert_eq!(peer.take(3), [round; 3]);
            }
        })
    });
}

#[test]
fn large_bodies_are_read_in_growing_steps_that_a_new_message_forgets() {
    everywhere(|kind| {
        Box::pin(async move {
            let (mut stream, peer) = pair(kind);
            let sent = bytes(0, 4 * 1024 * 1024);
            let sending = sent.clone();
            let sender = thread::spawn(move || peer.send(&sending));
            let (mut taken, mut largest) = (vec![], 0);
            while taken.len() < sent.len() {
                let count = stream.reader.fill().await.unwrap();
                largest = largest.max(count);
                taken.extend_from_slice(&stream.reader.unread().split());
            }
            sender.join().unwrap();
            assert!(taken == sent);
            assert!(largest > RELAY_BYTES, "the largest step was {largest} bytes");
            stream.reader.settle();
            assert_eq!(stream.reader.step, RELAY_BYTES);
        })
    });
}
