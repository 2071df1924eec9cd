//! An answer that is read to its end and held, for one who needs all of it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::allowance::{Allowance, Taken};
use super::finish::{finish, finish_cut};
use super::reply;
use super::request::{Call, Request};
use super::source::{Cut, Relayed};
use super::state::LaneState;
use super::told::Told;
use super::watch::Watch;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::limits::BUFFERED_STEP_BYTES;
use crate::base::summary::Ended;
use crate::board::buffered::Reservation;
use crate::codec::framing::Framing;
use crate::codec::head::ResponseHead;
use crate::codec::progress::Progress;
use crate::codec::reply::ErrorReply;
use crate::codec::usage_cut::{Habits, UsageCut};

/// An answer, whole, with the room that its body takes.
pub(super) struct Collected {
    pub(super) head: ResponseHead,
    pub(super) body: Vec<u8>,
    /// Given back with it.
    pub(super) room: Reservation,
    pub(super) taken: Taken,
}

/// Reads `answer` to its end, beside the clocks of its cluster, and settles it.
pub(super) async fn collect(
    mut answer: Relayed,
    request: &Request,
    call: &mut Call<'_>,
    (lane, most): (&LaneState, Allowance),
) -> Result<Collected, ErrorReply> {
    let mut reading = Reading::new((&answer.head, answer.framing), request, call, most)?;
    let head = answer.head.clone();
    if let Some(cut) = &mut reading.cut {
        *cut = UsageCut::new(answer.endpoint.habits.get());
    }
    let read = reading.read(&mut answer, call).await;
    if let (Ok(()), Some(habits)) = (&read, reading.cut.as_ref().and_then(UsageCut::shown)) {
        answer.endpoint.habits.set(habits);
    }
    let Reading { body, room, taken, .. } = reading;
    match read {
        Ok(()) => finish(answer, Ok(()), request, call, lane),
        Err(Broken::Cut(cut)) => return Err(finish_cut(answer, cut, request, call, lane)),
        // Its endpoint is not to blame: the ticket is let go with it.
        Err(Broken::Refused(refusal)) => return Err(refusal),
    }
    Ok(Collected { head, body, room, taken })
}

/// Reads an answer that others are told too to its end.
pub(super) async fn collect_told(
    told: &mut Told,
    request: &Request,
    call: &mut Call<'_>,
    (lane, most): (&LaneState, Allowance),
) -> Result<Collected, ErrorReply> {
    let shared = Arc::clone(&told.head);
    call.notes.is_told = true;
    let mut reading = Reading::new((&shared.head, shared.framing), request, call, most)?;
    loop {
        let since = Instant::now();
        reading.note(call, since);
        let next = told.next(lane).await;
        call.notes.waited += since.elapsed();
        match next {
            Ok(Some(piece)) => reading.take(piece, call)?,
            Ok(None) => break,
            Err(cut) => {
                let kind = if let Cut::Upstream(kind) = cut { kind } else { FaultKind::Truncated };
                let fault = Fault::upstream(Stage::Relay, kind, Sent::Wholly);
                call.notes.fault = Some(fault);
                return Err(reply::of_fault(&fault));
            }
        }
    }
    reading.end(call)?;
    let Reading { body, room, taken, .. } = reading;
    call.notes.ended = if shared.head.status() < 500 { Ended::Well } else { Ended::Badly };
    Ok(Collected { head: shared.head.clone(), body, room, taken })
}

struct Reading {
    watch: Watch,
    /// Takes out of it what only we asked for.
    cut: Option<UsageCut>,
    body: Vec<u8>,
    room: Reservation,
    taken: Taken,
}

/// Why it was not read to its end.
enum Broken {
    Cut(Cut),
    Refused(ErrorReply),
}

impl Reading {
    fn new(
        (head, framing): (&ResponseHead, Framing),
        request: &Request,
        call: &mut Call<'_>,
        most: Allowance,
    ) -> Result<Self, ErrorReply> {
        let plan = &request.plan.plan;
        let room = plan.budget.reserve_now(BUFFERED_STEP_BYTES.min(plan.budget.max()));
        let room = room.ok_or_else(reply::buffers_full)?;
        call.notes.usage = request.usage_reader(head, call.notes.tried.is_some());
        call.notes.status = head.status();
        let is_cut = request.hides_usage(head);
        Ok(Self {
            watch: Watch::new(head, framing),
            cut: is_cut.then(|| UsageCut::new(Habits::default())),
            body: Vec::new(),
            room,
            taken: most.take(),
        })
    }

    async fn read(&mut self, answer: &mut Relayed, call: &mut Call<'_>) -> Result<(), Broken> {
        loop {
            match answer.next_piece().map_err(Broken::Cut)? {
                Progress::Ready(Some(piece)) => self.take(piece, call).map_err(Broken::Refused)?,
                Progress::Ready(None) => break,
                Progress::NeedMore => {
                    let since = Instant::now();
                    self.note(call, since);
                    call.notes.since = Some(since);
                    let more = poll_fn(|cx| {
                        answer.poll_wait(&mut call.body, (call.clock, call.deadline), since, cx)
                    })
                    .await;
                    call.notes.waited += since.elapsed();
                    call.notes.since = None;
                    if !more.map_err(Broken::Cut)? {
                        break;
                    }
                }
            }
        }
        self.end(call).map_err(Broken::Refused)
    }

    /// What was held back of it is kept too.
    fn end(&mut self, call: &mut Call<'_>) -> Result<(), ErrorReply> {
        self.note(call, Instant::now());
        let left = self.cut.as_mut().map_or_else(Bytes::new, UsageCut::end);
        self.keep(&left)
    }

    fn take(&mut self, piece: Bytes, call: &mut Call<'_>) -> Result<(), ErrorReply> {
        self.watch.feed(&piece);
        if let Some(usage) = &mut call.notes.usage {
            usage.feed(&piece, self.watch.says_more());
        }
        let Some(mut cut) = self.cut.take() else { return self.keep(&piece) };
        let mut kept = Ok(());
        cut.feed(piece, |piece| {
            if kept.is_ok() {
                kept = self.keep(&piece);
            }
        });
        self.cut = Some(cut);
        kept
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), ErrorReply> {
        let length = (self.body.len() + piece.len()) as u64;
        if !self.taken.more(piece.len() as u64) {
            return Err(reply::answer_too_large());
        }
        let room = &mut self.room;
        if length > room.bytes() && !room.grow(length.max(2 * room.bytes())) && !room.grow(length) {
            return Err(reply::buffers_full());
        }
        self.body.extend_from_slice(piece);
        Ok(())
    }

    /// Events came so far.
    fn note(&mut self, call: &mut Call<'_>, now: Instant) {
        if let Some(events) = self.watch.take(now) {
            call.notes.first_token.get_or_insert(now);
            call.notes.tokens += events.tokens;
        }
    }
}
