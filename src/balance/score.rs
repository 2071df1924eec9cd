//! The lowest score wins; of those that are alike chance decides, by weight.

use super::candidates::{Candidate, Candidates};
use crate::base::rng::Rng;

/// The position of the candidate with the lowest score; `score` is given its position, its weight for now, and itself.
pub(super) fn lowest(
    from: Candidates<'_>,
    rng: &mut Rng,
    mut score: impl FnMut(usize, u64, &Candidate) -> f64,
) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    let mut tied = 0;
    for (position, weight, candidate) in from.each() {
        let score = score(position, weight, candidate);
        match best {
            Some((_, least)) if score > least => continue,
            // The new one replaces with its part of the weight so far: each gets its share, in one pass. Without it all
            // lanes would herd onto the first, and light ones that are idle would never be asked.
            Some((_, least)) if score == least => {
                tied += weight;
                if rng.below(tied) >= weight {
                    continue;
                }
            }
            _ => tied = weight,
        }
        best = Some((position, score));
    }
    best.map(|(position, _)| position)
}
