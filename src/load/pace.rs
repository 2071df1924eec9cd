//! When requests are meant to start: evenly, whatever became of those before.

use std::time::{Duration, Instant};

/// The intended starts of an open loop.
#[derive(Debug, Clone)]
pub struct Schedule {
    begin: Instant,
    rate: f64,
    number: u64,
}

impl Schedule {
    /// `rate` starts a second, the first at `begin`.
    pub fn new(begin: Instant, rate: f64) -> Self {
        Self { begin, rate, number: 0 }
    }

    /// When the next start is meant to be. Computed from the beginning, so that no rounding adds up.
    pub fn next(&self) -> Instant {
        self.begin + Duration::from_secs_f64(self.number as f64 / self.rate)
    }

    /// The next start, if it is due.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next();
        (due <= now).then(|| {
            self.number += 1;
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_keep_their_times_when_nobody_looked_for_a_while() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin, 1000.0);
        let late = begin + Duration::from_millis(10);
        let starts: Vec<_> = std::iter::from_fn(|| schedule.take(late)).collect();
        assert_eq!(starts.len(), 11);
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_millis(1)));
        assert_eq!(schedule.next(), begin + Duration::from_millis(11));
    }

    #[test]
    fn a_rate_that_is_no_whole_number_holds_over_time() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin, 333.3);
        let end = begin + Duration::from_secs(10);
        assert_eq!(std::iter::from_fn(|| schedule.take(end)).count(), 3334);
    }
}
