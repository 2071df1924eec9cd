//! A route's clusters are asked: one by its share, then those that it falls back to.

use super::call::{self, Aside, GivenUp, or_aside};
use super::request::{Call, Request};
use super::source::Relayed;
use super::state::LaneState;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::ids::ClusterId;
use crate::cluster::dispatch::AtHand;
use crate::plan::Targets;

/// Sends the request on, to the cluster that was drawn first. Once for the exchanges of clients, and once `APART` for other
/// calls: what has several callers is a call for each.
pub(super) async fn run<const APART: bool>(
    request: &Request,
    call: &mut Call<'_>,
    first: ClusterId,
    targets: &Targets,
) -> Result<Relayed, GivenUp> {
    let relayed = match &targets.fallback[..] {
        [] => call::run(request, call, first, u32::MAX).await,
        // In a box: what it keeps aside is large, and most routes have none.
        fallback => Box::pin(fall_back(request, call, first, fallback)).await,
    };
    // It will not be sent again; where nobody answered nothing is left to send.
    call.body.let_go();
    relayed
}

/// Of all tries the last one is the fallback's, and each further fallback has one more.
async fn fall_back(
    request: &Request,
    call: &mut Call<'_>,
    first: ClusterId,
    fallback: &[ClusterId],
) -> Result<Relayed, GivenUp> {
    let attempts = request.plan.plan.clusters[first].settings.retry.attempts;
    let tries = [(first, attempts.saturating_sub(1).max(1))];
    let mut left = tries.into_iter().chain(fallback.iter().map(|id| (*id, 1))).peekable();
    let mut aside: Option<Aside> = None;
    loop {
        let (cluster, most) = left.next().expect("the last one ends it");
        call.may_move_on = left.peek().is_some();
        let outcome = call::run(request, call, cluster, most).await;
        let is_left = call.may_move_on && call.body.at_hand() == AtHand::Whole;
        match outcome {
            Ok(answer) => {
                if let Some(before) = aside.take() {
                    before.abandon(request);
                }
                let may_move = is_left && call.body.at_hand_behind_answer() == AtHand::Whole;
                if !may_move || !is_moved_by(answer.head.status()) {
                    return Ok(answer);
                }
                aside = Some(Aside::of(answer, call));
            }
            Err(given_up) if is_left && is_untouched(&given_up.fault) => {}
            Err(given_up) => return or_aside(given_up, aside, call),
        }
    }
}

/// Whether an endpoint's own answer moves the request on: it refused by its own word. A 504 does not say that.
fn is_moved_by(status: u16) -> bool {
    status == 429 || (status >= 500 && status != 504)
}

/// Whether nobody can have done anything with the request: there was no connection, no place, or no endpoint.
fn is_untouched(fault: &Fault) -> bool {
    match (fault.kind, fault.stage) {
        (FaultKind::QueueFull | FaultKind::NoEndpoint, _) => true,
        (FaultKind::Refused | FaultKind::Untrusted | FaultKind::Timeout, Stage::Connect) => true,
        (FaultKind::Reset, _) => fault.sent == Sent::Nothing,
        _ => false,
    }
}

/// One cluster by weight, drawn once and kept through the attempts on it.
pub(super) fn draw(targets: &Targets, lane: &LaneState) -> ClusterId {
    let shares = &targets.shares;
    if let [(only, _)] = &shares[..] {
        return *only;
    }
    let sum: u64 = shares.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut drawn = lane.rng.borrow_mut().below(sum);
    for (cluster, weight) in shares {
        match drawn.checked_sub(u64::from(*weight)) {
            Some(rest) => drawn = rest,
            None => return *cluster,
        }
    }
    unreachable!("a number below the sum of the weights falls into one of them")
}
