//! A tunnel: a client and an endpoint that agreed on another protocol (101), and bytes both ways until both are done.
//!
//! One side that ends is told to the other, which may still have something to say. A side that takes nothing holds up
//! the other. The clock of the tunnel is the only one, and it counts what is taken, not only what comes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ear::Ear;
use super::mouth::Mouth;
use super::request::{Call, Request};
use super::source::Relayed;
use super::stall::Taken;
use crate::base::fault::{FaultKind, Stage};
use crate::base::limits::{RELAY_BYTES, TUNNEL_IDLE};
use crate::codec::encode::{DownstreamHead, Said, write_answer};
use crate::codec::framing::Framing;
use crate::codec::write::ConnectionField;
use crate::net::hangup::Sign;
use crate::net::reader::Reader;
use crate::plan::HalfClose;

/// All that was read. Behind a message the room for reads gets small again: a tunnel may lie idle for long.
fn take(reader: &mut Reader) -> Bytes {
    let piece = reader.unread().split().freeze();
    if piece.len() < RELAY_BYTES {
        reader.settle();
    }
    piece
}

/// Bytes each way, and how far each is.
struct Tunnel<'t, 'c> {
    answer: &'t mut Relayed,
    call: &'t mut Call<'c>,
    ear: &'t RefCell<Ear>,
    mouth: &'t RefCell<Mouth>,
    /// The endpoint was told that nothing more comes, or takes no more.
    is_up_over: bool,
    /// The client was told the same.
    is_down_over: bool,
    /// When a byte was last seen to move.
    moved: Instant,
    /// What both had taken when that was last looked at.
    taken: Option<(Taken, Taken)>,
}

/// Tells the client that the endpoint agreed, and passes bytes on until both sides are done, none moves for the time that
/// the route allows, or the endpoint breaks it off.
pub(super) async fn run(
    answer: &mut Relayed,
    request: &Request,
    call: &mut Call<'_>,
    mouth: &RefCell<Mouth>,
) -> Result<(), FaultKind> {
    let said = DownstreamHead {
        framing: Framing::Empty,
        connection: ConnectionField::Switch,
        date: None,
        signature: Some(request.signature(call)),
    };
    write_answer(&mut mouth.borrow_mut().out, Said::Relayed(&answer.head), &said);
    (call.notes.status, call.notes.stage) = (answer.head.status(), Stage::Relay);
    poll_fn(|cx| mouth.borrow_mut().poll_send(cx)).await;
    let moved = Instant::now();
    call.notes.switched = Some(moved);
    let idle = request.route().1.settings.upgrade.as_ref().map_or(TUNNEL_IDLE, |upgrade| upgrade.value.idle);
    let ear = call.body.client().expect("only a client's connection can change its protocol");
    // A client that ends its side may still be told something.
    ear.borrow_mut().on_half_close = HalfClose::Finish;
    // A client that takes nothing is a matter of the tunnel's own clock.
    mouth.borrow_mut().be_patient(None);
    let (is_up_over, is_down_over, taken) = (false, false, None);
    let mut tunnel = Tunnel { answer, call, ear, mouth, is_up_over, is_down_over, moved, taken };
    let closed = poll_fn(|cx| tunnel.poll(idle, cx)).await;
    // What was handed over last is taken in the time that any client has, or is given up.
    mouth.borrow_mut().be_patient(request.plan.plan.limits.write_timeout);
    closed
}

impl Tunnel<'_, '_> {
    fn poll(&mut self, idle: Duration, cx: &mut Context<'_>) -> Poll<Result<(), FaultKind>> {
        loop {
            while self.poll_up(cx).is_ready() {}
            loop {
                match self.poll_down(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                    Poll::Pending => break,
                }
            }
            if self.is_up_over && self.is_down_over {
                return Poll::Ready(Ok(()));
            }
            if self.call.clock.poll_due(self.moved.checked_add(idle), cx).is_pending() {
                return Poll::Pending;
            }
            if self.is_idle() {
                self.call.notes.code = Some("tunnel_idle");
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// From the client to the endpoint. Ready when something was done.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_up_over {
            return Poll::Pending;
        }
        let Relayed { upload, upstream, .. } = &mut *self.answer;
        if !upload.is_over() {
            // The last of a long request head.
            if upload.poll(&mut self.call.body, upstream, cx).is_err() || !upload.is_over() {
                return Poll::Pending;
            }
        }
        match upstream.writer.poll_idle(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => {}
            // Why, it says itself, if it says anything.
            Poll::Ready(Err(_)) => {
                self.is_up_over = true;
                return Poll::Ready(());
            }
        }
        let mut ear = self.ear.borrow_mut();
        if ear.reader.unread().is_empty() {
            if ear.half_closed {
                // An endpoint that is gone already need not be told.
                let _ = upstream.writer.shutdown();
                self.is_up_over = true;
                return Poll::Ready(());
            }
            match ear.reader.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    ear.half_closed = true;
                    return Poll::Ready(());
                }
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Err(_)) => {
                    ear.left = true;
                    return Poll::Pending;
                }
            }
        }
        let piece = take(&mut ear.reader);
        self.call.body.received += piece.len() as u64;
        upstream.writer.start(piece, cx);
        self.moved = Instant::now();
        Poll::Ready(())
    }

    /// From the endpoint to the client. Ready when something was done.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FaultKind>> {
        let mut mouth = self.mouth.borrow_mut();
        if self.is_down_over {
            return Poll::Pending;
        }
        if mouth.poll_written(cx).is_pending() {
            // Nothing is read meanwhile, and whether the endpoint is there shows nevertheless.
            let sign = if self.is_up_over { Sign::Reset } else { Sign::Break };
            return match mouth.is_kept_waiting() {
                true => {
                    let hangups = &self.ear.borrow().hangups;
                    self.answer
                        .upstream
                        .reader
                        .poll_hung_up(hangups, sign, cx)
                        .map(|()| Err(FaultKind::Reset))
                }
                false => Poll::Pending,
            };
        }
        let reader = &mut self.answer.upstream.reader;
        if reader.unread().is_empty() {
            match reader.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    // A client that is gone already need not be told.
                    let _ = mouth.writer.shutdown();
                    self.ear.borrow_mut().told_end = true;
                    self.is_down_over = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(FaultKind::Reset)),
            }
        }
        let piece = take(reader);
        self.call.notes.bytes_out += piece.len() as u64;
        mouth.start(piece, cx);
        self.moved = Instant::now();
        Poll::Ready(Ok(()))
    }

    /// The clock ended: whether nothing moved at all. What was handed to the kernel may still be taken, byte by byte.
    fn is_idle(&mut self) -> bool {
        let taken = (Taken::from(&self.answer.upstream.writer), Taken::from(&self.mouth.borrow().writer));
        let is_at_rest = taken.0.queued == 0 && taken.1.queued == 0;
        if is_at_rest || self.taken.replace(taken) == Some(taken) {
            return true;
        }
        self.moved = Instant::now();
        false
    }
}
