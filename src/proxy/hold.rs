//! Reads and holds a body that is looked into, as far as that needs it: for the route, then for the filters.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::held::Held;
use super::inquiry::{Asked, Inquiry};
use super::intake::{BodyFault, Rest};
use super::pace::room_due;
use super::reply;
use super::request::Call;
use crate::base::fault::Sent;
use crate::base::ids::RouteId;
use crate::base::limits::{
    BUFFERED_STEP_BYTES, BUFFERED_WAIT, PASSING_AT_HAND_BYTES, PASSING_BYTES, PASSING_PAUSE, TICK,
};
use crate::board::buffered::{Budget, Reservation};
use crate::codec::body_editor::BodyEditor;
use crate::codec::content::BodyScanner;
use crate::codec::framing::Framing;
use crate::codec::json::Wanted;
use crate::codec::reply::ErrorReply;
use crate::codec::unreadable;
use crate::filter::Examination;

/// Reads the body until it decides; then all that was read of it is held in the call. Where that was not its end, the body
/// is looked at on.
pub(super) async fn ask(
    mut inquiry: Inquiry<'_>,
    (framing, wanted): (Framing, &Arc<Wanted>),
    budget: &Arc<Budget>,
    call: &mut Call<'_>,
) -> Result<RouteId, ErrorReply> {
    call.body.max = inquiry.body_max();
    let needs = inquiry.needs();
    let look = |piece: &[u8]| match inquiry.feed(piece) {
        Asked::NeedsMore => ControlFlow::Continue(()),
        asked => ControlFlow::Break(asked),
    };
    let asked = match until(look, (needs, framing), budget, call).await? {
        Some(Asked::Decided(route)) => {
            call.body.max = inquiry.body_max();
            let mut asked = Asked::Decided(route);
            let look = |piece: &[u8]| {
                if matches!(asked, Asked::Decided(_)) {
                    asked = inquiry.feed(piece);
                }
            };
            at_hand(look, call).await?;
            match call.body.rest() {
                Rest::Read if matches!(asked, Asked::Decided(_)) => inquiry.end(),
                Rest::Read | Rest::Outstanding => asked,
            }
        }
        Some(asked) => asked,
        None => inquiry.end(),
    };
    call.notes.model = inquiry.model();
    match asked {
        Asked::Decided(route) => {
            watch(inquiry.into_scanner().map(|scanner| (scanner, wanted)), call)?;
            Ok(route)
        }
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
) -> Result<(), ErrorReply> {
    for piece in call.body.held() {
        examination.feed(piece);
    }
    if !examination.is_over() && call.body.rest() == Rest::Outstanding {
        let needs = examination.needs();
        let look = |piece: &[u8]| {
            examination.feed(piece);
            if examination.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        until(look, (needs, framing), budget, call).await?;
    }
    at_hand(|piece| examination.feed(piece), call).await?;
    match call.body.rest() {
        Rest::Read => {
            examination.end();
            Ok(())
        }
        Rest::Outstanding => watch(examination.take_scanner(), call),
    }
}

/// What is left of the body is looked at by whoever decided; where nobody did, and nobody does, it passes unseen.
fn watch(scan: Option<(Box<BodyScanner>, &Arc<Wanted>)>, call: &mut Call<'_>) -> Result<(), ErrorReply> {
    if call.body.rest() == Rest::Read {
        return Ok(());
    }
    if let Some((scanner, wanted)) = scan {
        return call.body.scan(scanner, wanted);
    }
    call.body.settle_held();
    Ok(())
}

/// Once a body has decided: reads on as long as that waits for nobody, so that a small one is whole before it is sent on.
async fn at_hand(mut look: impl FnMut(&[u8]), call: &mut Call<'_>) -> Result<(), ErrorReply> {
    while call.body.rest() == Rest::Outstanding {
        // Nothing may be left of it but its end.
        let is_enough = call.body.room().1 >= PASSING_AT_HAND_BYTES;
        match within(None, call).await {
            None => break,
            Some(Ok(None)) => {}
            Some(Ok(Some(piece))) => {
                look(&piece);
                call.body.keep_last(&piece);
            }
            Some(Err(fault)) => return Err(of_body(fault, Sent::Nothing, call)),
        }
        if is_enough && !call.body.has_come() {
            break;
        }
    }
    call.body.stop_holding();
    Ok(())
}

/// Reads the body to its end, which is then held, for it is sent several times.
pub(super) async fn whole(
    framing: Framing,
    budget: &Arc<Budget>,
    call: &mut Call<'_>,
) -> Result<(), ErrorReply> {
    if framing == Framing::Empty || call.body.rest() == Rest::Read {
        return Ok(());
    }
    let before = call.body.waited;
    let read = until(|_| ControlFlow::<()>::Continue(()), (None, framing), budget, call).await;
    call.notes.phases.hold += call.body.waited - before;
    read.map(|_| ())
}

/// Has the body changed, as it comes, until nothing more of what follows is changed, as much as may be held of a body that is
/// sent on came, or its client pauses; or to its end.
pub(super) async fn edit(
    editor: &mut BodyEditor,
    framing: Framing,
    budget: &Arc<Budget>,
    call: &mut Call<'_>,
) -> Result<(), ErrorReply> {
    edit_held(editor, call)?;
    if call.body.rest() == Rest::Read {
        return Ok(());
    }
    make_room(Some(PASSING_BYTES), framing, budget, call).await?;
    while call.body.rest() == Rest::Outstanding {
        let most = if editor.is_settled() { PASSING_AT_HAND_BYTES } else { PASSING_BYTES };
        let is_full = call.body.room().1 + editor.waiting() >= most;
        let pause = (!is_full && !editor.is_settled()).then_some(PASSING_PAUSE);
        let Some(piece) = within(pause, call).await else { break };
        let mut has_room = true;
        let keep = |piece: Bytes| has_room &= call.body.keep(&piece);
        match piece {
            Ok(Some(piece)) => editor.feed(piece, keep)?,
            Ok(None) => editor.end(keep)?,
            Err(fault) => return Err(of_body(fault, Sent::Nothing, call)),
        }
        if !has_room {
            return Err(reply::buffers_full());
        }
        if is_full && !call.body.has_come() {
            break;
        }
    }
    call.body.stop_holding();
    Ok(())
}

/// The next piece, if it comes before such a pause; where there is none, if it is there.
async fn within(pause: Option<Duration>, call: &mut Call<'_>) -> Option<Result<Option<Bytes>, BodyFault>> {
    let mut poll = |cx: &mut Context<'_>| call.body.poll_piece(cx);
    match pause {
        Some(pause) => call.clock.within(Some(Instant::now() + pause), poll).await,
        None => match poll_fn(|cx| Poll::Ready(poll(cx))).await {
            Poll::Ready(piece) => Some(piece),
            Poll::Pending => None,
        },
    }
}

/// Has what is held of the body changed, which may be all of it.
pub(super) fn edit_held(editor: &mut BodyEditor, call: &mut Call<'_>) -> Result<(), ErrorReply> {
    let mut pieces: Vec<Bytes> = Vec::new();
    call.body.held().iter().try_for_each(|piece| editor.feed(piece.clone(), |piece| pieces.push(piece)))?;
    if call.body.rest() == Rest::Read {
        editor.end(|piece| pieces.push(piece))?;
    }
    if call.body.is_held() {
        call.body.rewrite(pieces).ok_or_else(reply::buffers_full)?;
    }
    Ok(())
}

/// Reads on and holds what comes, until `look` has seen enough, or to the end: then it says nothing.
pub(super) async fn until<T>(
    mut look: impl FnMut(&[u8]) -> ControlFlow<T>,
    (needs, framing): (Option<u64>, Framing),
    budget: &Arc<Budget>,
    call: &mut Call<'_>,
) -> Result<Option<T>, ErrorReply> {
    make_room(needs, framing, budget, call).await?;
    let since = Instant::now();
    let seen = loop {
        let piece = match next(call, budget, since).await {
            Ok(Some(piece)) => piece,
            Ok(None) => break None,
            Err(fault) => return Err(of_body(fault, Sent::Nothing, call)),
        };
        if let ControlFlow::Break(seen) = look(&piece) {
            call.body.keep_last(&piece);
            break Some(seen);
        }
        if !call.body.keep(&piece) {
            return Err(reply::buffers_full());
        }
    };
    call.body.stop_holding();
    Ok(seen)
}

/// Waits until there is room for the body, or what is needed of it, before any of it is held.
async fn make_room(
    needs: Option<u64>,
    framing: Framing,
    budget: &Arc<Budget>,
    call: &mut Call<'_>,
) -> Result<(), ErrorReply> {
    if call.body.is_held() {
        return Ok(());
    }
    let need = match framing {
        Framing::Length(length) => needs.map_or(length, |needed| length.min(needed)),
        Framing::Chunked | Framing::Empty | Framing::UntilClose => BUFFERED_STEP_BYTES.min(budget.max()),
    };
    let room = reserve(budget, need, call).await?;
    ask_for_body(call).await;
    call.body.hold(Held::within(room));
    Ok(())
}

/// Tells a client that waits for it to send its body; nobody else can, for no endpoint is chosen yet (RFC 9110 §10.1.1).
pub(super) async fn ask_for_body(call: &mut Call<'_>) {
    if call.body.is_unasked() {
        call.early.go_on();
        poll_fn(|cx| call.early.poll_sent(cx)).await;
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
pub(super) fn of_body(fault: BodyFault, sent: Sent, call: &mut Call<'_>) -> ErrorReply {
    match fault {
        BodyFault::Unsound => call.body.take_refusal().unwrap_or_else(unreadable::no_body),
        BodyFault::TooSlow => reply::too_slow(sent),
        BodyFault::TooLarge => reply::body_too_large(),
        BodyFault::Broken(broken) => reply::of_codec(broken),
    }
}

/// Waits for its turn to hold `need` bytes.
async fn reserve(budget: &Arc<Budget>, need: u64, call: &mut Call<'_>) -> Result<Reservation, ErrorReply> {
    let place = match budget.reserve(need, call.turns.granted()) {
        Ok(room) => return Ok(room),
        Err(place) => place,
    };
    let mut turn = call.turns.wait_for(place.number());
    let now = Instant::now();
    call.notes.since = Some(now);
    // Granted or not, the place knows.
    let _ = call.clock.within(Some(now + BUFFERED_WAIT), |cx| turn.poll(cx)).await;
    call.notes.kept(now);
    place.claim().map_err(|_| reply::buffers_full())
}
