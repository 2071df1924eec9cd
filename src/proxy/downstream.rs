//! One client connection: exchanges in turn until close, drain or fault.

use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::ear::{Ear, Interrupt};
use super::exchange;
use super::idle::{Caller, Idle};
use super::log;
use super::reply;
use super::state::LaneState;
use super::watchdog::Phase;
use crate::base::fault::Sent;
use crate::base::ids::ListenerId;
use crate::base::limits::{
    DRAIN_IDLE_GRACE, LINGER_BYTES_MAX, LINGER_TIME, REST_AFTER, REST_AFTER_ONE, WRITE_BYTES_KEPT,
};
use crate::base::time::{deadline, earlier};
use crate::codec::encode::{Signature, Timing};
use crate::codec::forwarded::Sender;
use crate::codec::head::RequestHead;
use crate::codec::progress::Progress;
use crate::codec::proxy_protocol::{self, Claimed, NoHeader};
use crate::codec::reply::{ErrorReply, SendBody, Sending, write_reply};
use crate::codec::request::{RequestEvent, RequestReader};
use crate::codec::write::Connection;
use crate::net::listen::Peer;
use crate::net::stream::{Stream, Whole};
use crate::net::writer::{Outgoing, Writer};
use crate::plan::ListenerPlan;

/// A client connection on which something is going on.
pub(super) struct Client {
    pub(super) ear: Ear,
    writer: Writer,
    /// What is about to be written.
    pub(super) out: Vec<u8>,
    /// Who sends its requests.
    pub(super) sender: Sender,
    /// Where it was accepted.
    pub(super) listener: ListenerId,
    /// When it began, or its last exchange ended.
    pub(super) since: Instant,
    /// How many requests it sent since it woke.
    exchanges: usize,
}

/// What becomes of a connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The next exchange.
    KeepAlive,
    /// Close.
    Close,
    /// Close once the client has seen the answer: bytes of its request are still on their way, and closing on them
    /// would reset the connection and destroy the answer (RFC 9112 §9.6).
    Linger,
    /// Close so that it looks broken.
    Reset,
}

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
    let mut patience = REST_AFTER_ONE;
    let end = loop {
        let end = match client.next_head(patience, lane).await {
            Next::Head(head, arrival) => {
                // In a box: what an exchange needs is not kept between two of them.
                let end = Box::pin(exchange::run(&mut client, lane, head, arrival)).await;
                client.settle();
                end
            }
            Next::Silence => match client.rest(lane).await {
                Ok(true) => return client.into_idle(),
                Ok(false) => End::KeepAlive,
                Err(_) => return None,
            },
            Next::Over => End::Close,
            Next::Refused(refusal, began) => client.refuse(refusal, began, lane).await,
        };
        match end {
            End::KeepAlive if client.exchanges > 1 => patience = REST_AFTER,
            End::KeepAlive => {}
            End::Close | End::Linger | End::Reset => break end,
        }
    };
    // What was handed over last may still be on its way; a client that left takes nothing.
    client.bound_answer(lane);
    let _ = client.written().await;
    match end {
        End::KeepAlive | End::Close => {}
        End::Linger => client.linger().await,
        End::Reset => client.writer.reset(),
    }
    None
}

/// When a request head was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Its first byte.
    pub(super) began: Instant,
    /// Its last one.
    pub(super) complete: Instant,
}

/// What the wait for a request ended with.
enum Next {
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
    async fn awake(idle: Idle, first: BytesMut, lane: &LaneState) -> Option<Self> {
        let plan = Arc::clone(&lane.plan().plan);
        let Idle { socket, watchdog, caller, listener, since } = idle;
        let Stream { mut reader, writer } = socket.split();
        *reader.unread() = first;
        let mut ear = Ear {
            reader,
            requests: RequestReader::new(plan.limits.head_bytes),
            watchdog,
            on_half_close: plan.listeners[listener].on_half_close,
            half_closed: false,
            arrived: false,
        };
        let sender = match caller {
            Caller::Known(sender) => sender,
            Caller::Connected(address) => {
                ear.wait_until(deadline(since, plan.limits.head_timeout));
                introduce(&mut ear, address, &plan.listeners[listener]).await.ok()?
            }
        };
        Some(Self { ear, writer, out: Vec::new(), sender, listener, since, exchanges: 0 })
    }

    /// Nothing came for a while: ends what is under way, so that the connection can be let go but for its socket.
    /// False if something came in the meantime.
    async fn rest(&mut self, lane: &LaneState) -> Result<bool, Interrupt> {
        self.bound_answer(lane);
        self.written().await?;
        self.ear.reader.disarm().await.map_err(|_| Interrupt::ClientLeft)?;
        Ok(self.ear.reader.unread().is_empty())
    }

    fn into_idle(self) -> Option<Idle> {
        let Self { ear, writer, sender, listener, since, .. } = self;
        let socket = Stream { reader: ear.reader, writer }.join()?;
        Some(Idle { socket, watchdog: ear.watchdog, caller: Caller::Known(sender), listener, since })
    }

