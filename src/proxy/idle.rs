//! A client connection on which nothing is going on: a socket, a deadline, and who is at the other end. A machine of
//! ten thousand users holds mostly these, so all that an exchange needs is let go before, and made anew on waking.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use bytes::BytesMut;

use super::state::LaneState;
use super::watchdog::{Activity, Watchdog};
use crate::base::choice::ProxyProtocol;
use crate::base::ids::ListenerId;
use crate::base::limits::RELAY_BYTES;
use crate::base::time::{deadline, earlier};
use crate::codec::forwarded::Sender;
use crate::net::listen::Peer;
use crate::net::stream::Whole;

/// Who is at the other end.
pub(super) enum Caller {
    /// Who connected; a load balancer in front may still say who that is.
    Connected(Option<IpAddr>),
    /// Who sends the requests.
    Known(Sender),
}

/// A connection between exchanges, or before the first.
pub(super) struct Idle {
    pub(super) socket: Whole,
    pub(super) watchdog: Watchdog,
    pub(super) caller: Caller,
    /// Where it was accepted.
    pub(super) listener: ListenerId,
    /// When it began, or its last exchange ended.
    pub(super) since: Instant,
}

impl Idle {
    /// A connection that was just accepted.
    pub(super) fn new(socket: Whole, peer: Peer, listener: ListenerId, lane: &LaneState) -> Self {
        let address = match peer {
            Peer::Remote(address) => Some(address.ip()),
            Peer::Local => None,
        };
        let caller = Caller::Connected(address);
        Self { socket, watchdog: lane.watchdogs.watch(), caller, listener, since: Instant::now() }
    }

    /// Waits for the next bytes; none if the connection is over.
    pub(super) async fn wake(&self, lane: &LaneState) -> Option<BytesMut> {
        self.set_deadline(lane);
        let _rest = lane.resting.enter(self.since, self.watchdog.alarm());
        // Who connects mostly has something to say already; who fell silent does not.
        let mut look = matches!(self.caller, Caller::Connected(_));
        let mut surely = false;
        loop {
            if look {
                match self.receive(lane) {
                    Ok(first) => return first,
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock => {}
                        io::ErrorKind::Interrupted => continue,
                        _ => return None,
                    },
                }
            }
            let mut arrival = pin!(self.socket.arrival(surely));
            let arrived = poll_fn(|cx| match self.watchdog.poll_fired(cx) {
                Poll::Ready(()) => Poll::Ready(false),
                Poll::Pending => arrival.as_mut().poll(cx).map(|arrived| arrived.is_ok()),
            });
            if !arrived.await {
                // What came in the same moment is served, unless nothing is any more.
                return if self.watchdog.is_ended() { None } else { self.receive(lane).ok().flatten() };
            }
            // On epoll the first word of an arrival may be an old one: then the next must be a sure one.
            surely = look;
            look = true;
        }
    }

    /// What has arrived, in as much memory as it needs; none at the end of the stream.
    fn receive(&self, lane: &LaneState) -> io::Result<Option<BytesMut>> {
        let mut scratch = lane.scratch.take();
        scratch.clear();
        scratch.reserve(RELAY_BYTES);
        let received = self.socket.receive(&mut scratch);
        let first = received.map(|count| (count > 0).then(|| BytesMut::from(&scratch[..])));
        lane.scratch.set(scratch);
        first
    }

    fn set_deadline(&self, lane: &LaneState) {
        let plan = lane.plan();
        let limits = &plan.plan.limits;
        let listener = &plan.plan.listeners[self.listener];
        let silence = match self.caller {
            // The load balancer in front speaks first, and at once.
            Caller::Connected(_) if listener.proxy_protocol != ProxyProtocol::Off => limits.head_timeout,
            _ => limits.idle_timeout,
        };
        self.watchdog.set(earlier(deadline(self.since, silence), lane.draining.get()), Activity::Idle);
    }
}
