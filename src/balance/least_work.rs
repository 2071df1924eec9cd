//! Least work for its weight, over all lanes, more of one that is pressed by its own word; among equal ones chance decides, by
//! weight.

use super::candidates::Candidates;
use super::score::lowest;
use crate::base::rng::Rng;

/// Picks the endpoint that is loaded least for its weight; keeps no state of its own, for the board has it.
#[derive(Debug)]
pub struct LeastWork;

impl LeastWork {
    /// The least loaded endpoint.
    pub fn pick(&mut self, from: Candidates<'_>, rng: &mut Rng) -> Option<usize> {
        lowest(from, rng, |_, weight, candidate| candidate.work_ahead(from.now) / weight as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::balance::testing::{among, candidates};
    use crate::base::ids::{Id, LaneId};
    use crate::base::limits::{EXCHANGE_WORK_BYTES, SIGNAL_LASTS};
    use crate::board::pressure::EVEN;

    #[test]
    fn load_is_compared_for_its_weight() {
        let all = candidates(&[1, 4]);
        let mut rng = Rng::new(3);
        let lane = LaneId::at(0);
        let mut picks = [0; 2];
        for _ in 0..100 {
            let position = LeastWork.pick(among(&all), &mut rng).unwrap();
            all[position].load.add(lane, 7);
            picks[position] += 1;
        }
        assert_eq!(picks, [20, 80]);
    }

    #[test]
    fn work_counts_not_requests() {
        let all = candidates(&[1, 1]);
        let (mut rng, lane) = (Rng::new(3), LaneId::at(0));
        all[0].load.add(lane, 100_000);
        for number in 0..10 {
            assert_eq!(LeastWork.pick(among(&all), &mut rng), Some(1), "{number}");
            all[1].load.add(lane, 10_000);
        }
        all[1].load.add(lane, 1);
        assert_eq!(LeastWork.pick(among(&all), &mut rng), Some(0));
        all[0].load.remove(lane, 100_000);
        assert_eq!((all[0].load.work(), all[0].load.in_flight()), (0, 0));
    }

    #[test]
    fn who_is_pressed_counts_for_more_and_is_still_asked() {
        let all = candidates(&[1, 1]);
        let (mut rng, lane, now) = (Rng::new(3), LaneId::at(0), Instant::now());
        all[0].load.pressure().note(EVEN, now);
        let mut picks = [0; 2];
        for _ in 0..90 {
            let position = LeastWork.pick(Candidates { now, ..among(&all) }, &mut rng).unwrap();
            all[position].load.add(lane, EXCHANGE_WORK_BYTES.into());
            picks[position] += 1;
        }
        assert!((29..=30).contains(&picks[0]), "half as much as the other: {picks:?}");
        // Where it is the only one it is asked, and what it said is forgotten.
        assert_eq!(LeastWork.pick(Candidates { tried: &[1], now, ..among(&all) }, &mut rng), Some(0));
        let later = now + SIGNAL_LASTS;
        for _ in 0..30 {
            let position = LeastWork.pick(Candidates { now: later, ..among(&all) }, &mut rng).unwrap();
            assert_eq!(position, 0, "it has less");
            all[position].load.add(lane, EXCHANGE_WORK_BYTES.into());
        }
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
