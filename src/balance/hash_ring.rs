//! Where a value's hash falls on a ring of endpoints, and the next one while that has too much to do.

use std::sync::Arc;

use super::asked::{Affinity, Asked};
use super::candidates::Candidates;
use super::least_work::LeastWork;
use super::ring::Ring;
use crate::base::limits::RING_LOAD_MAX;
use crate::base::rng::Rng;

/// Consistent hashing with bounded loads.
#[derive(Debug)]
pub struct HashRing(pub(super) Arc<Ring>);

impl HashRing {
    /// The first endpoint on the ring from the value on that is admitted and has no more than [`RING_LOAD_MAX`] of the mean
    /// work for its weight. A request without the value goes to the least loaded.
    pub fn pick(&mut self, from: Candidates<'_>, asked: &Asked<'_>, rng: &mut Rng) -> Option<usize> {
        let Affinity::Value(value) = asked.affinity else { return LeastWork.pick(from, rng) };
        let most = Self::most(from);
        // One of them has no more than the mean, so that somebody is found; whom the ring does not know is no candidate.
        let fits = |position: &usize| {
            from.get(*position)
                .is_some_and(|(weight, candidate)| candidate.work(from.now) <= most * weight as f64)
        };
        self.0.from(*value).find(fits)
    }

    /// The most work that one may have, for each weight of 1 that it has now.
    pub(super) fn most(from: Candidates<'_>) -> f64 {
        let (work, weights) = from.each().fold((0.0, 0.0), |(work, weights), (_, weight, candidate)| {
            (work + candidate.work(from.now), weights + weight as f64)
        });
        if weights == 0.0 { 0.0 } else { RING_LOAD_MAX * work / weights }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::testing::{among, candidates};
    use crate::base::ids::{Id, LaneId};
    use crate::base::limits::SIGNAL_LASTS;
    use crate::board::pressure::EVEN;

    const URLS: [&str; 4] = ["http://a", "http://b", "http://c", "http://d"];

    fn balancer() -> HashRing {
        HashRing(Arc::new(Ring::of(URLS.iter().map(|url| (*url, 1)))))
    }

    fn pick(from: Candidates<'_>, value: u64) -> Option<usize> {
        let affinity = Affinity::Value(value);
        balancer().pick(from, &Asked { work: 1, affinity: &affinity }, &mut Rng::new(1))
    }

    #[test]
    fn a_value_stays_where_it_is_while_that_is_admitted_and_not_overloaded() {
        let all = candidates(&[1; 4]);
        let from = among(&all);
        let (value, lane) = (1 << 60, LaneId::at(0));
        let home = pick(from, value).unwrap();
        let next = pick(Candidates { tried: &[home], ..from }, value).unwrap();
        assert!(home != next);
        all[home].load.add(lane, 100);
        assert_eq!(pick(from, value), Some(next), "it has all of the work");
        (0..4).filter(|position| *position != home).for_each(|position| all[position].load.add(lane, 75));
        assert_eq!(pick(from, value), Some(home), "100 of 81.25 in the mean is within a quarter more");
        all[home].load.add(lane, 10);
        assert_eq!(pick(from, value), Some(next), "110 is not");
    }

    #[test]
    fn one_that_is_pressed_reaches_its_bound_earlier_and_keeps_its_values_while_nothing_is_to_do() {
        let all = candidates(&[1; 4]);
        let from = among(&all);
        let (value, lane) = (1 << 60, LaneId::at(0));
        let home = pick(from, value).unwrap();
        all[home].load.pressure().note(EVEN, from.now);
        assert_eq!(pick(from, value), Some(home));
        all.iter().for_each(|one| one.load.add(lane, 100));
        let next = pick(from, value).unwrap();
        assert!(next != home, "200 of 125 in the mean");
        assert_eq!(pick(Candidates { now: from.now + SIGNAL_LASTS, ..from }, value), Some(home));
    }

    #[test]
    fn without_a_value_the_least_loaded_is_asked() {
        let all = candidates(&[1; 4]);
        [5, 3, 4, 6].iter().zip(&all).for_each(|(work, one)| one.load.add(LaneId::at(0), *work));
        assert_eq!(balancer().pick(among(&all), &Asked::of_bytes(1), &mut Rng::new(1)), Some(1));
    }

    #[test]
    fn somebody_is_found_while_anybody_is_left() {
        let mut rng = Rng::new(9);
        for _ in 0..2000 {
            let weights: Vec<u32> = (0..4).map(|_| 1 + rng.below(5) as u32).collect();
            let all = candidates(&weights);
            all.iter().for_each(|one| one.load.add(LaneId::at(0), rng.below(1000)));
            let tried: Vec<usize> = (0..4).filter(|_| rng.below(2) == 0).collect();
            let from = Candidates { tried: &tried, ..among(&all) };
            assert_eq!(pick(from, rng.next_u64()).is_some(), tried.len() < 4, "{weights:?} {tried:?}");
        }
    }
}
