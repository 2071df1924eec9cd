//! In turn by weight, smoothly: shares come interleaved, not in runs.

use super::candidates::Candidates;
use crate::base::rng::Rng;

/// Smooth weighted round robin, as nginx does it: each pick raises every endpoint by its weight and takes the sum
/// from the one that stands highest.
#[derive(Debug)]
pub struct RoundRobin {
    standing: Vec<i64>,
}

impl RoundRobin {
    /// For `count` endpoints, starting anywhere.
    pub fn new(count: usize, rng: &mut Rng) -> Self {
        // A head start of less than any weight shuffles who is first and changes no share.
        Self { standing: (0..count).map(|_| -(rng.below(2) as i64)).collect() }
    }

    /// How far the endpoint at `position` has come towards its turn.
    pub(super) fn standing(&self, position: usize) -> f64 {
        self.standing[position] as f64
    }

    /// The next in turn.
    pub fn pick(&mut self, from: Candidates<'_>) -> Option<usize> {
        let mut best: Option<usize> = None;
        let mut sum = 0;
        for (position, weight, _) in from.each() {
            let weight = weight as i64;
            sum += weight;
            self.standing[position] += weight;
            if best.is_none_or(|best| self.standing[position] > self.standing[best]) {
                best = Some(position);
            }
        }
        if let Some(best) = best {
            self.standing[best] -= sum;
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::testing::{among, candidates};

    #[test]
    fn shares_follow_weights_exactly() {
        let all = candidates(&[5, 1, 1]);
        let mut balancer = RoundRobin::new(3, &mut Rng::new(1));
        let mut picks = [0u32; 3];
        for _ in 0..700 {
            picks[balancer.pick(among(&all)).unwrap()] += 1;
        }
        assert!(picks[0].abs_diff(500) <= 5 && picks[1].abs_diff(100) <= 5, "{picks:?}");
    }

    #[test]
    fn tried_endpoints_are_passed_over() {
        let all = candidates(&[1, 1]);
        let mut balancer = RoundRobin::new(2, &mut Rng::new(1));
        assert_eq!(balancer.pick(Candidates { tried: &[0], ..among(&all) }), Some(1));
        assert_eq!(balancer.pick(Candidates { tried: &[0, 1], ..among(&all) }), None);
    }
}
