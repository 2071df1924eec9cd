//! A client connection on which something is going on: its ear, its mouth, its next head, and how it ends.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::ear::{Ear, Expired, attend};
use super::ends::End;
use super::idle::{Caller, Idle};
use super::log;
use super::mouth::{self, Lost, Mouth};
use super::notes::Arrival;
use super::reply;
use super::state::LaneState;
use super::watchdog::{Activity, Watchdog};
use crate::base::fault::Sent;
use crate::base::ids::ListenerId;
use crate::base::limits::{LINGER_PAUSE, LINGER_TIME};
use crate::base::time::{deadline, earlier};
use crate::codec::encode::{OwnHead, Signature, Timing, write_reply};
use crate::codec::forwarded::Sender;
use crate::codec::head::RequestHead;
use crate::codec::method::Method;
use crate::codec::progress::Progress;
use crate::codec::proxy_protocol::{self, Claimed, NoHeader};
use crate::codec::reply::ErrorReply;
use crate::codec::request::{RequestEvent, RequestReader};
use crate::codec::write::ConnectionField;
use crate::net::stream::Stream;
use crate::plan::ListenerPlan;

/// A client connection on which something is going on.
pub(super) struct Client {
    pub(super) ear: RefCell<Ear>,
    pub(super) mouth: RefCell<Mouth>,
    /// The clocks of the clusters that are asked for it.
    pub(super) clock: Watchdog,
    /// Who sends its requests.
    pub(super) sender: Sender,
    /// Where it was accepted.
    pub(super) listener: ListenerId,
    /// When it began, or its last exchange ended.
    pub(super) since: Instant,
}

/// What the wait for a request ended with.
pub(super) enum Next {
    /// A request.
    Head(RequestHead, Arrival),
    /// Nothing came for a while.
    Silence,
    /// The client is done, or a drain does not wait for it.
    Over,
    /// The client's bytes break a rule, or came too slowly; when the first of them came.
    Refused(ErrorReply, Instant),
}

impl Client {
    /// A connection whose next bytes came. None if it is over: it does not say who it is.
    pub(super) async fn awake(idle: Idle, first: BytesMut, lane: &LaneState) -> Option<Self> {
        let plan = Arc::clone(&lane.plan().plan);
        let Idle { socket, watchdog, caller, listener, since } = idle;
        let Stream { mut reader, writer } = socket.split();
        *reader.unread() = first;
        let mut ear = Ear {
            reader,
            requests: RequestReader::new(plan.limits.head_bytes),
            clock: watchdog,
            hangups: Rc::clone(&lane.hangups),
            on_half_close: plan.listeners[listener].on_half_close,
            half_closed: false,
            left: false,
            told_end: false,
        };
        let sender = match caller {
            Caller::Known(sender) => sender,
            Caller::Connected(address) => {
                ear.wait_until(deadline(since, plan.limits.head_timeout));
                introduce(&mut ear, address, &plan.listeners[listener]).await.ok()?
            }
        };
        let mouth = RefCell::new(Mouth::new(writer, lane.watchdogs.watch()));
        let clock = lane.watchdogs.watch();
        Some(Self { ear: RefCell::new(ear), mouth, clock, sender, listener, since })
    }

    /// Whether none of a next request came with the last.
    pub(super) fn has_nothing_unread(&mut self) -> bool {
        self.ear.get_mut().reader.unread().is_empty()
    }

    /// Nothing came for a while: ends what is under way, so that the connection can be let go but for its socket.
    /// False if something came in the meantime.
    pub(super) async fn rest(&mut self) -> Result<bool, Lost> {
        self.written().await?;
        let ear = self.ear.get_mut();
        ear.reader.disarm().await.map_err(|_| Lost::Left)?;
        Ok(ear.reader.unread().is_empty())
    }

    pub(super) fn into_idle(self) -> Option<Idle> {
        let Self { ear, mouth, sender, listener, since, .. } = self;
        let ear = ear.into_inner();
        let socket = Stream { reader: ear.reader, writer: mouth.into_inner().writer }.join()?;
        Some(Idle { socket, watchdog: ear.clock, caller: Caller::Known(sender), listener, since })
    }

    /// Waits for the next request head, or for so long that the connection is better idle.
    pub(super) async fn next_head(&mut self, patience: Duration, lane: &LaneState) -> Next {
        let mut began = None;
        loop {
            let ear = self.ear.get_mut();
            if !ear.reader.unread().is_empty() {
                // A head mostly comes in one piece: then one look at the clock is enough.
                let in_pieces = began.is_some();
                let first = *began.get_or_insert_with(Instant::now);
                match ear.requests.next(ear.reader.unread()) {
                    Ok(Progress::Ready(RequestEvent::Head(head))) => {
                        let complete = if in_pieces { Instant::now() } else { first };
                        return Next::Head(head, Arrival { began: first, complete });
                    }
                    // Empty lines begin no head (RFC 9112 §2.2).
                    Ok(Progress::NeedMore) if ear.reader.unread().is_empty() => began = None,
                    Ok(Progress::NeedMore) => {}
                    Ok(Progress::Ready(RequestEvent::Data(_) | RequestEvent::End)) => {
                        unreachable!("between two requests a reader yields heads only")
                    }
                    Err(broken) => return Next::Refused(reply::of_codec(broken), first),
                }
            }
            if ear.half_closed {
                return Next::Over;
            }
            self.set_deadline(lane, began, patience);
            let Self { ear, mouth, .. } = self;
            let (ear, mouth) = (ear.get_mut(), mouth.get_mut());
            let filled = poll_fn(|cx| match ear.poll_fill(cx) {
                Poll::Pending => {
                    // The last answer may still be on its way.
                    mouth.go_on(cx);
                    // A client that does not take it is as good as gone.
                    mouth.lost().map_or(Poll::Pending, |_| Poll::Ready(Ok(Ok(0))))
                }
                filled => filled,
            });
            match filled.await {
                Ok(Ok(0) | Err(_)) => return Next::Over,
                Ok(Ok(_)) => {}
                Err(Expired) => match began {
                    _ if self.clock.is_ended() => return Next::Over,
                    Some(began) => return Next::Refused(reply::too_slow(Sent::Nothing), began),
                    // One that was silent for a while has as long as any other.
                    None if lane.draining.get().is_some_and(|grace| grace <= Instant::now()) => {
                        return Next::Over;
                    }
                    // A client that still reads its answer is not idle.
                    None if self.mouth.get_mut().writer.is_under_way() => self.since = Instant::now(),
                    None => return Next::Silence,
                },
            }
        }
    }

