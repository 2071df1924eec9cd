//! Which endpoint has seen which block of prompts: a bounded table that all lanes of a cluster share.
//!
//! An engine keeps what it computed of a prompt's beginning, and forgets what was used longest ago. So this table keeps two
//! things: when each endpoint was last sent a block, and for each endpoint a **horizon**: what it was sent before that is
//! believed gone. A block's hash goes over all blocks before it too, so that one that is known means that those are.
//!
//! - *Who writes.* The lane that places a request notes its blocks, one that learns from an answer how much of them was
//!   still there moves the horizon, one whose request failed takes its notes back.
//! - *Who reads.* Each pick of a cluster that is balanced by `prefix`: two cache lines for each block, up to the first that
//!   nobody has seen.
//! - *What may be lost.* There is no lock, and of two lanes that write the same place one wins: a note is lost, or one of
//!   another block is taken for ours. Then a request is placed as if there were no table, or meets a cache that is not
//!   there; it is answered all the same. The table is made anew when the endpoints of its cluster change, with what stays.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::base::limits::CLUSTER_BLOCKS_MAX;

/// Blocks of which a hash leaves the choice.
const WAYS: usize = 8;
/// Endpoints that are remembered for a block, those that saw it last.
const SEERS: usize = 8;
const SETS: usize = CLUSTER_BLOCKS_MAX / WAYS;
const _: () = assert!(SETS.is_power_of_two(), "a hash chooses a set by its low bits");

/// The table of one cluster.
pub struct Blocks {
    born: Instant,
    sets: Box<[Set]>,
    seers: Box<[Seers]>,
    /// What an endpoint was sent until then, milliseconds since birth, is gone there.
    horizons: Box<[AtomicU64]>,
}

/// Blocks whose hashes share their low bits, and when each was used last, in seconds since birth; a hash of 0 is none.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Set {
    hashes: [AtomicU64; WAYS],
    used: [AtomicU32; WAYS],
}

/// Who saw a block: a position plus 1 in the upper 16 bits, milliseconds since birth in the others.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Seers([AtomicU64; SEERS]);

/// A time, as the table keeps it: milliseconds since its birth, never 0.
pub type Moment = u64;

const MOMENT_BITS: u32 = 48;

fn seer(position: usize, at: Moment) -> u64 {
    (position as u64 + 1) << MOMENT_BITS | at
}

fn position_of(seer: u64) -> Option<usize> {
    (seer >> MOMENT_BITS).checked_sub(1).map(|position| position as usize)
}

fn moment_of(seer: u64) -> Moment {
    seer & ((1 << MOMENT_BITS) - 1)
}

/// A table of megabytes, told in a word.
impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blocks").field(&self.horizons.len()).finish()
    }
}

impl Blocks {
    /// What one takes, but for some words for each endpoint.
    pub const BYTES: usize = SETS * size_of::<Set>() + CLUSTER_BLOCKS_MAX * size_of::<Seers>();

