//! Who gets the next attempt: balancers pick among candidates; they know no socket and read no clock.

mod asked;
mod candidates;
mod hash_ring;
mod kind;
mod least_work;
mod peak_ewma;
mod prefix;
mod random;
mod ring;
mod round_robin;
mod score;

use std::sync::Arc;
use std::time::Instant;

pub use asked::{Affinity, Asked};
pub use candidates::{Candidate, Candidates};
use hash_ring::HashRing;
pub use kind::BalancerKind;
use least_work::LeastWork;
use peak_ewma::PeakEwma;
use prefix::Prefix;
pub use prefix::Placed;
use random::Random;
pub use ring::Ring;
use round_robin::RoundRobin;

use crate::base::rng::Rng;
use crate::board::blocks::Blocks;

/// How a cluster is balanced, with what its lanes share of it.
#[derive(Debug, Clone)]
pub enum Balancing {
    /// In turn, by weight.
    RoundRobin,
    /// By chance, by weight.
    Random,
    /// Least work for its weight.
    LeastWork,
    /// Whoever is expected to answer first.
    PeakEwma,
    /// By the hash of a value, on this ring.
    Hash(Arc<Ring>),
    /// By the beginning of the prompt, after this table.
    Prefix(Arc<Blocks>),
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
    /// Whoever is expected to answer first.
    PeakEwma(PeakEwma),
    /// By the hash of a value.
    Hash(HashRing),
    /// By the beginning of the prompt.
    Prefix(Prefix),
}

impl Balancer {
    /// A fresh balancer for `count` endpoints. Lanes start at different places, or all would pick the same first.
    pub fn start(how: &Balancing, count: usize, rng: &mut Rng) -> Self {
        match how {
            Balancing::RoundRobin => Self::RoundRobin(RoundRobin::new(count, rng)),
            Balancing::Random => Self::Random(Random),
            Balancing::LeastWork => Self::LeastWork(LeastWork),
            Balancing::PeakEwma => Self::PeakEwma(PeakEwma),
            Balancing::Hash(ring) => Self::Hash(HashRing(Arc::clone(ring))),
            Balancing::Prefix(table) => Self::Prefix(Prefix::new(Arc::clone(table), count)),
        }
    }

    /// The position of the endpoint to try next, none if each was tried. Allocates nothing.
    pub fn pick(&mut self, from: Candidates<'_>, asked: &Asked<'_>, rng: &mut Rng) -> Option<usize> {
        match self {
            Self::RoundRobin(balancer) => balancer.pick(from),
            Self::Random(balancer) => balancer.pick(from, rng),
            Self::LeastWork(balancer) => balancer.pick(from, rng),
            Self::PeakEwma(balancer) => balancer.pick(from, rng),
            Self::Hash(balancer) => balancer.pick(from, asked, rng),
            Self::Prefix(balancer) => balancer.pick(from, asked, rng),
        }
    }

    /// The endpoint at `position` is sent it; what is to be remembered until it is answered, if anything.
    pub fn placed(&mut self, position: usize, asked: &Asked<'_>, now: Instant) -> Option<Box<Placed>> {
        match self {
            Self::Prefix(balancer) => balancer.placed(position, asked, now).map(Box::new),
            Self::RoundRobin(_)
            | Self::Random(_)
            | Self::LeastWork(_)
            | Self::PeakEwma(_)
            | Self::Hash(_) => None,
        }
    }
}

#[cfg(test)]
mod testing;
