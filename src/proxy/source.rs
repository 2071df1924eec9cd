//! An answer: its head, and where its body comes from.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::intake::{BodyFault, Intake};
use super::state::EndpointOnLane;
use super::upload::Upload;
use super::upstream::Upstream;
use super::watchdog::Watchdog;
use crate::base::fault::FaultKind;
use crate::base::time::{deadline, earlier};
use crate::cluster::{Outcome, Ticket};
use crate::codec::framing::Framing;
use crate::codec::head::ResponseHead;
use crate::codec::progress::Progress;
use crate::codec::response::ResponseEvent;
use crate::codec::retry_after::retry_after;

/// An answer whose head was read, and whose body is still with the endpoint; the request may still be on its way.
pub(super) struct Relayed {
    pub(super) upstream: Box<Upstream>,
    pub(super) head: ResponseHead,
    pub(super) framing: Framing,
    pub(super) ticket: Ticket,
    pub(super) endpoint: Rc<EndpointOnLane>,
    pub(super) upload: Upload,
    /// How long the endpoint may be silent inside it.
    pub(super) silence: Silence,
}

/// How long an endpoint may be silent: milliseconds, for an answer is moved and every word of it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence(u32);

impl Silence {
    /// What is longer than seven weeks is no limit.
    const NONE: u32 = u32::MAX;

    pub(super) fn of(longest: Option<Duration>) -> Self {
        let ms = longest.and_then(|longest| u32::try_from(longest.as_millis().max(1)).ok());
        Self(ms.unwrap_or(Self::NONE))
    }

    fn longest(self) -> Option<Duration> {
        (self.0 != Self::NONE).then(|| Duration::from_millis(u64::from(self.0)))
    }
}

/// Why an answer ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The endpoint's doing.
    Upstream(FaultKind),
    /// The request broke off, and with it what it is answered with.
    Body(BodyFault),
    /// There is no room for what must be held of the request.
    Unheld,
}

/// What an endpoint said, for its cluster to judge: its status, and for how long it wants to be left alone if it is busy.
#[inline(always)] // each answer passes here
pub(super) fn served(head: &ResponseHead) -> Outcome {
    let status = head.status();
    let is_busy = matches!(status, 429 | 503);
    let retry_after = if is_busy { retry_after(head.head(), SystemTime::now()) } else { None };
    Outcome::Served { status, retry_after }
}

impl Relayed {
    /// The next piece of the body in what was read, none at its end.
    #[inline(always)] // each piece of each answer passes here; who gathers answers asks too
    pub(super) fn next_piece(&mut self) -> Result<Progress<Option<Bytes>>, Cut> {
        let Upstream { reader, responses, .. } = &mut *self.upstream;
        match responses.next(reader.unread()) {
            Ok(Progress::Ready(ResponseEvent::Data(data))) => Ok(Progress::Ready(Some(data))),
            Ok(Progress::Ready(ResponseEvent::End)) => Ok(Progress::Ready(None)),
            Ok(Progress::Ready(ResponseEvent::Head(..) | ResponseEvent::Interim(_))) | Err(_) => {
                Err(Cut::Upstream(FaultKind::Invalid))
            }
            Ok(Progress::NeedMore) => Ok(Progress::NeedMore),
        }
    }

    /// Reads on, once there is no further piece in what was read; false where the endpoint's close ends the body. The
    /// request goes on beside.
    #[inline(always)] // as above
    pub(super) fn poll_more(
        &mut self,
        body: &mut Intake<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Cut>> {
        self.poll_upload(body, cx)?;
        let Upstream { reader, responses, .. } = &mut *self.upstream;
        Poll::Ready(match ready!(reader.poll_fill(cx)) {
            Ok(1..) => Ok(true),
            // It ends a body that runs until close, and breaks any other.
            Ok(0) if responses.finish().is_ok() => Ok(false),
            Ok(0) | Err(_) => Err(Cut::Upstream(FaultKind::Truncated)),
        })
    }

    /// Waits for more of it, beside the clocks: that of `total`, and of its silence since then. False at its end.
    pub(super) fn poll_wait(
        &mut self,
        body: &mut Intake<'_>,
        (clock, total): (&Watchdog, Option<Instant>),
        since: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Cut>> {
        loop {
            if let Poll::Ready(more) = self.poll_more(body, cx) {
                return Poll::Ready(more);
            }
            let due = earlier(self.due(since), total);
            ready!(clock.poll_due(due, cx));
            if self.is_late(since, total, Instant::now()) {
                return Poll::Ready(Err(Cut::Upstream(FaultKind::Timeout)));
            }
        }
    }

    /// Sends the request on, if any of it is left.
    pub(super) fn poll_upload(&mut self, body: &mut Intake<'_>, cx: &mut Context<'_>) -> Result<(), Cut> {
        if self.upload.is_over() {
            return Ok(());
        }
        self.upload.poll(body, &mut self.upstream, cx).map_err(Cut::Body)
    }

    /// When the endpoint must have done something: its silence counts from `since` on; while the request still goes on,
    /// only that counts which it does not take.
    pub(super) fn due(&self, since: Instant) -> Option<Instant> {
        match self.upload.is_over() {
            true => deadline(since, self.silence.longest()),
            false => self.upload.due(self.silence.longest()),
        }
    }

    /// That time came, or `total`: whether it is over.
    pub(super) fn is_late(&mut self, since: Instant, total: Option<Instant>, now: Instant) -> bool {
        let due = match self.upload.is_over() {
            true => self.due(since),
            false if self.upload.is_stalled(self.silence.longest(), &self.upstream) => return true,
            false => None,
        };
        earlier(due, total).is_some_and(|due| due <= now)
    }

    /// Ready once the endpoint closes the connection, or sends what nobody asked for.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.upstream.reader.unread().is_empty() {
            return Poll::Ready(());
        }
        self.upstream.poll_over(cx)
    }
}
