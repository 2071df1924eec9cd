//! In-flight requests of each endpoint: one cell per lane, one writer a cell, summed by readers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Padded;
use super::in_flight::InFlight;
use crate::base::ids::{Id, LaneId};

/// The load of one endpoint. It outlives plans: an endpoint that stays keeps its cells through reloads.
#[derive(Debug)]
pub struct EndpointLoad {
    lanes: Box<[Padded<AtomicU64>]>,
    /// Places taken, where the endpoint has a ceiling: one count over all lanes, for two of them must not take the last.
    places: Padded<InFlight>,
}

impl EndpointLoad {
    /// No load, on this many lanes.
    pub fn new(lanes: usize) -> Self {
        Self { lanes: (0..lanes).map(|_| Padded::default()).collect(), places: Padded::default() }
    }

    /// Takes one of `most` places; false if there is none left.
    pub fn take_place(&self, most: u64) -> bool {
        self.places.0.take(most)
    }

    /// Gives one back.
    pub fn leave_place(&self) {
        self.places.0.leave();
    }

    /// Whether all of `most` places are taken.
    pub fn is_full(&self, most: u64) -> bool {
        self.places.0.is_full(most)
    }

    /// `lane` sent one more request. Only that lane writes its cell, so no read-modify-write is needed.
    pub fn add(&self, lane: LaneId) {
        let cell = &self.lanes[lane.position()].0;
        cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// One request of `lane` ended.
    pub fn remove(&self, lane: LaneId) {
        let cell = &self.lanes[lane.position()].0;
        let before = cell.load(Ordering::Relaxed);
        debug_assert!(before > 0, "each release has its reservation");
        cell.store(before.saturating_sub(1), Ordering::Relaxed);
    }

    /// Requests in flight, over all lanes.
    pub fn in_flight(&self) -> u64 {
        self.lanes.iter().map(|cell| cell.0.load(Ordering::Relaxed)).sum()
    }
}