    /// Waits for the next request head, or for so long that the connection is better idle.
    async fn next_head(&mut self, patience: Duration, lane: &LaneState) -> Next {
        let mut began = None;
        loop {
            if !self.ear.reader.unread().is_empty() {
                // A head mostly comes in one piece: then one look at the clock is enough.
                let in_pieces = began.is_some();
                let first = *began.get_or_insert_with(Instant::now);
                match self.ear.requests.next(self.ear.reader.unread()) {
                    Ok(Progress::Ready(RequestEvent::Head(head))) => {
                        let complete = if in_pieces { Instant::now() } else { first };
                        self.exchanges += 1;
                        return Next::Head(head, Arrival { began: first, complete });
                    }
                    Ok(Progress::NeedMore) => {}
                    Ok(Progress::Ready(RequestEvent::Data(_) | RequestEvent::End)) => {
                        unreachable!("between two requests a reader yields heads only")
                    }
                    Err(broken) => return Next::Refused(reply::of_codec(broken), first),
                }
            }
            if self.ear.half_closed {
                return Next::Over;
            }
            self.set_deadline(lane, began, patience);
            match self.ear.fill().await {
                Ok(Ok(0) | Err(_)) => return Next::Over,
                Ok(Ok(_)) => {}
                Err(Interrupt::ClientLeft) => return Next::Over,
                Err(Interrupt::Expired) => match began {
                    Some(began) => return Next::Refused(reply::too_slow(Sent::Nothing), began),
                    None if lane.draining.get() => return Next::Over,
                    // A client that still reads its answer is not idle.
                    None if self.writer.look() => self.since = Instant::now(),
                    None => return Next::Silence,
                },
            }
        }
    }

    fn set_deadline(&self, lane: &LaneState, began: Option<Instant>, patience: Duration) {
        match began {
            Some(began) => {
                let due = deadline(began, lane.plan().plan.limits.head_timeout);
                self.ear.watchdog.set(due, Phase::Busy);
            }
            None => {
                let grace = lane.draining.get().then(|| Instant::now() + DRAIN_IDLE_GRACE);
                self.ear.watchdog.set(earlier(Some(self.since + patience), grace), Phase::Idle);
            }
        }
    }

    /// Answers what is not even a request, then closes.
    async fn refuse(&mut self, refusal: ErrorReply, began: Instant, lane: &LaneState) -> End {
        let id = lane.request_id(None, false);
        let code = refusal.code;
        let reply = refusal.into_reply(id.as_str());
        let plan = lane.plan();
        let now = Instant::now();
        let timing = Timing { gateway: now - began, ..Timing::default() };
        let sending = Sending {
            connection: Connection::Close,
            body: SendBody::Whole,
            date: &lane.date.get(),
            signature: Some(Signature {
                request_id: id.as_bytes(),
                timing: plan.plan.observe.server_timing.then_some(timing),
            }),
        };
        write_reply(&mut self.out, &reply, &sending);
        plan.recorder.borrow_mut().lane.unrouted += 1;
        self.bound_answer(lane);
        let sent = self.flush().await;
        log::refused(self, lane, id.as_str(), (&reply, code), began);
        match sent {
            Ok(()) => End::Linger,
            Err(_) => End::Close,
        }
    }

    /// Waits until no write is under way, unless the client leaves first, and takes its buffer back.
    pub(super) async fn written(&mut self) -> Result<(), Interrupt> {
        // Mostly it ended long ago: then there is nothing to wait beside.
        let outcome = match self.writer.look() {
            false => self.writer.outcome(),
            true => {
                let Self { ear, writer, .. } = self;
                ear.during(poll_fn(|cx| writer.poll_idle(cx))).await?
            }
        };
        outcome.map_err(|_| Interrupt::ClientLeft)?;
        let spare = self.writer.take_spare();
        if self.out.is_empty() && spare.capacity() > self.out.capacity() {
            self.out = spare;
        }
        Ok(())
    }

    /// Starts to write what is in the buffer, after what is under way. It goes on while the next thing is waited for.
    pub(super) async fn send(&mut self) -> Result<(), Interrupt> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.written().await?;
        self.writer.start(std::mem::take(&mut self.out));
        match self.writer.is_under_way() {
            true => Ok(()),
            false => self.written().await,
        }
    }

    /// Writes what is in the buffer, unless the client leaves first.
    pub(super) async fn flush(&mut self) -> Result<(), Interrupt> {
        self.send().await?;
        self.written().await
    }

    /// Bounds the wait for a client that does not read an answer of our own.
    pub(super) fn bound_answer(&self, lane: &LaneState) {
        self.ear.wait_until(deadline(Instant::now(), lane.plan().plan.limits.idle_timeout));
    }

    /// Writes one piece as it is, unless the client leaves first.
    pub(super) async fn write(&mut self, piece: impl Into<Outgoing>) -> Result<(), Interrupt> {
        self.written().await?;
        self.writer.start(piece);
        self.written().await
    }

    /// An exchange ended: large buffers are let go.
    fn settle(&mut self) {
        self.ear.reader.settle();
        if self.out.capacity() > WRITE_BYTES_KEPT {
            self.out = Vec::new();
        }
    }

    /// Ends our side and drops what the client still sends, within bounds, so that it reads the answer and not a reset.
    async fn linger(&mut self) {
        if self.writer.shutdown().is_err() {
            return;
        }
        self.ear.wait_until(Some(Instant::now() + LINGER_TIME));
        let mut left = LINGER_BYTES_MAX;
        loop {
            match self.ear.fill().await {
                Ok(Ok(count)) if count > 0 && count <= left => left -= count,
                Ok(Ok(_) | Err(_)) | Err(_) => return,
            }
            self.ear.reader.unread().clear();
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
                Ok(Ok(0) | Err(_)) | Err(_) => return Err(NoHeader),
            },
        }
    };
    let address = match claimed {
        Claimed::Address(address) => Some(address),
        Claimed::Nobody => connected,
    };
    Ok(Sender::new(address, &listener.trusted))
}
