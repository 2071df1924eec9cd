//! A request with more items than one call takes: cut into pieces, asked side by side, told as one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::answered::Answer;
use super::carried::{Answered, Asked, Load, Repeats};
use super::common::{Common, Destination};
use super::guard::Guard;
use super::reply;
use super::request::{Call, Request};
use super::state::LaneState;
use super::told::{Source, Told};
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::time::deadline;
use crate::batch::Member;
use crate::codec::reply::ErrorReply;
use crate::codec::shared::SharedHead;
use crate::plan::Batching;

/// Asks the cluster for the items of `member`, piece by piece, each in a `place` of its own.
pub(super) async fn run(
    (request, call): (&Request, &mut Call<'_>),
    lane: &Rc<LaneState>,
    destination: Destination<'_>,
    (batching, member, place): (&Batching, &Member, &dyn Fn() -> Guard),
) -> Result<Answer, ErrorReply> {
    let cluster = destination.first;
    let common = Common::of(request, destination);
    let common = common.ok_or_else(reply::head_too_long)?;
    let begun = Instant::now();
    call.deadline = deadline(begun, request.plan.plan.clusters[cluster].settings.timeouts.total);
    let load = Load { plan: &request.plan, route: request.route().0, cluster, lane };
    let pieces = batching.protocol.cut(member, batching.most.items);
    request.plan.recorder.borrow_mut().clusters[cluster].pieces += pieces.len() as u64;
    let ask = |at: usize| {
        let (head, carried) = (&request.head, &common.carried[..]);
        let (load, asked) = (&load, Asked { head, carried, model: request.model_upstream() });
        let body = Bytes::from(batching.protocol.merge(&[&pieces[at]]));
        async move {
            let _place = place();
            (at, load.send(asked, body, Repeats::ByRules).await)
        }
    };
    let mut asked = stream::iter(0..pieces.len()).map(ask).buffer_unordered(batching.pieces);
    let mut answers: Vec<Option<Answered>> = pieces.iter().map(|_| None).collect();
    loop {
        let next = call.clock.within(call.deadline, |cx| asked.poll_next_unpin(cx)).await;
        let Some(next) = next else {
            let fault = Fault::upstream(Stage::Wait, FaultKind::Timeout, Sent::Wholly);
            call.notes.fault = Some(fault);
            return Err(reply::of_fault(&fault));
        };
        let Some((at, answered)) = next else { break };
        let from: usize = pieces[..at].iter().map(Member::items).sum();
        let items = (from, from + pieces[at].items());
        answers[at] = Some(whole(answered, (batching.protocol.items_name(), items))?);
    }
    call.notes.waited += begun.elapsed();
    let answers: Vec<Answered> = answers.into_iter().flatten().collect();
    let bodies: Vec<&[u8]> = answers.iter().map(|answer| &answer.body[..]).collect();
    let joined = batching.protocol.join(member, &pieces, &bodies);
    let body = Bytes::from(joined.map_err(|unfit| reply::unfit(&unfit.to_string()))?);
    let Some(Answered { head, id, .. }) = answers.into_iter().next() else {
        return Err(reply::unfit("no pieces"));
    };
    let head = Arc::new(SharedHead::whole(head, body.len(), Some((id, 1))));
    Ok(Answer::Told(Box::new(Told { head, source: Source::Whole(body) })))
}

/// The answer to a piece, if it is a good one; else the error of the whole, which names its items.
fn whole(
    answered: Result<Answered, ErrorReply>,
    (name, (from, to)): (&str, (usize, usize)),
) -> Result<Answered, ErrorReply> {
    let param = Some(format!("{name}[{from}..{to}]").into_boxed_str());
    match answered {
        Ok(answer) if (200..300).contains(&answer.head.status()) => Ok(answer),
        Ok(answer) => Err(ErrorReply { param, ..reply::of_piece(answer.head.status(), &answer.body) }),
        Err(refusal) if refusal.status < 500 => Err(ErrorReply { param, ..refusal }),
        Err(refusal) => Err(ErrorReply { status: 502, param, ..refusal }),
    }
}
