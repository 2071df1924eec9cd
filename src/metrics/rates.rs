//! B, throughput: counters over the last seconds as rates.

use std::collections::VecDeque;

use super::recorder::RouteCounts;
use crate::base::limits::RATE_WINDOW_S;

/// Where the counters of B stood at some second.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
    tokens: u64,
}

/// A sliding window over the counters of one route.
#[derive(Debug, Default)]
pub struct Rates {
    seconds: VecDeque<Standing>,
}

/// Rates a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerSecond {
    /// Exchanges.
    pub requests: f64,
    /// Body bytes from clients.
    pub bytes_in: f64,
    /// Body bytes to clients.
    pub bytes_out: f64,
    /// Token-bearing events.
    pub tokens: f64,
}

impl Rates {
    /// Notes where the counters stand after one more second.
    pub fn second_passed(&mut self, counts: &RouteCounts) {
        if self.seconds.len() > RATE_WINDOW_S {
            self.seconds.pop_front();
        }
        self.seconds.push_back(Standing {
            requests: counts.requests,
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            tokens: counts.tokens,
        });
    }

    /// The average over the window; zero until two seconds were noted.
    pub fn per_second(&self) -> PerSecond {
        let first = self.seconds.front().copied().unwrap_or_default();
        let last = self.seconds.back().copied().unwrap_or_default();
        let span = self.seconds.len().saturating_sub(1).max(1) as f64;
        PerSecond {
            requests: (last.requests - first.requests) as f64 / span,
            bytes_in: (last.bytes_in - first.bytes_in) as f64 / span,
            bytes_out: (last.bytes_out - first.bytes_out) as f64 / span,
            tokens: (last.tokens - first.tokens) as f64 / span,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_average_the_window_and_forget_what_is_older() {
        let mut rates = Rates::default();
        let mut counts = RouteCounts::default();
        rates.second_passed(&counts);
        assert_eq!(rates.per_second().requests, 0.0);
        for _ in 0..100 {
            counts.requests += 50;
            rates.second_passed(&counts);
        }
        assert_eq!(rates.per_second().requests, 50.0);
        for _ in 0..20 {
            rates.second_passed(&counts);
        }
        assert_eq!(rates.per_second().requests, 0.0);
    }
}
