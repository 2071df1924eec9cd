//! Balancing, and what may be repeated, as one decision of one cluster on one lane; knows no socket and no body.

pub mod dispatch;

use crate::balance::{Balancer, BalancerKind, Candidate, Candidates};
use crate::base::rng::Rng;

/// One cluster as one lane carries it.
#[derive(Debug)]
pub struct Cluster {
    candidates: Vec<Candidate>,
    balancer: Balancer,
    rng: Rng,
}

impl Cluster {
    /// A fresh cluster.
    pub fn start(kind: BalancerKind, candidates: Vec<Candidate>, mut rng: Rng) -> Self {
        let balancer = Balancer::start(kind, candidates.len(), &mut rng);
        Self { candidates, balancer, rng }
    }

    /// The position of the endpoint to try next, none if each was tried.
    pub fn pick(&mut self, tried: &[usize]) -> Option<usize> {
        self.balancer.pick(Candidates { all: &self.candidates, tried }, &mut self.rng)
    }
}
