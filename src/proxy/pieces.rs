//! A request with more items than one call takes: cut into pieces, asked side by side, told as one.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::answered::Answer;
use super::carried::{Answered, Load};
use super::guard::Guard;
use super::reply;
use super::request::Request;
use super::state::LaneState;
use super::told::{Source, Told};
use super::upstream_head::upstream_head;
use crate::base::ids::ClusterId;
use crate::batch::Member;
use crate::codec::framing::Framing;
use crate::codec::reply::ErrorReply;
use crate::codec::shared::{SharedHead, compared};
use crate::plan::Batching;

/// Asks the cluster for the items of `member`, piece by piece, each in a `place` of its own.
pub(super) async fn run(
    request: &Request,
    (cluster, lane): (ClusterId, &Rc<LaneState>),
    (batching, member): (&Batching, &Member),
    place: &dyn Fn() -> Guard,
) -> Result<Answer, ErrorReply> {
    let upstream = upstream_head(request, cluster).ok_or_else(reply::head_too_long)?;
    let compared = compared(&upstream, &batching.key_headers);
    let load = Load { plan: &request.plan, route: request.route().0, cluster, lane };
    let pieces = batching.protocol.cut(member, batching.most.items);
    request.plan.recorder.borrow_mut().clusters[cluster].pieces += pieces.len() as u64;
    let ask = |at: usize| {
        let (load, asked) = (&load, (&request.head, &upstream, &compared[..]));
        let body = Bytes::from(batching.protocol.merge(&[&pieces[at]]));
        async move {
            let _place = place();
            (at, load.send(asked, body).await)
        }
    };
    let mut asked = stream::iter(0..pieces.len()).map(ask).buffer_unordered(batching.pieces);
    let mut answers: Vec<Option<Answered>> = pieces.iter().map(|_| None).collect();
    while let Some((at, answered)) = asked.next().await {
        let from: usize = pieces[..at].iter().map(Member::items).sum();
        let items = (from, from + pieces[at].items());
        answers[at] = Some(whole(answered, (batching.protocol.items_name(), items))?);
    }
    let answers: Vec<Answered> = answers.into_iter().flatten().collect();
    let bodies: Vec<&[u8]> = answers.iter().map(|answer| &answer.body[..]).collect();
    let joined = batching.protocol.join(member, &pieces, &bodies);
    let body = Bytes::from(joined.map_err(|unfit| reply::unfit(&unfit.to_string()))?);
    let Some(Answered { head, id, .. }) = answers.into_iter().next() else {
        return Err(reply::unfit("no pieces"));
    };
    let framing = Framing::Length(body.len() as u64);
    let head = Arc::new(SharedHead { head, framing, batch: Some((id, 1)) });
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
