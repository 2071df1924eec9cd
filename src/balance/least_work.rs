//! Least requests in flight for its weight, over all lanes; among equal ones chance decides, by weight.

use super::candidates::Candidates;
use crate::base::rng::Rng;

/// Picks the endpoint that is loaded least for its weight; keeps no state of its own, for the board has it.
#[derive(Debug)]
pub struct LeastWork;

impl LeastWork {
    /// The least loaded endpoint.
    pub fn pick(&mut self, from: Candidates<'_>, rng: &mut Rng) -> Option<usize> {
        let mut best: Option<(usize, u64, u64)> = None; // position, load, weight
        let mut tied = 0;
        for (position, weight, candidate) in from.each() {
            let load = candidate.load.in_flight();
            // load / weight against least / of, without division
            let order =
                best.map_or(std::cmp::Ordering::Less, |(_, least, of)| (load * of).cmp(&(least * weight)));
            match order {
                std::cmp::Ordering::Less => tied = weight,
                // The new one replaces with its part of the weight so far: each gets its share, in one pass. Without it
                // all lanes would herd onto the first, and light ones that are idle would never be asked.
                std::cmp::Ordering::Equal => {
                    tied += weight;
                    if rng.below(tied) >= weight {
                        continue;
                    }
                }
                std::cmp::Ordering::Greater => continue,
            }
            best = Some((position, load, weight));
        }
        best.map(|(position, _, _)| position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::testing::{among, candidates};
    use crate::base::ids::{Id, LaneId};

    #[test]
    fn load_is_compared_for_its_weight() {
        let all = candidates(&[1, 4]);
        let mut rng = Rng::new(3);
        let lane = LaneId::at(0);
        let mut picks = [0; 2];
        for _ in 0..100 {
            let position = LeastWork.pick(among(&all), &mut rng).unwrap();
            all[position].load.add(lane);
            picks[position] += 1;
        }
        assert_eq!(picks, [20, 80]);
    }

    #[test]
    fn idle_endpoints_are_picked_by_weight() {
        let all = candidates(&[1, 3, 4]);
        let mut rng = Rng::new(3);
        let mut picks = [0; 3];
        for _ in 0..8000 {
            picks[LeastWork.pick(among(&all), &mut rng).unwrap()] += 1;
        }
        assert!(
            picks.iter().zip([1000_i32, 3000, 4000]).all(|(n, mean)| (n - mean).abs() < 200),
            "{picks:?}"
        );
    }

    #[test]
    fn equal_endpoints_are_picked_alike() {
        let all = candidates(&[1, 1, 1]);
        let mut rng = Rng::new(3);
        let mut picks = [0; 3];
        for _ in 0..3000 {
            picks[LeastWork.pick(among(&all), &mut rng).unwrap()] += 1;
        }
        assert!(picks.iter().all(|n| (880..1120).contains(n)), "{picks:?}");
    }
}
