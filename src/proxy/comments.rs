//! A client that waits for its turn and asked for a stream is told so now and then: the head of its answer leaves, and comments,
//! which every reader of event streams passes over. What comes of it in the end follows there.

use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::begun;
use super::held::Held;
use super::hold;
use super::intake::{BodyFault, Intake};
use super::pace::room_due;
use super::request::{Call, Request};
use crate::base::limits::{BUFFERED_STEP_BYTES, TICK};
use crate::board::buffered::Budget;
use crate::codec::content::{Kind, kind};
use crate::codec::framing::Framing;
use crate::codec::json::{Member, Scanner, Wanted};
use crate::codec::method::Method;

/// The member of a body that asks for a stream.
static STREAM: LazyLock<Arc<Wanted>> = LazyLock::new(|| Wanted::of(["stream"]));

/// What one who waits is told.
pub(super) struct Comments {
    every: Duration,
    next: Instant,
    asks: Asks,
    /// Since when the body is looked at, and whether there is room for what comes of it.
    since: Instant,
    has_room: bool,
}

/// Whether it asks for a stream.
enum Asks {
    /// Its body did not say so yet.
    Unknown(Box<Scanner>),
    Stream,
    Another,
}

impl Comments {
    /// What `call` is told each `every`, for the first time at `next`; none where nobody could be told, or where its body tells
    /// nothing.
    pub(super) async fn of(
        (every, next): (Duration, Instant),
        request: &Request,
        call: &mut Call<'_>,
        now: Instant,
    ) -> Option<Self> {
        let begins = Self { every, next, asks: Asks::Stream, since: now, has_room: false };
        if call.begun.is_some() {
            return Some(begins);
        }
        // The answer to HEAD has no body (RFC 9110 §9.3.2), so there is nowhere for a comment.
        if request.head.method() == Method::Head {
            return None;
        }
        if call.early.way().is_none() || kind(&request.head) != Kind::Plain {
            return None;
        }
        hold::ask_for_body(call).await;
        let scanner = Box::new(Scanner::new(Arc::clone(&STREAM)));
        let mut comments = Self { asks: Asks::Unknown(scanner), has_room: call.body.is_held(), ..begins };
        call.body.held().iter().for_each(|piece| comments.feed(piece));
        Some(comments)
    }

    /// When it is told next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// When there is something to do again.
    pub(super) fn due(&self, body: &Intake<'_>) -> Instant {
        match self.asks {
            Asks::Unknown(_) => self.next.min(self.room_due(body).max(Instant::now() + TICK)),
            Asks::Stream | Asks::Another => self.next,
        }
    }

    /// Reads on until it is known whether a stream is asked for. That takes room only if there is some to spare: nobody waits
    /// for it, and without it nothing is told. Ready where the body breaks.
    pub(super) fn poll_asks(
        &mut self,
        (framing, budget): (Framing, &Arc<Budget>),
        body: &mut Intake<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<BodyFault> {
        while self.is_looking() {
            if !self.has_room {
                let need = if let Framing::Length(length) = framing { length } else { BUFFERED_STEP_BYTES };
                let Some(room) = budget.reserve_spare(need) else {
                    self.stop(body);
                    break;
                };
                body.hold(Held::within(room));
                self.has_room = true;
            }
            match ready!(body.poll_ahead(cx)) {
                Err(fault) => return Poll::Ready(fault),
                Ok(None) => self.stop(body),
                Ok(Some(piece)) => {
                    self.feed(&piece);
                    let has_room = body.keep(&piece);
                    if !has_room {
                        body.keep_last(&piece);
                    }
                    if !has_room || !self.is_looking() {
                        self.stop(body);
                    }
                }
            }
        }
        Poll::Pending
    }

    /// It is time to look around: whoever asks for a stream is told, and room that others wait for is not kept for one who does
    /// not use it.
    pub(super) async fn tick(&mut self, request: &Request, call: &mut Call<'_>, now: Instant) {
        let is_waited_for = request.plan.plan.budget.is_waited_for();
        if self.is_looking() && is_waited_for && self.room_due(&call.body) <= now {
            self.stop(&mut call.body);
        }
        if self.next > now {
            return;
        }
        self.next = now + self.every;
        if matches!(self.asks, Asks::Stream) {
            begun::comment(request, call, self.since).await;
        }
    }

    fn feed(&mut self, piece: &[u8]) {
        let Asks::Unknown(scanner) = &mut self.asks else { return };
        self.asks = match (scanner.feed(piece), scanner.members()) {
            (_, [Member::Scalar(value)]) if value == b"true" => Asks::Stream,
            (Ok(()), [Member::Absent]) => return,
            _ => Asks::Another,
        };
    }

    /// No more of the body is looked for, and it is sent on from here: what did not say that it asks for a stream does not.
    pub(super) fn stop(&mut self, body: &mut Intake<'_>) {
        if self.is_looking() {
            self.asks = Asks::Another;
        }
        if self.has_room {
            body.settle_held();
        }
    }

    fn is_looking(&self) -> bool {
        matches!(self.asks, Asks::Unknown(_))
    }

    fn room_due(&self, body: &Intake<'_>) -> Instant {
        let (reserved, held) = body.room();
        room_due(reserved, held, self.since)
    }
}
