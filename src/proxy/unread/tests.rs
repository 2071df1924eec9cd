//! Each row of the table, over real sockets, on both drivers and both kinds.

use std::future::poll_fn;
use std::time::Duration;

use super::*;
use crate::base::fault::FaultKind;
use crate::codec::method::Method;
use crate::net::tests::{Kind, Peer, everywhere, pair};

const HALF: usize = 1000;

/// What the endpoint does with a connection that is taken from the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    ClosedBefore,
    ClosesUnread,
    ReadsAndCloses,
    ReadsAndResets,
    HalfClosesReadsAndCloses,
    HalfClosesReadsAndResets,
    ReadsHalfAndCloses,
}

async fn send(upstream: &mut Upstream) {
    let half = vec![b'x'; HALF];
    if let Err(error) = upstream.writer.write(half).await {
        upstream.write_error.get_or_insert(error.kind());
    }
}

/// Plays `endpoint` against a request of two halves; whether it is proven unread.
async fn proven(kind: Kind, endpoint: Endpoint) -> bool {
    let (stream, peer): (_, Peer) = pair(kind);
    let mut upstream = Upstream::new(stream);
    upstream.expect(Method::Post);
    let pause = || monoio::time::sleep(Duration::from_millis(20));
    match endpoint {
        Endpoint::ClosedBefore => {
            drop(peer);
            send(&mut upstream).await;
            send(&mut upstream).await;
        }
        Endpoint::ReadsHalfAndCloses => {
            send(&mut upstream).await;
            peer.take(HALF);
            drop(peer);
            pause().await;
            send(&mut upstream).await;
        }
        Endpoint::ClosesUnread => {
            send(&mut upstream).await;
            send(&mut upstream).await;
            drop(peer);
        }
        Endpoint::ReadsAndCloses | Endpoint::ReadsAndResets => {
            send(&mut upstream).await;
            send(&mut upstream).await;
            peer.take(2 * HALF);
            match endpoint {
                Endpoint::ReadsAndCloses => drop(peer),
                _ => peer.reset(),
            }
        }
        Endpoint::HalfClosesReadsAndCloses | Endpoint::HalfClosesReadsAndResets => {
            peer.finish();
            send(&mut upstream).await;
            send(&mut upstream).await;
            peer.take(2 * HALF);
            pause().await;
            match endpoint {
                Endpoint::HalfClosesReadsAndCloses => drop(peer),
                _ => peer.reset(),
            }
        }
    }
    let head = poll_fn(|cx| upstream.poll_head(cx)).await;
    assert!(matches!(head, Err(FaultKind::Reset)), "{kind:?} {endpoint:?}");
    is_unread(&mut upstream).await
}

#[test]
fn only_what_was_gone_before_the_request_came_is_proven_to_have_read_none_of_it() {
    everywhere(|kind| {
        Box::pin(async move {
            for endpoint in [
                Endpoint::ClosedBefore,
                Endpoint::ClosesUnread,
                Endpoint::ReadsAndCloses,
                Endpoint::ReadsAndResets,
                Endpoint::HalfClosesReadsAndCloses,
                Endpoint::HalfClosesReadsAndResets,
                Endpoint::ReadsHalfAndCloses,
            ] {
                for _ in 0..5 {
                    let expected = endpoint == Endpoint::ClosedBefore;
                    assert_eq!(proven(kind, endpoint).await, expected, "{kind:?} {endpoint:?}");
                }
            }
        })
    });
}
