//! One cluster is asked: drives `Dispatch`, which says whom to try and what may be tried again.

use std::time::{Duration, Instant};

use super::attempt::{self, Failed};
use super::intake::BodyFault;
use super::request::{Call, Request};
use super::source::Relayed;
use super::state::LaneState;
use crate::base::fault::{Fault, FaultKind, Stage};
use crate::base::ids::ClusterId;
use crate::base::time::deadline;
use crate::cluster::dispatch::{Dispatch, Step};

/// Why a call was given up.
pub(super) struct GivenUp {
    pub(super) fault: Fault,
    /// What is told of the request's body, where that broke.
    pub(super) body: Option<BodyFault>,
    /// How long it takes until a place is free, where none is.
    pub(super) wait: Option<Duration>,
}

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
    let (mut dispatch, mut step) = Dispatch::start(cluster, call.notes.arrival.complete);
    // An answer in whose place another endpoint is asked, and the body's fault of the attempt that failed last.
    let (mut refused, mut body) = (None, None);
    loop {
        let (ticket, connection) = match step {
            Step::Attempt { ticket, connection, because } => {
                if let Some(reason) = because {
                    let endpoint = plan.endpoints[ticket.position()];
                    request.plan.recorder.borrow_mut().endpoints[endpoint].retries[reason as usize] += 1;
                }
                (ticket, connection)
            }
            Step::GiveUp(fault) => {
                let Some((answer, endpoint)) = refused else {
                    let wait = || cluster.expected_wait(request.plan.plan.lanes);
                    let wait = (fault.kind == FaultKind::QueueFull).then(wait);
                    return Err(GivenUp { fault, body, wait });
                };
                call.notes.endpoint = endpoint;
                return Ok(answer);
            }
        };
        let position = ticket.position();
        match attempt::run(request, call, (plan.endpoints[position], ticket), connection).await {
            Ok(answer) => {
                if let Some((before, _)) = refused.take() {
                    Relayed::abandon(before, Instant::now());
                }
                let status = answer.head.status();
                match dispatch.answered(cluster, (position, status), call.body.at_hand(), Instant::now()) {
                    Some(another) => {
                        refused = Some((answer, call.notes.endpoint));
                        step = another;
                    }
                    None => {
                        // It will not be sent again.
                        call.body.let_go();
                        return Ok(answer);
                    }
                }
            }
            Err(Failed { failure, body: broken }) => {
                body = broken;
                step = dispatch.failed(cluster, &failure, Instant::now());
            }
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
