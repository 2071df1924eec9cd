//! Times of the last minute: slots of a few seconds, each with the values that were counted in it.
//!
//! A slot keeps pairs of value and count instead of a histogram: most routes and endpoints see some tens of distinct
//! values in five seconds, and one that rests keeps nothing.

use std::collections::VecDeque;

use super::times::Times;
use crate::base::limits::{WINDOW_SLOT_S, WINDOW_SLOTS};

/// What was counted in one slot.
#[derive(Debug, Clone, Default)]
struct Slot {
    /// Values in microseconds, ascending, each with how often; a histogram tells no more apart.
    pairs: Vec<(u32, u32)>,
    sum_us: u64,
}

/// Times of the last minute.
#[derive(Debug, Clone, Default)]
pub struct Window {
    slots: VecDeque<Slot>,
}

/// What is told of some times, microseconds; all zero where there were none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quantiles {
    /// The middle.
    pub p50: u64,
    /// Nine of ten are at most this.
    pub p90: u64,
    /// 99 of a hundred are at most this.
    pub p99: u64,
    /// 999 of a thousand are at most this.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// Their sum by their number.
    pub mean: f64,
    /// How many they are.
    pub count: u64,
}

impl Window {
    /// Adds what was counted since the last time.
    pub fn add(&mut self, times: &Times) {
        if times.count() == 0 {
            return;
        }
        if self.slots.is_empty() {
            self.slots.push_back(Slot::default());
        }
        let slot = self.slots.back_mut().expect("one was made above");
        slot.sum_us += times.sum_us();
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let added = times.pairs().map(|(value, count)| (narrow(value), narrow(count)));
        slot.pairs = merged(&slot.pairs, added);
    }

    /// A slot is over.
    pub fn turn(&mut self) {
        self.slots.push_back(Slot::default());
        if self.slots.len() > WINDOW_SLOTS {
            self.slots.pop_front();
        }
        if self.slots.iter().all(|slot| slot.pairs.is_empty()) {
            self.slots = VecDeque::new();
        }
    }

    /// What is told of the last minute; of somewhat less, by the age of the slot that is filled now.
    pub fn quantiles(&self) -> Quantiles {
        let mut pairs: Vec<_> = self.slots.iter().flat_map(|slot| &slot.pairs).copied().collect();
        pairs.sort_unstable();
        quantiles(&pairs, self.slots.iter().map(|slot| slot.sum_us).sum())
    }
}

impl Window {
    /// What is told of the slot that is filled now.
    pub fn newest(&self) -> Quantiles {
        self.slots.back().map(|slot| quantiles(&slot.pairs, slot.sum_us)).unwrap_or_default()
    }

    /// How many values of the slot that is filled now are at most each of `bounds`, which ascend, and above the one
    /// before; what is above all of them counts with the last.
    pub fn spread<const N: usize>(&self, bounds: &[u64; N]) -> [u32; N] {
        let mut counts = [0_u32; N];
        for (value, count) in self.slots.back().iter().flat_map(|slot| &slot.pairs) {
            let at = bounds.partition_point(|bound| *bound < u64::from(*value)).min(N - 1);
            counts[at] = counts[at].saturating_add(*count);
        }
        counts
    }
}

/// Whether a slot is over with this second.
pub fn is_turn(second: u64) -> bool {
    second.is_multiple_of(WINDOW_SLOT_S)
}

fn quantiles(pairs: &[(u32, u32)], sum_us: u64) -> Quantiles {
    let count: u64 = pairs.iter().map(|(_, count)| u64::from(*count)).sum();
    if count == 0 {
        return Quantiles::default();
    }
    let at = |quantile: f64| {
        let rank = ((count as f64 * quantile).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        let found = pairs.iter().find(|(_, count)| {
            seen += u64::from(*count);
            seen >= rank
        });
        found.map_or(0, |(value, _)| u64::from(*value))
    };
    Quantiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        mean: sum_us as f64 / count as f64,
        count,
    }
}

/// Both ascending lists as one.
fn merged(ours: &[(u32, u32)], theirs: impl Iterator<Item = (u32, u32)>) -> Vec<(u32, u32)> {
    let mut all = Vec::with_capacity(ours.len() + 16);
    let mut ours = ours.iter().copied().peekable();
    for (value, count) in theirs {
        while let Some(before) = ours.next_if(|(known, _)| *known < value) {
            all.push(before);
        }
        let known = ours.next_if(|(known, _)| *known == value).map_or(0, |(_, count)| count);
        all.push((value, count.saturating_add(known)));
    }
    all.extend(ours);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(values: impl IntoIterator<Item = u64>) -> Times {
        let mut times = Times::default();
        values.into_iter().for_each(|us| times.record(us));
        times
    }

    #[test]
    fn the_window_tells_what_one_histogram_of_all_would() {
        let values = |part: u64| (0..500).map(move |step| (step * 7919 * (part + 1)) % 5_000_000);
        let (mut window, mut all) = (Window::default(), Times::default());
        for part in 0..WINDOW_SLOTS as u64 {
            // Two reports in each slot, as two lanes make them.
            for half in [part, part + 100] {
                window.add(&times(values(half)));
                all.add(&times(values(half)));
            }
            if part + 1 < WINDOW_SLOTS as u64 {
                window.turn();
            }
        }
        let told = window.quantiles();
        assert_eq!((told.count, told.max), (all.count(), all.max_us()));
        for (told, quantile) in [(told.p50, 0.5), (told.p90, 0.9), (told.p99, 0.99), (told.p999, 0.999)] {
            assert_eq!(told, all.quantile_us(quantile), "{quantile}");
        }
        assert!((told.mean - all.sum_us() as f64 / all.count() as f64).abs() < 1e-6);
    }

    #[test]
    fn the_newest_slot_is_told_by_itself() {
        let mut window = Window::default();
        window.add(&times([9_000]));
        window.turn();
        assert_eq!((window.newest().count, window.spread(&[100, 1_000])), (0, [0, 0]));
        window.add(&times([50, 100, 500, 7_000_000]));
        assert_eq!((window.newest().count, window.spread(&[100, 1_000])), (4, [2, 2]));
        assert_eq!(window.quantiles().count, 5);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten_and_leaves_no_memory() {
        let mut window = Window::default();
        window.add(&times([1_000_000]));
        window.turn();
        window.add(&times([10]));
        assert_eq!((window.quantiles().max, window.quantiles().p50), (1_003_519, 10));
        for _ in 0..WINDOW_SLOTS - 1 {
            window.turn();
        }
        assert_eq!(window.quantiles().max, 10);
        window.turn();
        assert_eq!(window.quantiles(), Quantiles::default());
        assert_eq!(window.slots.capacity(), 0);
    }
}
