//! One of the calls that a request makes at once: to one cluster, within its own time, booked as an attempt of its own.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::allowance::Allowance;
use super::book::keyed;
use super::call;
use super::collect::{Collected, collect};
use super::finish::finish_cut;
use super::held::Reached;
use super::intake::Intake;
use super::notes::{Arrival, Notes};
use super::reply;
use super::request::{Call, Request};
use super::source::{Cut, Relayed, served};
use super::spans::Attempts;
use super::state::LaneState;
use super::watch::Watch;
use crate::base::choice::Gathering;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::ids::ClusterId;
use crate::base::limits::{FIRST_BYTES_MAX, GATHERED_BYTES_MAX};
use crate::base::time::{deadline, micros};
use crate::codec::body::BodyEvent;
use crate::codec::progress::Progress;
use crate::codec::reply::ErrorReply;
use crate::fanout;
use crate::plan::Fanout;

/// How a leg ended.
pub(super) struct Ended {
    /// Which one it is.
    pub(super) at: usize,
    pub(super) said: Said,
    /// What was noted of it, how far its request went, and when its cluster's `total` runs out: who goes on needs them.
    pub(super) notes: Notes,
    pub(super) reached: Option<Reached>,
    pub(super) deadline: Option<Instant>,
    /// Tokens that it used.
    pub(super) used: u64,
    /// It is a stream that was over before it showed anything.
    is_empty: bool,
}

/// What it said.
pub(super) enum Said {
    /// This, of which the body is still with the endpoint.
    Relayed(Box<Relayed>),
    /// This, whole.
    Whole(Box<Collected>),
    /// Nothing: this is told in its place.
    Refused(ErrorReply),
}

impl Ended {
    /// What it means for those that are gathered.
    pub(super) fn how(&self) -> fanout::Leg {
        let status = match &self.said {
            Said::Relayed(answer) => answer.head.status(),
            Said::Whole(answer) => answer.head.status(),
            Said::Refused(refusal) => refusal.status,
        };
        match (200..300).contains(&status) && !self.is_empty {
            true => fanout::Leg::Good,
            false => fanout::Leg::Failed,
        }
    }

    /// Somebody else's answer is told.
    pub(super) fn abandon(self, request: &Request) {
        if let Said::Relayed(answer) = self.said {
            book(request, &self.notes, Instant::now());
            let Relayed { ticket, head, .. } = *answer;
            request.settle(ticket, served(&head), Instant::now());
        }
    }
}

/// A leg under way. Booked when it ends, or is cancelled.
struct Leg<'r> {
    request: &'r Request,
    call: Call<'r>,
    all: &'r Legs,
    is_booked: bool,
    is_empty: bool,
}

/// What is noted of all legs of an exchange.
pub(super) struct Legs {
    /// Where it is traced.
    pub(super) tried: RefCell<Option<Box<Attempts>>>,
    /// How many attempts they made.
    pub(super) attempts: Cell<u32>,
}

impl Drop for Leg<'_> {
    fn drop(&mut self) {
        if !self.is_booked {
            let now = Instant::now();
            book(self.request, &self.call.notes, now);
            self.tell(Some(now));
        }
    }
}

/// Counts a leg that ended where it was asked last.
fn book(request: &Request, notes: &Notes, now: Instant) {
    let Some(endpoint) = notes.endpoint else { return };
    let since = |at: Instant| micros(notes.arrival.complete, at);
    let mut recorder = request.plan.recorder.borrow_mut();
    let used = notes.told().counted();
    if let Some(route) = request.route {
        recorder.routes[route].use_up(used);
    }
    if let Some(at) = keyed(request, notes) {
        recorder.keys.entry(at).or_default().use_up(used);
    }
    recorder.record_at(endpoint, since(now), notes.first_token.map(since));
}

