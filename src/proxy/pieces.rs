//! A request with more items than one call takes: cut into pieces, asked side by side, told as one.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::answered::Answer;
use super::carried::{Answered, Asked, Load, Repeats, Unanswered};
use super::common::{Common, Destination};
use super::forward::{Ways, is_moved_by};
use super::guard::Guard;
use super::reply;
use super::request::{Call, Request};
use super::side_by_side::{Outcome, SideBySide};
use super::standing;
use super::state::LaneState;
use super::told::{Source, Told};
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::time::deadline;
use crate::batch::Member;
use crate::codec::reply::ErrorReply;
use crate::codec::shared::{SharedHead, trace_state};
use crate::plan::{Batching, Targets};
use bytes::Bytes;

/// Asks for the items of `member`, piece by piece, each in a `place` of its own: all of them of one cluster, for what two say
/// does not go together. Where one of the route's clusters cannot, or refuses, the next is asked for all.
pub(super) async fn run(
    (request, call): (&Request, &mut Call<'_>),
    lane: &Rc<LaneState>,
    destination: Destination<'_>,
    (batching, member, place): (&Batching, &Member, &dyn Fn() -> Guard),
) -> Result<Answer, ErrorReply> {
    let Destination { first, targets, .. } = destination;
    let common = Common::of(request, destination).ok_or_else(reply::head_too_long)?;
    let begun = Instant::now();
    call.notes.waits_for_answer(begun);
    let pieces = batching.protocol.cut(member, batching.most.items);
    let pieces = pieces.ok_or_else(|| reply::too_many_pieces(batching.protocol.items_name()))?;
    let standing = standing::of(request, first);
    let (head, model) = (&request.head, request.model_upstream());
    let carried = match request.trace.is_continued {
        true => [common.carried, trace_state(head)].concat(),
        false => common.carried,
    };
    let one = Asked { head, carried: &carried, model, standing: &standing, trace: request.trace };
    let mut clusters = std::iter::once(&first).chain(&targets.fallback).copied().peekable();
    let asked = loop {
        let cluster = clusters.next().expect("the last one ends it");
        call.deadline = deadline(begun, request.plan.plan.clusters[cluster].settings.timeouts.total);
        request.plan.recorder.borrow_mut().clusters[cluster].pieces += pieces.len() as u64;
        let load = Load { plan: &request.plan, route: request.route().0, cluster, lane };
        match all(&load, call, (one, targets), (batching, &pieces, place)).await {
            Err(failed) if failed.moves && clusters.peek().is_some() => {}
            Err(failed) => break Err(failed.refusal),
            Ok(answers) => break Ok((answers, cluster != first)),
        }
    };
    call.notes.waited_for_answer(begun, Instant::now());
    let (answers, is_substitute) = asked?;
    let bodies: Vec<&[u8]> = answers.iter().map(|answer| &answer.body[..]).collect();
    let joined = batching.protocol.join(member, &pieces, &bodies);
    let body = Bytes::from(joined.map_err(|unfit| reply::unfit(&unfit.to_string()))?);
    let Some(Answered { head, id, .. }) = answers.into_iter().next() else {
        return Err(reply::unfit("no pieces"));
    };
    let head = SharedHead { is_substitute, ..SharedHead::whole(head, body.len(), Some((id, 1))) };
    Ok(Answer::Told(Box::new(Told { head: Arc::new(head), source: Source::Whole(body) })))
}

/// Why there is no whole.
struct Failed {
    refusal: ErrorReply,
    /// Another cluster may be asked.
    moves: bool,
}

/// Asks one cluster for all pieces.
async fn all(
    load: &Load<'_>,
    call: &mut Call<'_>,
    (asked, targets): (Asked<'_>, &Targets),
    (batching, pieces, place): (&Batching, &[Member], &dyn Fn() -> Guard),
) -> Result<Vec<Answered>, Failed> {
    let ways = Ways { fallback: &[], ..Ways::of(targets) };
    let flights = call.flights.clone();
    let ask = |at: usize| {
        let body = Bytes::from(batching.protocol.merge(&[&pieces[at]]));
        let flights = flights.clone();
        // Each is a part of the trace.
        let asked = Asked { trace: load.lane.trace_within(&asked.trace), ..asked };
        async move {
            let _place = place();
            (at, load.send(asked, body, (Repeats::ByRules, ways, flights)).await)
        }
    };
    let mut each = pin!(SideBySide::new(pieces.len(), batching.pieces, ask));
    let mut answers: Vec<Option<Answered>> = pieces.iter().map(|_| None).collect();
    loop {
        let next = call.clock.within(call.deadline, |cx| each.as_mut().poll_next(cx)).await;
        let Some(next) = next else {
            let fault = Fault::upstream(Stage::Wait, FaultKind::Timeout, Sent::Wholly);
            call.notes.fault = Some(fault);
            return Err(Failed { refusal: reply::of_fault(&fault), moves: false });
        };
        let Some((at, answered)) = next else { break };
        // All but the last are full.
        let from = at * batching.most.items;
        let items = (from, from + pieces[at].items());
        let answer = whole(answered, (batching.protocol.items_name(), items))?;
        // One that does not fit is told at once, and by its items.
        if let Err(unfit) = batching.protocol.split(&[&pieces[at]], &answer.body) {
            let param = param(batching.protocol.items_name(), items);
            let refusal = ErrorReply { param, ..reply::unfit(&unfit.to_string()) };
            return Err(Failed { refusal, moves: false });
        }
        answers[at] = Some(answer);
    }
    Ok(answers.into_iter().flatten().collect())
}

fn param(name: &str, (from, to): (usize, usize)) -> Option<Box<str>> {
    Some(format!("{name}[{from}..{to}]").into_boxed_str())
}

/// The answer to a piece, if it is a good one; else the error of the whole, which names its items.
fn whole(answered: Outcome, (name, items): (&str, (usize, usize))) -> Result<Answered, Failed> {
    let param = param(name, items);
    match answered {
        Ok(answer) if (200..300).contains(&answer.head.status()) => Ok(answer),
        Ok(answer) => {
            let status = answer.head.status();
            let refusal = ErrorReply { param, ..reply::of_piece(status, &answer.body) };
            Err(Failed { refusal, moves: is_moved_by(status) })
        }
        Err(Unanswered { refusal, is_untouched: moves }) => {
            let status = if refusal.status < 500 { refusal.status } else { 502 };
            Err(Failed { refusal: ErrorReply { status, param, ..refusal }, moves })
        }
    }
}
