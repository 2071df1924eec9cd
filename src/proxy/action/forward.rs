//! Drives `Dispatch`: asks whom to try, tries, tells what happened.

use std::time::Instant;

use crate::base::fault::Fault;
use crate::base::ids::ClusterId;
use crate::base::time::deadline;
use crate::cluster::dispatch::{Dispatch, Repeat, Step};
use crate::codec::framing::Framing;
use crate::proxy::attempt::{self, Answer};
use crate::proxy::downstream::Client;
use crate::proxy::exchange::Exchange;
use crate::proxy::state::LaneState;

/// Sends the request to one of `targets` until one answers or nothing may be tried any more.
pub(in crate::proxy) async fn run(
    targets: &[(ClusterId, u32)],
    exchange: &mut Exchange,
    client: &mut Client,
    lane: &LaneState,
) -> Result<Answer, Fault> {
    let cluster = draw(targets, lane);
    let total = exchange.plan.plan.clusters[cluster].settings.timeouts.total;
    exchange.deadline = total.and_then(|total| deadline(Instant::now(), Some(total)));
    let mut dispatch = Dispatch::new(repeat(exchange));
    loop {
        let step = dispatch.next(&mut exchange.plan.clusters[cluster].borrow_mut());
        match step {
            Step::Attempt { position, connection } => {
                let endpoint = exchange.plan.plan.clusters[cluster].endpoints[position];
                match attempt::run(exchange, client, lane, endpoint, connection).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => dispatch.record(position, failure),
                }
            }
            Step::GiveUp(fault) => return Err(fault),
        }
    }
}

/// One cluster by weight, drawn once an exchange and kept through its attempts.
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

fn repeat(exchange: &Exchange) -> Repeat {
    // A body that went out is not kept, so it cannot go out again.
    if exchange.head.method().is_safe() && exchange.head.framing() == Framing::Empty {
        Repeat::Safe
    } else {
        Repeat::Never
    }
}
