//! What is asked of each endpoint right now, requests and their work: one cell per lane, one writer a cell, summed by readers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Padded;
use super::in_flight::InFlight;
use super::latency::Latency;
use super::pressure::Pressure;
use crate::base::ids::{Id, LaneId};

/// The load of one endpoint. It outlives plans: an endpoint that stays keeps its cells through reloads.
#[derive(Debug)]
pub struct EndpointLoad {
    lanes: Box<[Padded<Cell>]>,
    /// Places taken, where the endpoint has a ceiling: one count over all lanes, for two of them must not take the last.
    places: Padded<InFlight>,
    /// How many there are: the ceiling of the plan in force, also for those who came under the one before.
    most: AtomicU64,
    latency: Latency,
    pressure: Pressure,
}

/// No ceiling.
const UNBOUNDED: u64 = u64::MAX;

/// What one lane asked for.
#[derive(Debug, Default)]
struct Cell {
    requests: AtomicU64,
    work: AtomicU64,
}

impl EndpointLoad {
    /// No load, on this many lanes.
    pub fn new(lanes: usize, now: Instant) -> Self {
        Self {
            lanes: (0..lanes).map(|_| Padded::default()).collect(),
            places: Padded::default(),
            most: AtomicU64::new(UNBOUNDED),
            latency: Latency::new(now),
            pressure: Pressure::default(),
        }
    }

    /// It has so many places from here on; as many as there may be without a ceiling.
    pub fn set_most(&self, most: Option<u64>) {
        self.most.store(most.unwrap_or(UNBOUNDED), Ordering::Release);
    }

    /// How many places it has, where it has a ceiling.
    pub fn most(&self) -> Option<u64> {
        Some(self.most.load(Ordering::Acquire)).filter(|most| *most != UNBOUNDED)
    }

    /// Whether places are counted.
    #[inline]
    pub fn has_ceiling(&self) -> bool {
        self.most.load(Ordering::Acquire) != UNBOUNDED
    }

    /// Takes a place; false if there is none left.
    pub fn take_place(&self) -> bool {
        self.places.0.take(self.most.load(Ordering::Acquire))
    }

    /// Gives one back.
    pub fn leave_place(&self) {
        self.places.0.leave();
    }

    /// How many places are free.
    #[inline]
    pub fn free(&self) -> u64 {
        match self.most.load(Ordering::Acquire) {
            UNBOUNDED => UNBOUNDED,
            most => self.places.0.free(most),
        }
    }

    /// `lane` sent one more request, of so much work. Only that lane writes its cell, so no read-modify-write is needed.
    pub fn add(&self, lane: LaneId, work: u64) {
        let Cell { requests, work: sum } = &self.lanes[lane.position()].0;
        requests.store(requests.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        sum.store(sum.load(Ordering::Relaxed) + work, Ordering::Relaxed);
    }

    /// One request of `lane` ended, of so much work.
    pub fn remove(&self, lane: LaneId, work: u64) {
        let Cell { requests, work: sum } = &self.lanes[lane.position()].0;
        let before = (requests.load(Ordering::Relaxed), sum.load(Ordering::Relaxed));
        debug_assert!(before.0 > 0 && before.1 >= work, "each release has its reservation");
        requests.store(before.0.saturating_sub(1), Ordering::Relaxed);
        sum.store(before.1.saturating_sub(work), Ordering::Relaxed);
    }

    /// Requests in flight, over all lanes.
    pub fn in_flight(&self) -> u64 {
        self.lanes.iter().map(|cell| cell.0.requests.load(Ordering::Relaxed)).sum()
    }

    /// Their work, over all lanes.
    pub fn work(&self) -> u64 {
        self.lanes.iter().map(|cell| cell.0.work.load(Ordering::Relaxed)).sum()
    }

    /// How hard it is pressed by its own word.
    pub fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// How fast it answered of late.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }
}
