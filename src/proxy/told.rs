//! An answer that others are told too: what of it comes next, wherever it comes from.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::intake::BodyFault;
use super::reply;
use super::request::{Call, Request};
use super::source::Cut;
use super::standing;
use super::state::LaneState;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::time::earlier;
use crate::board::flight::{Follower, Next};
use crate::codec::reply::ErrorReply;
use crate::codec::shared::SharedHead;

/// An answer that is shared, or kept.
pub(super) struct Told {
    pub(super) head: Arc<SharedHead>,
    pub(super) source: Source,
}

/// Where its body comes from.
pub(super) enum Source {
    /// It is in memory, and not told yet.
    Whole(Bytes),
    /// As it arrives.
    Flight(Follower<SharedHead, ErrorReply>),
}

impl Told {
    /// The next piece of the body, none at its end.
    pub(super) async fn next(&mut self, lane: &LaneState) -> Result<Option<Bytes>, Cut> {
        let follower = match &mut self.source {
            Source::Whole(body) => {
                let body = std::mem::take(body);
                return Ok((!body.is_empty()).then_some(body));
            }
            Source::Flight(follower) => follower,
        };
        loop {
            match follower.next(lane.turns.granted()) {
                Next::Head(_) => {}
                Next::Piece(piece) => return Ok(Some(piece)),
                Next::End(Ok(())) => return Ok(None),
                Next::End(Err(refusal)) => return Err(Cut::Upstream(reply::broke_off(&refusal))),
                Next::Behind => return Err(Cut::Body(BodyFault::TooSlow)),
                Next::Wait(place) => {
                    let mut turn = lane.turns.wait_for(place);
                    poll_fn(|cx| turn.poll(cx)).await;
                }
            }
        }
    }
}

/// Waits for an answer that others wait for too, as long as its own clock and its client allow.
pub(super) async fn follow(
    mut follower: Follower<SharedHead, ErrorReply>,
    (request, call): (&Request, &mut Call<'_>),
    lane: &LaneState,
) -> Result<Box<Told>, ErrorReply> {
    let begun = Instant::now();
    call.notes.waits_for_answer(begun);
    let said = standing::deadline_said(request).map(|said| call.notes.arrival.complete + said);
    let head = Waiter { follower: &mut follower, call }.head(said, lane).await;
    call.notes.waited_for_answer(begun, Instant::now());
    call.body.let_go();
    Ok(Box::new(Told { head: head?, source: Source::Flight(follower) }))
}

/// Waits for a head, or leaves. Either way it is noted in which calls it was asked for.
struct Waiter<'w, 'c> {
    follower: &'w mut Follower<SharedHead, ErrorReply>,
    call: &'w mut Call<'c>,
}

impl Waiter<'_, '_> {
    /// Its head; an error is everybody's.
    async fn head(&mut self, said: Option<Instant>, lane: &LaneState) -> Result<Arc<SharedHead>, ErrorReply> {
        let Self { follower, call } = self;
        loop {
            match follower.next(lane.turns.granted()) {
                Next::Head(head) => {
                    call.notes.batch.get_or_insert_default().carried = head.batch.clone();
                    return Ok(head);
                }
                Next::End(Err(refusal)) => return Err(refusal),
                Next::Wait(place) => {
                    let mut turn = lane.turns.wait_for(place);
                    // A client's own deadline is for its wait, which is over once somebody is asked.
                    let in_line = said.filter(|_| !follower.is_started());
                    let due = earlier(call.deadline, in_line);
                    if call.clock.within(due, |cx| turn.poll(cx)).await.is_some() {
                        continue;
                    }
                    let fault = match call.deadline.is_some_and(|due| due <= Instant::now()) {
                        true => Fault::upstream(Stage::Wait, FaultKind::Timeout, Sent::Wholly),
                        false if follower.is_started() => continue,
                        false => Fault::upstream(Stage::Pick, FaultKind::QueueTimeout, Sent::Nothing),
                    };
                    call.notes.fault = Some(fault);
                    return Err(reply::of_fault(&fault));
                }
                Next::Piece(_) | Next::Behind | Next::End(Ok(())) => {
                    let fault = Fault::upstream(Stage::Wait, FaultKind::Reset, Sent::Wholly);
                    return Err(reply::of_fault(&fault));
                }
            }
        }
    }
}

impl Drop for Waiter<'_, '_> {
    fn drop(&mut self) {
        if let Some(tried) = &mut self.call.notes.tried {
            tried.calls = self.follower.calls();
        }
    }
}