/// Sends the request with the body in `pieces` to the cluster `at` that place, and waits as long as `fanout` says: for
/// all of its answer, or where the first counts for the beginning of it.
pub(super) async fn run(
    at: usize,
    (request, fanout, all): (&Request, &Fanout, &Legs),
    pieces: Vec<Bytes>,
    lane: &LaneState,
) -> Ended {
    let (clock, patience) = (lane.watchdogs.watch(), lane.watchdogs.watch());
    let now = Instant::now();
    let arrival = Arrival::at(now);
    let mut call = Call::apart(Intake::of_pieces(pieces), &clock, &lane.turns);
    call.notes.tried = request.is_traced().then(Box::default);
    let mut leg = Leg { request, call, all, is_booked: false, is_empty: false };
    let due = deadline(now, fanout.timeout);
    let said = {
        let mut work = pin!(leg.ask(fanout.to[at], fanout.gather, lane));
        patience.within(due, |cx| work.as_mut().poll(cx)).await
    };
    let now = Instant::now();
    let said = said.unwrap_or_else(|| {
        let fault = Fault::upstream(Stage::Wait, FaultKind::Timeout, Sent::Wholly);
        if let Some(tried) = &mut leg.call.notes.tried {
            tried.failed(&fault, now);
        }
        Said::Refused(reply::of_fault(&fault))
    });
    // An answer that goes on is booked by whoever tells it.
    leg.is_booked = matches!(said, Said::Relayed(_));
    leg.tell((!leg.is_booked).then_some(now));
    let used = request.found.prompt_tokens().map_or(0, |prompt| leg.call.notes.tokens_used(prompt));
    let deadline = leg.call.deadline;
    let notes = std::mem::replace(&mut leg.call.notes, Notes::new(arrival));
    if !leg.is_booked {
        book(request, &notes, Instant::now());
        leg.is_booked = true;
    }
    Ended { at, said, notes, reached: leg.call.body.reached(), deadline, used, is_empty: leg.is_empty }
}

impl Leg<'_> {
    /// Its attempts are the exchange's; the last one ended perhaps.
    fn tell(&mut self, ended: Option<Instant>) {
        self.all.attempts.set(self.all.attempts.get() + self.call.notes.attempts);
        if let (Some(all), Some(mut tried)) =
            (&mut *self.all.tried.borrow_mut(), self.call.notes.tried.take())
        {
            ended.into_iter().for_each(|now| tried.end(now));
            all.join(*tried);
        }
    }

    async fn ask(&mut self, cluster: ClusterId, gather: Gathering, lane: &LaneState) -> Said {
        let Self { request, call, is_empty, .. } = self;
        let mut answer = match call::run(request, call, cluster, u32::MAX).await {
            Ok(answer) => answer,
            Err(given_up) => return Said::Refused(given_up.told(call)),
        };
        call.notes.status = answer.head.status();
        let is_good = (200..300).contains(&answer.head.status());
        match gather {
            Gathering::All | Gathering::Quorum => {
                match collect(answer, request, call, (lane, Allowance::of(GATHERED_BYTES_MAX))).await {
                    Ok(whole) => Said::Whole(Box::new(whole)),
                    Err(refusal) => Said::Refused(refusal),
                }
            }
            Gathering::First if is_good => match shows(&mut answer, call).await {
                Ok(shows) => {
                    *is_empty = !shows;
                    Said::Relayed(Box::new(answer))
                }
                Err(cut) => Said::Refused(finish_cut(answer, cut, request, call, lane)),
            },
            Gathering::First => Said::Relayed(Box::new(answer)),
        }
    }
}

/// Waits until the body of an answer shows something: a token where it streams them, else its first byte, or its end. A
/// scout reads a copy of what comes: the answer itself is relayed later, from its first byte on. False for a stream that ended
/// without a token: an error that is told with 200, or nothing.
async fn shows(answer: &mut Relayed, call: &mut Call<'_>) -> Result<bool, Cut> {
    let Some(mut scout) = answer.upstream.responses.scout() else { return Ok(true) };
    let streams = answer.head.is_event_stream();
    let mut watch = Watch::new(&answer.head, answer.framing);
    let (mut ahead, mut seen) = (BytesMut::new(), 0);
    loop {
        let unread = answer.upstream.reader.unread();
        ahead.extend_from_slice(&unread[seen..]);
        seen = unread.len();
        loop {
            match scout.next(&mut ahead) {
                Ok(Progress::Ready(BodyEvent::Data(piece))) => {
                    watch.feed(&piece);
                    if !streams || watch.has_fresh() {
                        return Ok(true);
                    }
                }
                Ok(Progress::Ready(BodyEvent::End)) => return Ok(!streams),
                Ok(Progress::NeedMore) => break,
                Err(_) => return Err(Cut::Upstream(FaultKind::Invalid)),
            }
        }
        if seen >= FIRST_BYTES_MAX {
            return Ok(true);
        }
        let since = Instant::now();
        let clocks = (call.clock, call.deadline);
        if !poll_fn(|cx| answer.poll_wait(&mut call.body, clocks, since, cx)).await? {
            return Ok(!streams);
        }
    }
}
