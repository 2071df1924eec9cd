//! What may be repeated, and how much of it: reasons that the operator allows, and a budget that keeps repeats from
//! multiplying the load of a cluster that fails.

use std::time::{Duration, Instant};

use crate::base::choice::words;

/// Why an attempt is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection was made.
    Connect,
    /// A pooled connection had ended before the endpoint read a byte of the request, or the method is idempotent.
    Stale,
    /// The endpoint answered 429.
    TooManyRequests,
    /// The endpoint answered 503.
    Unavailable,
}

words!(RetryOn {
    Connect = "connect",
    Stale = "stale",
    TooManyRequests = "429",
    Unavailable = "503",
});

impl RetryOn {
    /// The answer that is one of the reasons.
    pub fn of_status(status: u16) -> Option<Self> {
        match status {
            429 => Some(Self::TooManyRequests),
            503 => Some(Self::Unavailable),
            _ => None,
        }
    }
}

/// The rules of one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// All tries of a request, the first included.
    pub attempts: u32,
    /// What a further try is made for.
    pub on: Vec<RetryOn>,
    /// Further tries beside the first ones, 0 to 1.
    pub share: f64,
}

/// Repeats that may be saved up: enough for a burst that meets an endpoint which has just died.
const SAVED_MAX: f64 = 10.0;
/// One more each second, so that a gateway with little to do may repeat at all.
const REFILL: Duration = Duration::from_secs(1);

/// The budget of one cluster on one lane: each request adds its share, each second a whole, each repeat takes a whole.
///
/// A repeat on a fresh connection after a stale one is not charged: there is one for each pooled connection at most.
#[derive(Debug, Clone)]
pub struct Budget {
    share: f64,
    saved: f64,
    since: Option<Instant>,
}

impl Budget {
    /// Repeats up to `share` of all requests, beside the few that may always be made; none at all where it is zero.
    pub fn new(share: f64) -> Self {
        Self { share, saved: SAVED_MAX, since: None }
    }

    /// A request is made.
    pub fn earn(&mut self) {
        self.saved = (self.saved + self.share).min(SAVED_MAX);
    }

    /// One repeat, if there is one left.
    pub fn spend(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since.unwrap_or(now));
        self.since = Some(now);
        self.saved = (self.saved + passed.as_secs_f64() / REFILL.as_secs_f64()).min(SAVED_MAX);
        let granted = self.share > 0.0 && self.saved >= 1.0;
        if granted {
            self.saved -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_a_share_of_requests_after_a_burst() {
        let (mut budget, now) = (Budget::new(0.1), Instant::now());
        let mut granted = 0;
        for _ in 0..1000 {
            budget.earn();
            granted += u32::from(budget.spend(now));
        }
        assert!((105..=110).contains(&granted), "{granted}");
    }

    #[test]
    fn a_second_gives_one_back_and_no_more_than_ten_are_saved() {
        let (mut budget, now) = (Budget::new(0.01), Instant::now());
        assert_eq!((0..20).filter(|_| budget.spend(now)).count(), 10);
        assert!(!budget.spend(now + Duration::from_millis(900)));
        assert!(budget.spend(now + Duration::from_millis(1000)));
        let later = now + Duration::from_secs(3600);
        assert_eq!((0..20).filter(|_| budget.spend(later)).count(), 10);
    }

    #[test]
    fn no_share_is_no_repeat() {
        assert!(!Budget::new(0.0).spend(Instant::now()));
    }
}
