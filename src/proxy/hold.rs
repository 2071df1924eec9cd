//! Reads and holds a body that is looked into, as far as that needs it: for the route, then for the filters.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::held::Held;
use super::inquiry::{Asked, Inquiry};
use super::intake::{BodyFault, Rest};
use super::pace::room_due;
use super::reply;
use super::request::Call;
use super::state::LaneState;
use crate::base::fault::Sent;
use crate::base::ids::RouteId;
use crate::base::limits::{BUFFERED_STEP_BYTES, BUFFERED_WAIT, TICK};
use crate::board::buffered::{Budget, Reservation};
use crate::codec::framing::Framing;
use crate::codec::reply::ErrorReply;
use crate::filter::Examination;

/// Reads the body until it decides; then all that was read of it is held in the call.
pub(super) async fn ask(
    mut inquiry: Inquiry<'_>,
    framing: Framing,
    budget: &Arc<Budget>,
    call: &mut Call<'_>,
    lane: &LaneState,
) -> Result<RouteId, ErrorReply> {
    call.body.max = inquiry.body_max();
    let needs = inquiry.needs();
    let look = |piece: &[u8]| match inquiry.feed(piece) {
        Asked::NeedsMore => ControlFlow::Continue(()),
        asked => ControlFlow::Break(asked),
    };
    let asked = until(look, (needs, framing), budget, call, lane).await?;
    match asked.unwrap_or_else(|| inquiry.end()) {
        Asked::Decided(route) => Ok(route),
        Asked::Refused(refusal) => Err(refusal),
        Asked::NeedsMore => unreachable!("a body that ended decides"),
    }
}

/// Reads the body until filters need no more of it; what the route needed of it is looked at first.
pub(super) async fn examine(
    examination: &mut Examination<'_>,
    framing: Framing,
    budget: &Arc<Budget>,
    call: &mut Call<'_>,
    lane: &LaneState,
) -> Result<(), ErrorReply> {
    for piece in call.body.held() {
        examination.feed(piece);
    }
    if examination.is_over() || call.body.rest() == Rest::Read {
        return Ok(());
    }
    let needs = examination.needs();
    let look = |piece: &[u8]| {
        examination.feed(piece);
        if examination.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    until(look, (needs, framing), budget, call, lane).await.map(|_| ())
}

/// Reads the body to its end, which is then held, for it is sent several times.
pub(super) async fn whole(
    framing: Framing,
    budget: &Arc<Budget>,
    call: &mut Call<'_>,
    lane: &LaneState,
) -> Result<(), ErrorReply> {
    if framing == Framing::Empty || call.body.rest() == Rest::Read {
        return Ok(());
    }
    let before = call.body.waited;
    let read = until(|_| ControlFlow::<()>::Continue(()), (None, framing), budget, call, lane).await;
    call.notes.phases.hold += call.body.waited - before;
    read.map(|_| ())
}

/// Reads on and holds what comes, until `look` has seen enough, or to the end: then it says nothing.
pub(super) async fn until<T>(
    mut look: impl FnMut(&[u8]) -> ControlFlow<T>,
    (needs, framing): (Option<u64>, Framing),
    budget: &Arc<Budget>,
    call: &mut Call<'_>,
    lane: &LaneState,
) -> Result<Option<T>, ErrorReply> {
    if !call.body.is_held() {
        let need = match framing {
            Framing::Length(length) => needs.map_or(length, |needed| length.min(needed)),
            Framing::Chunked | Framing::Empty | Framing::UntilClose => BUFFERED_STEP_BYTES.min(budget.max()),
        };
        let room = reserve(budget, need, call, lane).await?;
        ask_for_body(call).await;
        call.body.hold(Held::within(room));
    }
    let since = Instant::now();
    let seen = loop {
        let piece = next(call, budget, since).await.map_err(|fault| of_body(fault, Sent::Nothing))?;
        let Some(piece) = piece else { break None };
        if let ControlFlow::Break(seen) = look(&piece) {
            call.body.keep_last(&piece);
            break Some(seen);
        }
        if !call.body.keep(&piece) {
            return Err(reply::buffers_full());
        }
    };
    call.body.close_held();
    Ok(seen)
}

/// Tells a client that waits for it to send its body; nobody else can, for no endpoint is chosen yet (RFC 9110 §10.1.1).
pub(super) async fn ask_for_body(call: &mut Call<'_>) {
    if call.body.is_unasked() {
        call.interim.go_on();
        poll_fn(|cx| call.interim.poll_sent(cx)).await;
        call.body.go_on();
    }
}

/// The next piece. While others wait for room, who does not use what it reserved at `since` loses it.
async fn next(call: &mut Call<'_>, budget: &Budget, since: Instant) -> Result<Option<Bytes>, BodyFault> {
    loop {
        let (reserved, held) = call.body.room();
        let due = room_due(reserved, held, since).max(Instant::now() + TICK);
        match call.clock.within(Some(due), |cx| call.body.poll_piece(cx)).await {
            Some(piece) => return piece,
            None if budget.is_waited_for() => return Err(BodyFault::TooSlow),
            None => {}
        }
    }
}

/// What is told of a body that broke before `sent` of it went upstream.
pub(super) fn of_body(fault: BodyFault, sent: Sent) -> ErrorReply {
    match fault {
        BodyFault::TooSlow => reply::too_slow(sent),
        BodyFault::TooLarge => reply::body_too_large(),
        BodyFault::Broken(broken) => reply::of_codec(broken),
    }
}

/// Waits for its turn to hold `need` bytes.
async fn reserve(
    budget: &Arc<Budget>,
    need: u64,
    call: &Call<'_>,
    lane: &LaneState,
) -> Result<Reservation, ErrorReply> {
    let place = match budget.reserve(need, lane.turns.granted()) {
        Ok(room) => return Ok(room),
        Err(place) => place,
    };
    let mut turn = lane.turns.wait_for(place.number());
    let until = Instant::now() + BUFFERED_WAIT;
    // Granted or not, the place knows.
    let _ = call.clock.within(Some(until), |cx| turn.poll(cx)).await;
    place.claim().map_err(|_| reply::buffers_full())
}
