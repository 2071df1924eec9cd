//! One cluster is asked: drives `Dispatch`, which says whom to try and what may be tried again.

use std::time::Instant;

use super::attempt::{self, Failed};
use super::intake::BodyFault;
use super::request::{Call, Request};
use super::source::Relayed;
use super::state::LaneState;
use crate::base::fault::{Fault, Stage};
use crate::base::ids::ClusterId;
use crate::base::time::deadline;
use crate::cluster::dispatch::{Dispatch, Repeat, Step};
use crate::codec::framing::Framing;

/// Why a call was given up: the fault, and what is told of the request's body where that broke.
pub(super) type GivenUp = (Fault, Option<BodyFault>);

/// Sends the request to one of `targets` until one answers or nothing may be tried any more.
pub(super) async fn run(
    request: &Request,
    call: &mut Call<'_>,
    lane: &LaneState,
    targets: &[(ClusterId, u32)],
) -> Result<Relayed, GivenUp> {
    let id = draw(targets, lane);
    let plan = &request.plan.plan.clusters[id];
    let cluster = &request.plan.clusters[id];
    call.deadline = plan.settings.timeouts.total.and_then(|total| deadline(Instant::now(), Some(total)));
    call.notes.stage = Stage::Pick;
    let mut dispatch = Dispatch::new(repeat(request));
    let mut body = None;
    loop {
        match dispatch.next(cluster, call.notes.arrival.complete) {
            Step::Attempt { ticket, connection } => {
                let endpoint = plan.endpoints[ticket.position()];
                match attempt::run(request, call, (endpoint, ticket), connection).await {
                    Ok(answer) => return Ok(answer),
                    Err(Failed { failure, body: broken }) => {
                        body = broken;
                        dispatch.record(failure);
                    }
                }
            }
            Step::GiveUp(fault) => return Err((fault, body)),
        }
    }
}

/// One cluster by weight, drawn once a call and kept through its attempts.
fn draw(targets: &[(ClusterId, u32)], lane: &LaneState) -> ClusterId {
    if let [(only, _)] = targets {
        return *only;
    }
    let sum: u64 = targets.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut drawn = lane.rng.borrow_mut().below(sum);
    for (cluster, weight) in targets {
        match drawn.checked_sub(u64::from(*weight)) {
            Some(rest) => drawn = rest,
            None => return *cluster,
        }
    }
    unreachable!("a number below the sum of the weights falls into one of them")
}

fn repeat(request: &Request) -> Repeat {
    // A body that went out is not kept, so it cannot go out again.
    if request.head.method().is_safe() && request.head.framing() == Framing::Empty {
        Repeat::Safe
    } else {
        Repeat::Never
    }
}
