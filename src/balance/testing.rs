//! Endpoints without a plan, for tests.

use std::sync::Arc;
use std::time::Instant;

use super::{Candidate, Candidates};
use crate::board::loads::EndpointLoad;
use crate::board::verdicts::Verdict;

/// One endpoint of each weight.
pub(super) fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let load = || Arc::new(EndpointLoad::new(1, Instant::now()));
    let verdict = || Arc::new(Verdict::new(Instant::now()));
    weights.iter().map(|&weight| Candidate { weight, load: load(), verdict: verdict() }).collect()
}

/// All of them, and none tried.
pub(super) fn among(all: &[Candidate]) -> Candidates<'_> {
    Candidates { all, tried: &[], only: None, with_held: false, now: Instant::now() }
}
