//! The last minutes of a route, slot by slot: what the dashboard draws.

use std::collections::VecDeque;

use super::recorder::RouteCounts;
use super::window::{Quantiles, Window};
use crate::base::limits::HISTORY_SLOTS;

/// Rows of a heat map.
pub const HEAT_ROWS: usize = 40;

/// Upper bounds of the rows of a heat map, microseconds: each one and a half times the one before, from 100 us to twelve
/// minutes.
pub const HEAT_US: [u64; HEAT_ROWS] = {
    let (mut bounds, mut at) = ([100; HEAT_ROWS], 1);
    while at < HEAT_ROWS {
        bounds[at] = bounds[at - 1] * 3 / 2;
        at += 1;
    }
    bounds
};

/// What happened in one slot.
#[derive(Debug, Clone)]
pub struct Point {
    /// Exchanges that ended.
    pub requests: u64,
    /// Of them, those that ended as intended.
    pub success: u64,
    /// Of them, those whose client left early.
    pub client_closed: u64,
    /// Body bytes from clients.
    pub bytes_in: u64,
    /// Body bytes to clients.
    pub bytes_out: u64,
    /// Token-bearing events.
    pub tokens: u64,
    /// T.
    pub total: Quantiles,
    /// TTFT.
    pub ttft: Quantiles,
    /// ITL.
    pub itl: Quantiles,
    /// How many T's were at most each of [`HEAT_US`], and above the one before.
    pub heat: [u32; HEAT_ROWS],
}

/// The slots that are over, the oldest first, and where the counters stood when the last one ended.
#[derive(Debug, Default)]
pub struct History {
    past: VecDeque<Point>,
    stood: Standing,
}

/// Counters of a route.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    requests: u64,
    success: u64,
    client_closed: u64,
    bytes_in: u64,
    bytes_out: u64,
    tokens: u64,
}

impl Standing {
    fn of(counts: &RouteCounts) -> Self {
        Self {
            requests: counts.requests,
            success: counts.success,
            client_closed: counts.client_closed,
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            tokens: counts.tokens,
        }
    }
}

impl History {
    /// What happened in the slot that is filled now.
    pub fn now(&self, counts: &RouteCounts, [total, ttft, itl]: [&Window; 3]) -> Point {
        let stood = &self.stood;
        Point {
            requests: counts.requests - stood.requests,
            success: counts.success - stood.success,
            client_closed: counts.client_closed - stood.client_closed,
            bytes_in: counts.bytes_in - stood.bytes_in,
            bytes_out: counts.bytes_out - stood.bytes_out,
            tokens: counts.tokens - stood.tokens,
            total: total.newest(),
            ttft: ttft.newest(),
            itl: itl.newest(),
            heat: total.spread(&HEAT_US),
        }
    }

    /// The slot is over; its windows have not turned yet.
    pub fn turn(&mut self, counts: &RouteCounts, windows: [&Window; 3]) {
        self.past.push_back(self.now(counts, windows));
        if self.past.len() > HISTORY_SLOTS {
            self.past.pop_front();
        }
        self.stood = Standing::of(counts);
    }

    /// The slots that are over, the oldest first.
    pub fn past(&self) -> impl ExactSizeIterator<Item = &Point> {
        self.past.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::times::Times;

    #[test]
    fn each_slot_tells_what_happened_in_it_and_old_ones_go() {
        let (mut history, mut counts, mut window) =
            (History::default(), RouteCounts::default(), Window::default());
        for slot in 0..HISTORY_SLOTS as u64 + 3 {
            counts.requests += slot;
            counts.success += slot / 2;
            let mut times = Times::default();
            times.record_n(1000, slot);
            window.add(&times);
            let now = history.now(&counts, [&window, &window, &window]);
            assert_eq!((now.requests, now.success, now.total.count), (slot, slot / 2, slot));
            assert_eq!(now.heat.iter().sum::<u32>(), slot as u32);
            history.turn(&counts, [&window, &window, &window]);
            window.turn();
        }
        assert_eq!(history.past().len(), HISTORY_SLOTS);
        assert_eq!(history.past().next().unwrap().requests, 3);
        assert!(HEAT_US.is_sorted() && *HEAT_US.last().unwrap() > 600_000_000);
    }
}
