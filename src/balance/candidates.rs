//! What a balancer picks from: the endpoints of a cluster as it sees them.

use std::sync::Arc;

use crate::board::loads::EndpointLoad;
use crate::board::verdicts::Verdict;

/// One endpoint of a cluster, as balancers see it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its share relative to the others; at least 1.
    pub weight: u32,
    /// Its load over all lanes.
    pub load: Arc<EndpointLoad>,
    /// Whether it is admitted.
    pub verdict: Arc<Verdict>,
}

/// The endpoints to pick from: the admitted ones, without those that were tried.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// All endpoints of the cluster, by position.
    pub all: &'a [Candidate],
    /// Positions that already failed this exchange.
    pub tried: &'a [usize],
}

impl Candidates<'_> {
    pub(super) fn admits(&self, position: usize) -> bool {
        self.all[position].verdict.is_admitted() && !self.tried.contains(&position)
    }
}

#[cfg(test)]
pub(super) fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let load = || Arc::new(EndpointLoad::new(1));
    weights.iter().map(|&weight| Candidate { weight, load: load(), verdict: Arc::default() }).collect()
}
