//! How fast each endpoint answered of late, times what it has to do already.

use super::candidates::{Candidate, Candidates};
use super::score::lowest;
use crate::base::rng::Rng;

/// Picks the endpoint whose answer is expected first; keeps no state of its own, for the board has it.
#[derive(Debug)]
pub struct PeakEwma;

impl PeakEwma {
    /// The one with the least cost: seconds, times requests in flight and one more, for its weight.
    pub fn pick(&mut self, from: Candidates<'_>, rng: &mut Rng) -> Option<usize> {
        let unknown = Self::unknown(from);
        lowest(from, rng, |_, weight, candidate| Self::cost(candidate, weight, unknown, from))
    }

    /// What is expected of an endpoint that has not answered yet: as of the fastest one, so that it is asked, and what it
    /// has to do keeps others away.
    pub(super) fn unknown(from: Candidates<'_>) -> f64 {
        let known = from.each().filter_map(|(_, _, candidate)| candidate.load.latency().seconds(from.now));
        let least = known.fold(f64::INFINITY, f64::min);
        if least.is_finite() { least } else { 1.0 }
    }

    pub(super) fn cost(candidate: &Candidate, weight: u64, unknown: f64, from: Candidates<'_>) -> f64 {
        let seconds = candidate.load.latency().seconds(from.now).unwrap_or(unknown);
        seconds * (candidate.load.in_flight() + 1) as f64 * candidate.pressure(from.now) / weight as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::balance::testing::{among, candidates};
    use crate::base::ids::{Id, LaneId};

    #[test]
    fn a_slow_endpoint_is_given_as_much_less_as_it_is_slower() {
        let all = candidates(&[1, 1]);
        let from = among(&all);
        let mut rng = Rng::new(3);
        all[0].load.latency().note(Duration::from_millis(400), from.now);
        all[1].load.latency().note(Duration::from_millis(100), from.now);
        let mut picks = [0; 2];
        for _ in 0..100 {
            let position = PeakEwma.pick(from, &mut rng).unwrap();
            all[position].load.add(LaneId::at(0), 1);
            picks[position] += 1;
        }
        assert_eq!(picks, [20, 80]);
    }

    #[test]
    fn one_that_nobody_knows_is_asked_and_not_swamped() {
        let all = candidates(&[1, 1]);
        let from = among(&all);
        let mut rng = Rng::new(3);
        all[0].load.latency().note(Duration::from_millis(100), from.now);
        let mut picks = [0; 2];
        for _ in 0..100 {
            let position = PeakEwma.pick(from, &mut rng).unwrap();
            all[position].load.add(LaneId::at(0), 1);
            picks[position] += 1;
        }
        assert_eq!(picks, [50, 50]);
    }

    #[test]
    fn one_that_was_slow_is_asked_again_in_time() {
        let all = candidates(&[1, 1]);
        let mut from = among(&all);
        let mut rng = Rng::new(3);
        all[0].load.latency().note(Duration::from_secs(5), from.now);
        for second in 0..60 {
            from.now += Duration::from_secs(1);
            all[1].load.latency().note(Duration::from_millis(100), from.now);
            if PeakEwma.pick(from, &mut rng) == Some(0) {
                assert!(second > 20, "{second}");
                return;
            }
        }
        panic!("it was never asked");
    }
}
