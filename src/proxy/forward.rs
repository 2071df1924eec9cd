//! A route's clusters are asked: one by its share, then those that it falls back to.

use std::rc::Rc;

use super::call::{self, Aside, GivenUp, or_aside};
use super::mirror;
use super::request::{Call, Request};
use super::source::Relayed;
use super::state::LaneState;
use crate::balance::Positions;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::ids::ClusterId;
use crate::cluster::NoPick;
use crate::cluster::dispatch::AtHand;
use crate::plan::{Mirror, Targets};

/// Where a request may go beside the cluster that is asked first.
#[derive(Clone, Copy)]
pub(super) struct Ways<'p> {
    pub(super) fallback: &'p [ClusterId],
    /// Who gets a copy.
    pub(super) mirror: Option<&'p Mirror>,
}

impl<'p> Ways<'p> {
    pub(super) fn of(targets: &'p Targets) -> Self {
        Self { fallback: &targets.fallback, mirror: targets.mirror.as_deref() }
    }
}

/// Sends the request on, to the cluster that was drawn first. Once for the exchanges of clients, and once `APART` for other
/// calls: what has several callers is a call for each.
pub(super) async fn run<const APART: bool>(
    (request, call): (&Request, &mut Call<'_>),
    lane: &Rc<LaneState>,
    first: ClusterId,
    Ways { fallback, mirror }: Ways<'_>,
) -> Result<Relayed, GivenUp> {
    if call.body.is_watched() {
        call.body.send_on();
    }
    if let Some(mirror) = mirror {
        mirror::begin((request, call), lane, first, mirror);
    }
    let relayed = match fallback {
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
    let (mut aside, mut before): (Option<Aside>, Option<GivenUp>) = (None, None);
    loop {
        let (cluster, most) = left.next().expect("the last one ends it");
        call.may_move_on = left.peek().is_some();
        let outcome = call::run(request, call, cluster, most).await;
        let is_left = call.may_move_on && call.body.at_hand() == AtHand::Whole;
        match outcome {
            Ok(answer) => {
                if let Some(refused) = aside.take() {
                    refused.abandon(request);
                }
                let may_move = is_left && call.body.at_hand_behind_answer() == AtHand::Whole;
                if !may_move || !is_moved_by(answer.head.status()) {
                    return Ok(answer);
                }
                aside = Some(Aside::of(answer, call));
            }
            Err(given_up) if is_left && is_untouched(&given_up.fault) => {
                before = before.or((given_up.fault.kind != FaultKind::NotListed).then_some(given_up));
            }
            // That the last one does not serve the model tells nothing of those that do.
            Err(given_up) if given_up.fault.kind == FaultKind::NotListed => {
                return or_aside(before.unwrap_or(given_up), aside, call);
            }
            Err(given_up) => return or_aside(given_up, aside, call),
        }
    }
}

/// Whether an endpoint's own answer moves the request on: it refused by its own word. A 504 does not say that.
pub(super) fn is_moved_by(status: u16) -> bool {
    status == 429 || (status >= 500 && status != 504)
}

/// Whether nobody can have done anything with the request: there was no connection, no place, or no endpoint.
pub(super) fn is_untouched(fault: &Fault) -> bool {
    match (fault.kind, fault.stage) {
        (FaultKind::QueueFull | FaultKind::NoEndpoint | FaultKind::NotListed, _) => true,
        (FaultKind::Refused | FaultKind::Untrusted | FaultKind::Timeout, Stage::Connect) => true,
        (FaultKind::Reset, _) => fault.sent == Sent::Nothing,
        _ => false,
    }
}

/// One cluster by weight, drawn once and kept through the attempts on it.
#[inline]
pub(super) fn draw(targets: &Targets, request: &Request, lane: &LaneState) -> ClusterId {
    match &targets.shares[..] {
        [(only, _)] => *only,
        shares if request.route().1.narrows => draw_of(&taking_part(shares, request), lane),
        shares => draw_of(shares, lane),
    }
}

/// Of these clusters those of which some endpoint lists the request's model. Where there is none, one of them tells why: one
/// of which nobody knows what it serves, if there is such a one.
#[cold]
#[inline(never)]
fn taking_part(shares: &[(ClusterId, u32)], request: &Request) -> Vec<(ClusterId, u32)> {
    let model = request.model_upstream();
    let asked: Vec<_> = shares
        .iter()
        .filter(|(_, weight)| *weight > 0)
        .map(|share| (*share, request.plan.clusters[share.0].who_lists(model)))
        .collect();
    let those = |is: fn(&Result<Option<Positions>, NoPick>) -> bool| -> Vec<_> {
        asked.iter().filter(|(_, who)| is(who)).map(|(share, _)| *share).collect()
    };
    let ways = [those(Result::is_ok), those(|who| matches!(who, Err(NoPick::NoEndpoint))), those(|_| true)];
    ways.into_iter().find(|way| !way.is_empty()).unwrap_or_default()
}

fn draw_of(shares: &[(ClusterId, u32)], lane: &LaneState) -> ClusterId {
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
