//! How a cluster is balanced: its ring or its table, which stay through reloads as far as its endpoints do.

use std::sync::Arc;

use super::placing::Placing;
use super::types::{EndpointPlan, Surroundings};
use crate::balance::{BalancerKind, Balancing, Ring};
use crate::base::ids::{EndpointId, IdVec};
use crate::base::limits::{RING_POINTS, RING_POINTS_MAX};
use crate::base::problem::Problem;
use crate::board::blocks::Blocks;
use crate::codec::json::Wanted;
use crate::config::ClusterConfig;

/// What a cluster with these settings and endpoints is balanced by.
pub(super) fn of(
    (cluster, settings): (&str, &ClusterConfig),
    (own, all): (&[EndpointId], &IdVec<EndpointId, EndpointPlan>),
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> (Balancing, Placing) {
    let mut hash = || {
        // One that is too large is not built.
        let own = if fits(settings, problems) { own } else { &[] };
        let weights = own.iter().map(|id| (all[*id].url.as_str(), all[*id].weight));
        Balancing::Hash(Arc::new(Ring::of(weights)))
    };
    if own.len() == 1 {
        // There is nothing to choose, and nothing to look for.
        return (Balancing::RoundRobin, Placing::Nothing);
    }
    match &settings.balancer {
        BalancerKind::RoundRobin => (Balancing::RoundRobin, Placing::Nothing),
        BalancerKind::Random => (Balancing::Random, Placing::Nothing),
        BalancerKind::LeastWork => (Balancing::LeastWork, Placing::Nothing),
        BalancerKind::PeakEwma => (Balancing::PeakEwma, Placing::Nothing),
        BalancerKind::HashHeader(name) => (hash(), Placing::Header(name.clone())),
        BalancerKind::HashBody(path) => {
            let mut wanted = Wanted::default();
            wanted.add(path);
            (hash(), Placing::Body(Arc::new(wanted)))
        }
        BalancerKind::Prefix => {
            let urls: Vec<&str> = own.iter().map(|id| all[*id].url.as_str()).collect();
            (Balancing::Prefix(table(cluster, &urls, around)), Placing::Prompt)
        }
    }
}

/// What is known of the blocks of a cluster that stays, as far as its endpoints stay; or a table that knows nothing.
fn table(cluster: &str, urls: &[&str], around: &Surroundings<'_>) -> Arc<Blocks> {
    let known = around.previous.and_then(|plan| {
        let known = around.cluster(cluster)?;
        let Balancing::Prefix(table) = &known.balancing else { return None };
        let before: Vec<&str> = known.endpoints.iter().map(|id| plan.endpoints[*id].url.as_str()).collect();
        Some((table, before))
    });
    match known {
        Some((table, before)) if before == urls => Arc::clone(table),
        Some((table, before)) => {
            let place = |url: &&str| urls.iter().position(|other| other == url);
            let places: Vec<_> = before.iter().map(place).collect();
            Arc::new(table.moved(&places, urls.len()))
        }
        None => Arc::new(Blocks::new(urls.len(), around.at)),
    }
}

/// Whether the ring of these endpoints is not too large.
fn fits(settings: &ClusterConfig, problems: &mut Vec<Problem>) -> bool {
    let weights: u64 = settings.endpoints.iter().map(|endpoint| u64::from(endpoint.value.weight)).sum();
    let most = RING_POINTS_MAX / u64::from(RING_POINTS);
    let Some(first) = settings.endpoints.first().filter(|_| weights > most) else { return true };
    problems.push(first.problem(
        format!("the weights of the cluster sum to {weights}, too much for a ring"),
        format!("a ring has {RING_POINTS} points for each weight of 1, and {RING_POINTS_MAX} at most"),
        format!("divide all weights, so that they sum to {most} or less"),
    ));
    false
}
