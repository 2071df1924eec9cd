//! Who gets the next attempt: balancers pick among candidates; they know no socket and read no clock.

mod asked;
mod candidates;
mod hash_ring;
mod kind;
mod least_work;
mod peak_ewma;
mod positions;
mod prefix;
mod random;
mod ring;
mod round_robin;
mod score;
mod told;

use std::sync::Arc;
use std::time::Instant;

pub use asked::{Affinity, Asked};
pub use candidates::{Candidate, Candidates};
use hash_ring::HashRing;
pub use kind::BalancerKind;
use least_work::LeastWork;
use peak_ewma::PeakEwma;
pub use positions::Positions;
use prefix::{Placed, Prefix};
use random::Random;
pub use ring::Ring;
use round_robin::RoundRobin;
pub use told::Told;

use crate::base::rng::Rng;
use crate::board::blocks::Blocks;
use crate::board::loads::EndpointLoad;

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

impl Balancing {
    /// Bytes that its lanes share.
    pub fn bytes(&self) -> usize {
        match self {
            Self::RoundRobin | Self::Random | Self::LeastWork | Self::PeakEwma => 0,
            Self::Hash(ring) => ring.bytes(),
            Self::Prefix(_) => Blocks::BYTES,
        }
    }
}

/// What a balancer remembers of a request until it is answered; in a box, for most have nothing.
#[derive(Debug)]
pub enum Remembered {
    /// When its endpoint was picked.
    Since(Instant),
    /// Its prompt.
    Prompt(Placed),
}

impl Remembered {
    /// It was answered by this endpoint.
    pub fn timed(&self, load: &EndpointLoad, now: Instant) {
        if let Self::Since(since) = self {
            load.latency().note(now.saturating_duration_since(*since), now);
        }
    }

    /// Its endpoint had `cached` of `prompt` tokens computed already.
    pub fn learn(&self, cached: u64, prompt: u64) {
        if let Self::Prompt(placed) = self {
            placed.learn(cached, prompt);
        }
    }

    /// It failed.
    pub fn take_back(&self) {
        if let Self::Prompt(placed) = self {
            placed.take_back();
        }
    }

    /// Whether it is of use what its answer says of tokens.
    pub fn is_learning(&self) -> bool {
        matches!(self, Self::Prompt(_))
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
    #[inline]
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

    /// What it thinks of each candidate, as if it were to pick now.
    pub fn tell(&mut self, from: Candidates<'_>, asked: &Asked<'_>) -> Vec<Told> {
        match self {
            Self::RoundRobin(balancer) => told::round_robin(balancer, from),
            Self::Random(_) => told::random(from),
            Self::LeastWork(_) => told::least_work(from),
            Self::PeakEwma(_) => told::peak_ewma(from),
            Self::Hash(balancer) => told::hash(balancer, from, asked),
            Self::Prefix(balancer) => told::prefix(balancer, from, asked),
        }
    }

    /// The endpoint at `position` is sent it; what is to be remembered until it is answered, if anything.
    #[inline]
    pub fn placed(&mut self, position: usize, asked: &Asked<'_>, now: Instant) -> Option<Box<Remembered>> {
        match self {
            Self::Prefix(balancer) => {
                balancer.placed(position, asked, now).map(|placed| Box::new(Remembered::Prompt(placed)))
            }
            Self::PeakEwma(_) => Some(Box::new(Remembered::Since(now))),
            Self::RoundRobin(_) | Self::Random(_) | Self::LeastWork(_) | Self::Hash(_) => None,
        }
    }
}

#[cfg(test)]
mod testing;
