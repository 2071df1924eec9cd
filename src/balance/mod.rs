//! Who gets the next attempt: balancers pick among candidates; they know no socket and read no clock.

mod candidates;
mod least_work;
mod positions;
mod random;
mod round_robin;

pub use candidates::{Candidate, Candidates};
pub use least_work::LeastWork;
pub use positions::Positions;
pub use random::Random;
pub use round_robin::RoundRobin;

use crate::base::choice::{Words, words};
use crate::base::rng::Rng;

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
mod testing;