    /// A table that knows nothing, for so many endpoints.
    pub fn new(endpoints: usize, now: Instant) -> Self {
        Self {
            born: now,
            sets: (0..SETS).map(|_| Set::default()).collect(),
            seers: (0..CLUSTER_BLOCKS_MAX).map(|_| Seers::default()).collect(),
            horizons: (0..endpoints).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// What this one knows, for other endpoints: `places` are those of its own among them, where they stay.
    pub fn moved(&self, places: &[Option<usize>], endpoints: usize) -> Self {
        let moved = Self::new(endpoints, self.born);
        for (from, to) in self.sets.iter().zip(&moved.sets) {
            copy(&from.hashes, &to.hashes, |hash| hash);
            for (from, to) in from.used.iter().zip(&to.used) {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        let place =
            |seen: u64| position_of(seen).and_then(|position| places.get(position).copied().flatten());
        for (from, to) in self.seers.iter().zip(&moved.seers) {
            copy(&from.0, &to.0, |seen| place(seen).map_or(0, |place| seer(place, moment_of(seen))));
        }
        for (from, place) in self.horizons.iter().zip(places) {
            if let Some(to) = place.and_then(|place| moved.horizons.get(place)) {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        moved
    }

    /// `now`, as it is kept here.
    pub fn moment(&self, now: Instant) -> Moment {
        let age = now.saturating_duration_since(self.born).as_millis() as u64;
        age.clamp(1, (1 << MOMENT_BITS) - 1)
    }

    /// Tells `found` of each endpoint and block of the beginning of `blocks` that it is believed to have still, with the
    /// number of blocks before it and when it was sent; stops at the first block that nobody has seen.
    pub fn look_up(&self, blocks: &[u64], mut found: impl FnMut(usize, usize, Moment)) {
        for (number, block) in blocks.iter().enumerate() {
            let Some(slot) = self.slot(*block) else { return };
            for seen in &self.seers[slot].0 {
                let seen = seen.load(Ordering::Relaxed);
                let Some(position) = position_of(seen) else { continue };
                let horizon = self.horizons.get(position).map(|horizon| horizon.load(Ordering::Relaxed));
                if horizon.is_some_and(|horizon| moment_of(seen) > horizon) {
                    found(position, number, moment_of(seen));
                }
            }
        }
    }

    /// The endpoint at `position` is sent these.
    pub fn note(&self, blocks: &[u64], position: usize, at: Moment) {
        for block in blocks {
            let slot = self.slot(*block).unwrap_or_else(|| self.replace(*block));
            self.sets[slot / WAYS].used[slot % WAYS].store(seconds(at), Ordering::Relaxed);
            let (mut oldest, mut least) = (0, u64::MAX);
            for (place, seen) in self.seers[slot].0.iter().enumerate() {
                let seen = seen.load(Ordering::Relaxed);
                if position_of(seen) == Some(position) {
                    oldest = place;
                    break;
                }
                if moment_of(seen) < least {
                    (oldest, least) = (place, moment_of(seen));
                }
            }
            self.seers[slot].0[oldest].store(seer(position, at), Ordering::Relaxed);
        }
    }

    /// It was not sent what was noted `at` that moment.
    pub fn forget(&self, blocks: &[u64], position: usize, at: Moment) {
        for slot in blocks.iter().filter_map(|block| self.slot(*block)) {
            for seen in &self.seers[slot].0 {
                // What was noted since, by somebody else, stays.
                let _ = seen.compare_exchange(seer(position, at), 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// What the endpoint at `position` was sent until `at` is gone there.
    pub fn move_horizon(&self, position: usize, at: Moment) {
        if let Some(horizon) = self.horizons.get(position) {
            horizon.fetch_max(at, Ordering::Relaxed);
        }
    }

    fn slot(&self, block: u64) -> Option<usize> {
        let set = block as usize % SETS;
        let is_it = |hash: &AtomicU64| hash.load(Ordering::Relaxed) == named(block);
        self.sets[set].hashes.iter().position(is_it).map(|way| set * WAYS + way)
    }

    /// A slot for a block that has none: the one that was used longest ago.
    fn replace(&self, block: u64) -> usize {
        let set = block as usize % SETS;
        let Set { hashes, used } = &self.sets[set];
        let age = |way: &usize| {
            let is_free = hashes[*way].load(Ordering::Relaxed) == 0;
            if is_free { 0 } else { 1 + u64::from(used[*way].load(Ordering::Relaxed)) }
        };
        let way = (0..WAYS).min_by_key(age).unwrap_or(0);
        let slot = set * WAYS + way;
        self.seers[slot].0.iter().for_each(|seen| seen.store(0, Ordering::Relaxed));
        hashes[way].store(named(block), Ordering::Relaxed);
        slot
    }
}

/// A block's hash as it is kept: 0 is no block.
fn named(block: u64) -> u64 {
    block.max(1)
}

fn seconds(at: Moment) -> u32 {
    u32::try_from(at / 1000).unwrap_or(u32::MAX)
}

fn copy(from: &[AtomicU64], to: &[AtomicU64], by: impl Fn(u64) -> u64) {
    for (from, to) in from.iter().zip(to) {
        to.store(by(from.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(table: &Blocks, blocks: &[u64]) -> Vec<(usize, usize, Moment)> {
        let mut found = Vec::new();
        table.look_up(blocks, |position, number, at| found.push((position, number, at)));
        found.sort_unstable();
        found
    }

    #[test]
    fn what_was_sent_is_found_up_to_the_first_block_that_nobody_saw() {
        let table = Blocks::new(3, Instant::now());
        table.note(&[10, 20, 30], 0, 5);
        table.note(&[10, 21], 2, 6);
        assert_eq!(seen(&table, &[10, 20, 99, 30]), [(0, 0, 5), (0, 1, 5), (2, 0, 6)]);
        assert_eq!(seen(&table, &[99, 10]), []);
        table.note(&[10], 0, 7);
        assert_eq!(seen(&table, &[10]), [(0, 0, 7), (2, 0, 6)], "it is there once, as it was sent last");
        table.forget(&[10, 20], 0, 7);
        assert_eq!(seen(&table, &[10, 20]), [(0, 1, 5), (2, 0, 6)]);
    }

    #[test]
    fn what_was_sent_before_the_horizon_is_gone() {
        let table = Blocks::new(2, Instant::now());
        table.note(&[1], 0, 5);
        table.note(&[1], 1, 5);
        table.move_horizon(0, 5);
        table.move_horizon(0, 3);
        assert_eq!(seen(&table, &[1]), [(1, 0, 5)]);
        table.note(&[1], 0, 6);
        assert_eq!(seen(&table, &[1]), [(0, 0, 6), (1, 0, 5)]);
    }

    #[test]
    fn a_full_set_forgets_the_block_that_was_used_longest_ago() {
        let table = Blocks::new(1, Instant::now());
        let block = |number: u64| number << 32 | 7;
        for number in 1..=8 {
            table.note(&[block(number)], 0, number * 1000);
        }
        table.note(&[block(1)], 0, 9000);
        table.note(&[block(9)], 0, 10_000);
        assert_eq!(seen(&table, &[block(2)]), [], "its place was taken");
        for number in [1, 3, 4, 5, 6, 7, 8, 9] {
            assert_eq!(seen(&table, &[block(number)]).len(), 1, "{number}");
        }
    }

    #[test]
    fn more_endpoints_than_places_leave_those_that_saw_it_last() {
        let table = Blocks::new(10, Instant::now());
        for position in 0..10 {
            table.note(&[1], position, position as u64 + 1);
        }
        let positions: Vec<_> = seen(&table, &[1]).iter().map(|(position, ..)| *position).collect();
        assert_eq!(positions, [2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn endpoints_that_stay_keep_what_they_saw() {
        let table = Blocks::new(3, Instant::now());
        (0..3).for_each(|position| table.note(&[1], position, 10 + position as u64));
        table.move_horizon(2, 12);
        let moved = table.moved(&[Some(1), None, Some(0)], 4);
        assert_eq!(seen(&moved, &[1]), [(1, 0, 10)], "one went, and the horizon of another went with it");
        moved.note(&[1], 0, 13);
        assert_eq!(seen(&moved, &[1]), [(0, 0, 13), (1, 0, 10)]);
    }
}
