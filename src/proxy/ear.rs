//! The listening side of a client connection: its next bytes, whether it left, whether its time is over.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::watchdog::{Phase, Watchdog};
use crate::codec::request::RequestReader;
use crate::net::stream::Reader;
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
}

impl Ear {
    /// Sets the deadline of the next waits inside an exchange.
    pub(super) fn wait_until(&self, due: Option<Instant>) {
        self.watchdog.set(due, Phase::Busy);
    }

    /// Ready when the client left or the deadline came. While a request is complete and nothing of a next one is
    /// here, the read that keep-alive needs anyway is posted and shows both; pipelined bytes stay where they are.
    pub(super) fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<Interrupt> {
        if self.watchdog.poll_fired(cx).is_ready() {
            return Poll::Ready(Interrupt::Expired);
        }
        let waits_for_next = self.requests.is_between()
            && !self.half_closed
            && (self.reader.is_armed() || self.reader.unread().is_empty());
        if !waits_for_next {
            return Poll::Pending;
        }
        match self.reader.poll_fill(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => match self.on_half_close {
                HalfClose::Cancel => Poll::Ready(Interrupt::ClientLeft),
                HalfClose::Finish => {
                    self.half_closed = true;
                    Poll::Pending
                }
            },
            Poll::Ready(Ok(_)) => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Interrupt::ClientLeft),
        }
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
