//! Who gets the next attempt: balancers pick among candidates; they know no socket and read no clock.

mod least_work;
mod random;
mod round_robin;

use std::sync::Arc;

pub use least_work::LeastWork;
pub use random::Random;
pub use round_robin::RoundRobin;

use crate::base::choice::{Words, words};
use crate::base::rng::Rng;
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
    fn admits(&self, position: usize) -> bool {
        self.all[position].verdict.is_admitted() && !self.tried.contains(&position)
    }
}

/// The roll call: which balancer a cluster uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalancerKind {
    /// In turn, by weight.
    RoundRobin,
    /// By chance, by weight.
    Random,
    /// Least requests in flight for its weight.
    LeastWork,
}

words!(BalancerKind { RoundRobin = "round-robin", Random = "random", LeastWork = "least-work" });

impl BalancerKind {
    /// Its name in configuration.
    pub fn name(self) -> &'static str {
        self.word()
    }
}

/// One lane's balancer of one cluster.
#[derive(Debug)]
pub enum Balancer {
    /// In turn.
    RoundRobin(RoundRobin),
    /// By chance.
    Random(Random),
    /// Least work.
    LeastWork(LeastWork),
}

impl Balancer {
    /// A fresh balancer for `count` endpoints. Lanes start at different places, or all would pick the same first.
    pub fn start(kind: BalancerKind, count: usize, rng: &mut Rng) -> Self {
        match kind {
            BalancerKind::RoundRobin => Self::RoundRobin(RoundRobin::new(count, rng)),
            BalancerKind::Random => Self::Random(Random),
            BalancerKind::LeastWork => Self::LeastWork(LeastWork),
        }
    }

    /// The position of the endpoint to try next, none if each was tried. Allocates nothing.
    pub fn pick(&mut self, from: Candidates<'_>, rng: &mut Rng) -> Option<usize> {
        match self {
            Self::RoundRobin(balancer) => balancer.pick(from),
            Self::Random(balancer) => balancer.pick(from, rng),
            Self::LeastWork(balancer) => balancer.pick(from, rng),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let load = || Arc::new(EndpointLoad::new(1));
        weights.iter().map(|&weight| Candidate { weight, load: load(), verdict: Arc::default() }).collect()
    }
}
