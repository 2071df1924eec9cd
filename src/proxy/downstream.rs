//! One client connection: idle, then exchanges in turn, until close, drain or fault.

use std::rc::Rc;

use bytes::BytesMut;

use super::client::{Client, Next};
use super::ends::End;
use super::idle::Idle;
use super::state::LaneState;
use super::steps;
use crate::base::ids::ListenerId;
use crate::base::limits::{REST_AFTER, REST_AFTER_ONE, UNTRIED_MAX};
use crate::net::listen::Peer;
use crate::net::stream::Whole;

/// Serves one client until its connection ends.
pub async fn serve(socket: Whole, peer: Peer, listener: ListenerId, lane: Rc<LaneState>) {
    let mut idle = Idle::new(socket, peer, listener, &lane);
    while let Some(first) = idle.wake(&lane).await {
        // In a box: what an active connection needs is not kept by an idle one.
        match Box::pin(attend(idle, first, &lane)).await {
            Some(again) => idle = again,
            None => return,
        }
    }
}

/// Serves a client that began to send, until its connection ends or falls idle.
async fn attend(idle: Idle, first: BytesMut, lane: &Rc<LaneState>) -> Option<Idle> {
    let mut client = Client::awake(idle, first, lane).await?;
    let (mut patience, mut exchanges) = (REST_AFTER_ONE, 0u64);
    loop {
        let patience_now = if lane.crowded.get() { REST_AFTER_ONE } else { patience };
        let untried = (exchanges == 1).then(|| Untried::new(lane));
        let next = match untried {
            Some(_) if lane.untried.get() > UNTRIED_MAX && client.has_nothing_unread() => Next::Silence,
            _ => client.next_head(patience_now, lane).await,
        };
        drop(untried);
        let end = match next {
            Next::Head(head, arrival) => {
                // In a box: what an exchange needs is not kept between two of them.
                let end = Box::pin(steps::run(&mut client, lane, head, arrival)).await;
                client.settle();
                exchanges += 1;
                end
            }
            Next::Silence => match client.rest().await {
                Ok(true) => return client.into_idle(),
                Ok(false) => End::KeepAlive,
                Err(_) => return None,
            },
            Next::Over => End::Close,
            Next::Refused(refusal, began) => client.refuse(refusal, began, lane).await,
        };
        match end {
            End::KeepAlive if exchanges > 1 => patience = REST_AFTER,
            End::KeepAlive => {}
            End::Close | End::Linger | End::Reset => {
                client.end(end).await;
                return None;
            }
        }
    }
}

/// A client that made one request, and may make another before the next tick.
struct Untried<'l>(&'l LaneState);

impl<'l> Untried<'l> {
    fn new(lane: &'l LaneState) -> Self {
        lane.untried.set(lane.untried.get() + 1);
        Self(lane)
    }
}

impl Drop for Untried<'_> {
    fn drop(&mut self) {
        self.0.untried.set(self.0.untried.get() - 1);
    }
}
