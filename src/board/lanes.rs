//! Open client connections of each lane, which lane takes the next one, and where one has rested longest.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Padded;
use crate::base::ids::{Id, LaneId};

/// Nobody rests.
const NOBODY: u64 = u64::MAX;

/// Connection counts of all lanes.
#[derive(Debug)]
pub struct LaneLoads {
    lanes: Box<[Padded<AtomicUsize>]>,
    /// Since when, in microseconds after `origin`, the connection rests that has rested longest, by lane.
    rests: Box<[Padded<AtomicU64>]>,
    origin: Instant,
    /// Connections and reservations over all lanes. A sum of the lanes' counts would let two lanes take the last
    /// place together.
    total: Padded<AtomicUsize>,
}

impl LaneLoads {
    /// No connections, on this many lanes. Nobody rests since before `origin`.
    pub fn new(lanes: usize, origin: Instant) -> Self {
        Self {
            lanes: (0..lanes).map(|_| Padded::default()).collect(),
            rests: (0..lanes).map(|_| Padded(AtomicU64::new(NOBODY))).collect(),
            origin,
            total: Padded::default(),
        }
    }

    /// Takes one of `max` places before a connection is accepted; false where there is none left.
    pub fn reserve(&self, max: usize) -> bool {
        let more = |total: usize| (total < max).then_some(total + 1);
        self.total.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// Gives a place back for which no connection came.
    pub fn release(&self) {
        self.total.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// Chooses the lane for a connection that `accepting` accepted on a reserved place, and counts it there: the least loaded one, and
    /// `accepting` itself where that is among them, for a hand-over costs tens of microseconds.
    ///
    /// A place is taken by compare-and-swap on a count that no other lane undercut, so counts never drift apart by
    /// more than one while connections only arrive, however many lanes accept at once.
    pub fn place(&self, accepting: LaneId) -> LaneId {
        let own = accepting.position();
        loop {
            let mut best = own;
            let mut least = self.lanes[own].0.load(Ordering::Acquire);
            for (position, lane) in self.lanes.iter().enumerate() {
                let count = lane.0.load(Ordering::Acquire);
                if count < least {
                    (best, least) = (position, count);
                }
            }
            let taken =
                self.lanes[best].0.compare_exchange(least, least + 1, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() {
                return LaneId::at(best);
            }
        }
    }

    /// A connection counted on `from` is kept by `to` after all: the inbox was full.
    pub fn shift(&self, from: LaneId, to: LaneId) {
        self.lanes[to.position()].0.fetch_add(1, Ordering::AcqRel);
        self.lanes[from.position()].0.fetch_sub(1, Ordering::AcqRel);
    }

    /// A connection of `lane` ended.
    pub fn leave(&self, lane: LaneId) {
        self.release();
        self.lanes[lane.position()].0.fetch_sub(1, Ordering::AcqRel);
    }

    /// Says since when the connection of `lane` rests that has rested longest; none where none rests.
    pub fn rests_since(&self, lane: LaneId, since: Option<Instant>) {
        let micros = since.map_or(NOBODY, |since| {
            let micros = since.saturating_duration_since(self.origin).as_micros();
            u64::try_from(micros).unwrap_or(NOBODY)
        });
        self.rests[lane.position()].0.store(micros, Ordering::Release);
    }

    /// The lane whose connection has rested longest, and since when, as lanes said last.
    pub fn longest_rest(&self) -> Option<(LaneId, Instant)> {
        let all = self.rests.iter().map(|since| since.0.load(Ordering::Acquire)).enumerate();
        let (lane, micros) = all.filter(|(_, micros)| *micros != NOBODY).min_by_key(|(_, micros)| *micros)?;
        Some((LaneId::at(lane), self.origin + Duration::from_micros(micros)))
    }

    /// Open connections of one lane.
    pub fn of(&self, lane: LaneId) -> usize {
        self.lanes[lane.position()].0.load(Ordering::Acquire)
    }

    /// Places taken over all lanes.
    pub fn total(&self) -> usize {
        self.total.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_connections_on_two_lanes_end_four_and_four_whoever_accepts() {
        for pattern in 0u32..256 {
            let loads = LaneLoads::new(2, Instant::now());
            for turn in 0..8 {
                loads.place(LaneId::at((pattern >> turn & 1) as usize));
            }
            assert_eq!((loads.of(LaneId::at(0)), loads.of(LaneId::at(1))), (4, 4), "{pattern:08b}");
        }
    }

    #[test]
    fn lanes_that_accept_at_once_stay_even() {
        let loads = LaneLoads::new(4, Instant::now());
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let loads = &loads;
                scope.spawn(move || {
                    (0..1000).for_each(|_| assert!(loads.place(LaneId::at(lane)).position() < 4))
                });
            }
        });
        assert!((0..4).all(|lane| loads.of(LaneId::at(lane)) == 1000));
    }

    #[test]
    fn an_even_board_keeps_the_connection_where_it_came() {
        let loads = LaneLoads::new(3, Instant::now());
        assert!(loads.reserve(2) && loads.reserve(2) && !loads.reserve(2));
        assert_eq!(loads.place(LaneId::at(2)), LaneId::at(2));
        assert_eq!(loads.place(LaneId::at(2)), LaneId::at(0));
        loads.leave(LaneId::at(2));
        assert_eq!(loads.total(), 1);
    }

    #[test]
    fn the_longest_rest_is_found_on_whichever_lane_it_is() {
        let origin = Instant::now();
        let after = |seconds| origin + Duration::from_secs(seconds);
        let loads = LaneLoads::new(3, origin);
        assert_eq!(loads.longest_rest(), None);
        loads.rests_since(LaneId::at(0), Some(after(3)));
        loads.rests_since(LaneId::at(2), Some(after(2)));
        assert_eq!(loads.longest_rest(), Some((LaneId::at(2), after(2))));
        loads.rests_since(LaneId::at(2), None);
        assert_eq!(loads.longest_rest(), Some((LaneId::at(0), after(3))));
    }
}
