//! One client connection: exchanges in turn until close, drain or fault.

use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::ear::{Ear, Interrupt};
use super::exchange;
use super::log;
use super::reply;
use super::state::LaneState;
use super::watchdog::Phase;
use crate::base::fault::Sent;
use crate::base::ids::ListenerId;
use crate::base::limits::{COOL_AFTER, DRAIN_IDLE_GRACE, LINGER_BYTES_MAX, LINGER_TIME, WRITE_BYTES_KEPT};
use crate::base::time::{deadline, earlier};
use crate::codec::Progress;
use crate::codec::encode::{Connection, Signature, Timing};
use crate::codec::forwarded::Sender;
use crate::codec::head::RequestHead;
use crate::codec::proxy_protocol::{self, Claimed, NoHeader};
use crate::codec::reply::{ErrorReply, SendBody, Sending, write_reply};
use crate::codec::request::{RequestEvent, RequestReader};
use crate::net::listen::Peer;
use crate::net::stream::Stream;
use crate::net::writer::{Outgoing, Writer};

/// A client connection.
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
pub async fn serve(stream: Stream, peer: Peer, listener: ListenerId, lane: Rc<LaneState>) {
    let Stream { reader, writer } = stream;
    let plan = Arc::clone(&lane.plan().plan);
    let ear = Ear {
        reader,
        requests: RequestReader::new(plan.limits.head_bytes),
        watchdog: lane.watchdogs.watch(),
        on_half_close: plan.listeners[listener].on_half_close,
        half_closed: false,
        arrived: false,
    };
    let address = match peer {
        Peer::Remote(address) => Some(address.ip()),
        Peer::Local => None,
    };
    let mut client =
        Client { ear, writer, out: Vec::new(), sender: Sender::default(), listener, since: Instant::now() };
    if client.introduce(address, &lane).await.is_err() {
        return;
    }
    let end = loop {
        let end = match client.next_head(&lane).await {
            Next::Head(head, arrival) => {
                // In a box: what an exchange needs is not kept by a connection that is idle.
                let end = Box::pin(exchange::run(&mut client, &lane, head, arrival)).await;
                client.settle();
                end
            }
            Next::Over => End::Close,
            Next::Refused(refusal, began) => client.refuse(refusal, began, &lane).await,
        };
        match end {
            End::KeepAlive => {}
            End::Close | End::Linger | End::Reset => break end,
        }
    };
    // What was handed over last may still be on its way; a client that left takes nothing.
    client.bound_answer(&lane);
    let _ = client.written().await;
    match end {
        End::KeepAlive | End::Close => {}
        End::Linger => client.linger().await,
        End::Reset => client.writer.reset(),
    }
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
    /// The client is done, or was idle for too long.
    Over,
    /// The client's bytes break a rule, or came too slowly; when the first of them came.
    Refused(ErrorReply, Instant),
}

impl Client {
    /// Learns who sends its requests: who connected, or who the load balancer in front says did.
    async fn introduce(&mut self, connected: Option<IpAddr>, lane: &LaneState) -> Result<(), NoHeader> {
        let plan = lane.plan();
        let listener = &plan.plan.listeners[self.listener];
        self.ear.wait_until(deadline(self.since, plan.plan.limits.head_timeout));
        let claimed = loop {
            match proxy_protocol::take(self.ear.reader.unread(), listener.proxy_protocol)? {
                Progress::Ready(claimed) => break claimed,
                Progress::NeedMore => match self.ear.fill().await {
                    Ok(Ok(1..)) => {}
                    Ok(Ok(0) | Err(_)) | Err(_) => return Err(NoHeader),
                },
            }
        };
        let address = match claimed {
            Claimed::Address(address) => Some(address),
            Claimed::Nobody => connected,
        };
        self.sender = Sender::new(address, &listener.trusted);
        Ok(())
    }

    /// Waits for the next request head.
    async fn next_head(&mut self, lane: &LaneState) -> Next {
        let mut waiting_since = self.since;
        let mut began = None;
        let mut cool = false;
        loop {
            if !self.ear.reader.unread().is_empty() {
                // A head mostly comes in one piece: then one look at the clock is enough.
                let in_pieces = began.is_some();
                let first = *began.get_or_insert_with(Instant::now);
                match self.ear.requests.next(self.ear.reader.unread()) {
                    Ok(Progress::Ready(RequestEvent::Head(head))) => {
                        let complete = if in_pieces { Instant::now() } else { first };
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
            self.set_deadline(lane, waiting_since, began, cool);
            match self.ear.fill().await {
                Ok(Ok(0) | Err(_)) => return Next::Over,
                Ok(Ok(_)) => {}
                Err(Interrupt::ClientLeft) => return Next::Over,
                Err(Interrupt::Expired) => match began {
                    Some(began) => return Next::Refused(reply::too_slow(Sent::Nothing), began),
                    // A client that still reads its answer is not idle.
                    None if self.writer.look() && !lane.draining.get() => {
                        waiting_since = Instant::now();
                    }
                    None if cool || lane.draining.get() => return Next::Over,
                    None => {
                        // Idle for a while: give the buffers back and wait on.
                        cool = true;
                        self.out = Vec::new();
                        drop(self.writer.take_spare());
                        if self.ear.reader.cool().await.is_err() {
                            return Next::Over;
                        }
                        waiting_since = Instant::now() - COOL_AFTER;
                    }
                },
            }
        }
    }

    fn set_deadline(&self, lane: &LaneState, waiting_since: Instant, began: Option<Instant>, cool: bool) {
        let plan = lane.plan();
        let limits = &plan.plan.limits;
        match began {
            Some(began) => self.ear.watchdog.set(deadline(began, limits.head_timeout), Phase::Busy),
            None => {
                let idle = deadline(waiting_since, limits.idle_timeout);
                let due = if cool { idle } else { earlier(idle, deadline(waiting_since, Some(COOL_AFTER))) };
                let grace = lane.draining.get().then(|| Instant::now() + DRAIN_IDLE_GRACE);
                self.ear.watchdog.set(earlier(due, grace), Phase::Idle);
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