    fn set_deadline(&self, lane: &LaneState, began: Option<Instant>, patience: Duration) {
        let clock = &self.ear.borrow().clock;
        match began {
            Some(began) => clock.set(deadline(began, lane.plan().plan.limits.head_timeout), Activity::Busy),
            None => clock.set(earlier(Some(self.since + patience), lane.draining.get()), Activity::Idle),
        }
    }

    /// Answers what is not even a request, then closes.
    pub(super) async fn refuse(&mut self, refusal: ErrorReply, began: Instant, lane: &LaneState) -> End {
        let id = lane.request_id(None, false);
        let code = refusal.code;
        let reply = refusal.into_reply(id.as_str());
        let plan = lane.plan();
        let timing = Timing { gateway: began.elapsed(), ..Timing::default() };
        let signature = Signature {
            dress: None,
            request_id: id.as_bytes(),
            timing: plan.plan.observe.server_timing.then_some(timing),
        };
        let own = OwnHead {
            connection: ConnectionField::Close,
            date: &lane.date.get(),
            signature: Some(signature),
        };
        let mouth = self.mouth.get_mut();
        mouth.be_patient(plan.plan.limits.write_timeout);
        write_reply(&mut mouth.out, &reply, Method::Other, own);
        {
            let counts = &mut plan.recorder.borrow_mut().lane;
            counts.unrouted += 1;
            *counts.refused.entry(code).or_default() += 1;
        }
        self.ear.get_mut().wait_until(None);
        let sent = attend(&self.ear, &self.mouth, pin!(mouth::flush(&self.mouth))).await;
        log::refused(&self.sender, lane, id.as_str(), (&reply, code), began);
        if sent.is_ok() { End::Linger } else { End::Close }
    }

    /// An exchange ended: large buffers are let go.
    pub(super) fn settle(&mut self) {
        self.ear.get_mut().reader.settle();
        self.mouth.get_mut().settle();
    }

    /// Waits until all that was handed over is written.
    async fn written(&mut self) -> Result<(), Lost> {
        self.ear.get_mut().wait_until(None);
        attend(&self.ear, &self.mouth, pin!(mouth::flush(&self.mouth))).await
    }

    /// Ends the connection.
    pub(super) async fn end(mut self, end: End) {
        // What was handed over last may still be on its way; a client that left takes nothing.
        let is_whole = self.written().await.is_ok();
        let has_unread = !self.ear.get_mut().reader.unread().is_empty();
        match end {
            // What was not written to its end must not look whole.
            End::KeepAlive | End::Close | End::Linger if !is_whole => self.mouth.get_mut().writer.reset(),
            End::Reset => self.mouth.get_mut().writer.reset(),
            End::Linger => self.linger().await,
            // Closing on them would reset the connection, and destroy what was answered before.
            End::KeepAlive | End::Close if has_unread => self.linger().await,
            End::KeepAlive | End::Close => {}
        }
    }

    /// Ends our side and drops what the client still sends, within bounds, so that it reads the answer and not a reset.
    async fn linger(&mut self) {
        if self.mouth.get_mut().writer.shutdown().is_err() {
            return;
        }
        let ear = self.ear.get_mut();
        let by = Instant::now() + LINGER_TIME;
        loop {
            ear.reader.unread().clear();
            ear.wait_until(Some(by.min(Instant::now() + LINGER_PAUSE)));
            match ear.fill().await {
                Ok(Ok(1..)) if Instant::now() < by => {}
                Ok(Ok(_) | Err(_)) | Err(Expired) => return,
            }
        }
    }
}

/// Learns who sends a connection's requests: who connected, or who the load balancer in front says did.
async fn introduce(
    ear: &mut Ear,
    connected: Option<IpAddr>,
    listener: &ListenerPlan,
) -> Result<Sender, NoHeader> {
    let claimed = loop {
        match proxy_protocol::take(ear.reader.unread(), listener.proxy_protocol)? {
            Progress::Ready(claimed) => break claimed,
            Progress::NeedMore => match ear.fill().await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(Expired) => return Err(NoHeader),
            },
        }
    };
    let address = match claimed {
        Claimed::Address(address) => Some(address),
        Claimed::Nobody => connected,
    };
    Ok(Sender::new(address, &listener.trusted))
}
