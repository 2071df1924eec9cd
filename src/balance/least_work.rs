//! Least requests in flight for its weight, over all lanes; ties are broken by chance.

use super::Candidates;
use crate::base::rng::Rng;

/// Picks the endpoint whose next request would find the least company; keeps no state of its own, for the board has it.
#[derive(Debug)]
pub struct LeastWork;

impl LeastWork {
    /// The least loaded endpoint.
    pub fn pick(&mut self, from: Candidates<'_>, rng: &mut Rng) -> Option<usize> {
        let mut best: Option<(usize, u64, u64)> = None; // position, load after this request, weight
        let mut ties = 1;
        for (position, candidate) in from.all.iter().enumerate().filter(|(at, _)| from.admits(*at)) {
            let (load, weight) = (candidate.load.in_flight() + 1, u64::from(candidate.weight));
            let Some((_, least, of)) = best else {
                best = Some((position, load, weight));
                continue;
            };
            // load / weight against least / of, without division
            match (load * of).cmp(&(least * weight)) {
                std::cmp::Ordering::Less => {
                    ties = 1;
                    best = Some((position, load, weight));
                }
                std::cmp::Ordering::Equal => {
                    // The n-th equal one replaces with chance 1/n: each is as likely, in one pass. Without it all
                    // lanes would herd onto the first.
                    ties += 1;
                    if rng.below(ties) == 0 {
                        best = Some((position, load, weight));
                    }
                }
                std::cmp::Ordering::Greater => {}
            }
        }
        best.map(|(position, _, _)| position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::candidates;
    use crate::base::ids::{Id, LaneId};

    #[test]
    fn load_is_compared_for_its_weight() {
        let all = candidates(&[1, 4]);
        let mut rng = Rng::new(3);
        let lane = LaneId::at(0);
        let mut picks = [0; 2];
        for _ in 0..100 {
            let position = LeastWork.pick(Candidates { all: &all, tried: &[] }, &mut rng).unwrap();
            all[position].load.add(lane);
            picks[position] += 1;
        }
        assert_eq!(picks, [20, 80]);
    }

    #[test]
    fn equal_endpoints_are_picked_alike() {
        let all = candidates(&[1, 1, 1]);
        let mut rng = Rng::new(3);
        let mut picks = [0; 3];
        for _ in 0..3000 {
            picks[LeastWork.pick(Candidates { all: &all, tried: &[] }, &mut rng).unwrap()] += 1;
        }
        assert!(picks.iter().all(|n| (880..1120).contains(n)), "{picks:?}");
    }
}
