//! The listening side of a client connection: its next bytes, whether it left, whether its time is over.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::watchdog::{Phase, Watchdog};
use crate::base::limits::RELAY_BYTES;
use crate::codec::request::RequestReader;
use crate::net::reader::Reader;
use crate::plan::HalfClose;

/// Why a wait was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// The client's socket shows that it left.
    ClientLeft,
    /// The deadline set on the watchdog came.
    Expired,
}

pub(super) struct Ear {
    pub(super) reader: Reader,
    pub(super) requests: RequestReader,
    pub(super) watchdog: Watchdog,
    pub(super) on_half_close: HalfClose,
    /// The client closed its sending side and still waits for its answer.
    pub(super) half_closed: bool,
    /// Bytes came beside something else that was waited for, and nobody has looked at them yet.
    pub(super) arrived: bool,
}

impl Ear {
    /// Sets the deadline of the next waits inside an exchange.
    pub(super) fn wait_until(&self, due: Option<Instant>) {
        self.watchdog.set(due, Phase::Busy);
    }

    /// Ready when the client left or the deadline came. The read that the next bytes will come by is posted and shows
    /// both; what it brings lies unread, up to one step, past which a client that sends on without waiting is not
    /// listened to.
    pub(super) fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<Interrupt> {
        if self.watchdog.poll_fired(cx).is_ready() {
            return Poll::Ready(Interrupt::Expired);
        }
        while !self.half_closed && self.reader.unread().len() < RELAY_BYTES {
            match self.reader.poll_listen(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => match self.on_half_close {
                    HalfClose::Cancel => return Poll::Ready(Interrupt::ClientLeft),
                    HalfClose::Finish => self.half_closed = true,
                },
                Poll::Ready(Ok(_)) => self.arrived = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Interrupt::ClientLeft),
            }
        }
        Poll::Pending
    }

    /// Does `work` unless the client leaves or the deadline comes first. `work` is dropped then: the connection it
    /// belongs to must not be used again.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Interrupt> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.poll_interrupt(cx).map(Err),
        })
        .await
    }

    /// Waits for the client's next bytes or the deadline.
    pub(super) async fn fill(&mut self) -> Result<io::Result<usize>, Interrupt> {
        poll_fn(|cx| match self.reader.poll_fill(cx) {
            Poll::Ready(result) => Poll::Ready(Ok(result)),
            Poll::Pending => self.watchdog.poll_fired(cx).map(|()| Err(Interrupt::Expired)),
        })
        .await
    }
}
