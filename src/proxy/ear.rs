//! The listening side of a client connection: its next bytes, and whether it is still there.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::mouth::{Lost, Mouth};
use super::watchdog::{Activity, Watchdog};
use crate::base::limits::RELAY_BYTES;
use crate::codec::request::RequestReader;
use crate::net::hangup::{Hangups, Sign};
use crate::net::reader::Reader;
use crate::plan::HalfClose;

pub(super) struct Ear {
    pub(super) reader: Reader,
    pub(super) requests: RequestReader,
    /// The client's own clocks: head, body, idling. Those of the cluster are another's.
    pub(super) clock: Watchdog,
    pub(super) on_half_close: HalfClose,
    /// Tells of a client that leaves while nothing of it is read.
    pub(super) hangups: Rc<Hangups>,
    /// The client closed its sending side and still waits for its answers.
    pub(super) half_closed: bool,
    /// The end of the stream came inside a request.
    pub(super) left: bool,
    /// The client was told that nothing more comes. Where it has ended its side too, the kernel shows that as a hang-up,
    /// and what it said before may not be passed on yet.
    pub(super) told_end: bool,
}

/// The deadline on the client's own clock came.
#[derive(Debug)]
pub(super) struct Expired;

enum Heard {
    Lost(Lost),
    Bytes,
}

impl Ear {
    /// Sets the deadline of the next wait for the client.
    pub(super) fn wait_until(&self, due: Option<Instant>) {
        self.clock.set(due, Activity::Busy);
    }

    /// Whether nothing can come any more: it closed its side, and all it sent is understood.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.half_closed && self.reader.unread().is_empty()
    }

    /// What the client does beside something else that is waited for. What it sends lies unread, up to one step, past
    /// which it is not listened to.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if self.left {
            return Poll::Ready(Heard::Lost(Lost::Left));
        }
        if self.clock.poll_fired(cx).is_ready() && self.clock.is_ended() {
            return Poll::Ready(Heard::Lost(Lost::Drained));
        }
        if self.half_closed || self.reader.unread().len() >= RELAY_BYTES {
            // Nothing more is read for now, and whether it is there shows nevertheless.
            let sign = match self.on_half_close {
                _ if self.told_end => Sign::Reset,
                HalfClose::Cancel => Sign::Close,
                HalfClose::Finish => Sign::Break,
            };
            return self.reader.poll_hung_up(&self.hangups, sign, cx).map(|()| Heard::Lost(Lost::Left));
        }
        self.reader.poll_listen(cx).map(|result| match (result, self.on_half_close) {
            (Ok(0), HalfClose::Finish) => {
                self.half_closed = true;
                Heard::Bytes
            }
            (Ok(1..), _) => Heard::Bytes,
            (Ok(0), HalfClose::Cancel) | (Err(_), _) => Heard::Lost(Lost::Left),
        })
    }

    /// Waits for the client's next bytes or the deadline.
    pub(super) async fn fill(&mut self) -> Result<io::Result<usize>, Expired> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<io::Result<usize>, Expired>> {
        match self.reader.poll_fill(cx) {
            Poll::Ready(result) => Poll::Ready(Ok(result)),
            Poll::Pending => self.clock.poll_fired(cx).map(|()| Err(Expired)),
        }
    }
}

/// Does `work` for a client unless that is lost first. `work` is dropped then with all it holds: an upstream connection
/// is closed, a place in a queue is left, a reservation is returned: so it ends with the caller, which pins it, for handed
/// over by value it would be copied, and lie in this future twice.
pub(super) async fn attend<T>(
    ear: &RefCell<Ear>,
    mouth: &RefCell<Mouth>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Lost> {
    poll_fn(|cx| {
        loop {
            // A client that was lost before does not come back.
            if mouth.borrow().lost().is_none()
                && let Poll::Ready(done) = work.as_mut().poll(cx)
            {
                return Poll::Ready(Ok(done));
            }
            if let Some(lost) = mouth.borrow().lost() {
                return Poll::Ready(Err(lost));
            }
            match ear.borrow_mut().poll_heard(cx) {
                Poll::Pending => {
                    mouth.borrow_mut().go_on(cx);
                    return match mouth.borrow().lost() {
                        Some(lost) => Poll::Ready(Err(lost)),
                        None => Poll::Pending,
                    };
                }
                Poll::Ready(Heard::Lost(lost)) => return Poll::Ready(Err(lost)),
                // It may be what the work waits for.
                Poll::Ready(Heard::Bytes) => {}
            }
        }
    })
    .await
}
