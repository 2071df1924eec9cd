//! Open client connections of each lane, and which lane takes the next one.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Padded;
use crate::base::ids::{Id, LaneId};

/// Connection counts of all lanes.
#[derive(Debug)]
pub struct LaneLoads {
    lanes: Box<[Padded<AtomicUsize>]>,
    /// Connections and reservations over all lanes. A sum of the lanes' counts would let two lanes take the last
    /// place together.
    total: Padded<AtomicUsize>,
}

impl LaneLoads {
    /// No connections, on this many lanes.
    pub fn new(lanes: usize) -> Self {
        Self { lanes: (0..lanes).map(|_| Padded::default()).collect(), total: Padded::default() }
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
            let loads = LaneLoads::new(2);
            for turn in 0..8 {
                loads.place(LaneId::at((pattern >> turn & 1) as usize));
            }
            assert_eq!((loads.of(LaneId::at(0)), loads.of(LaneId::at(1))), (4, 4), "{pattern:08b}");
        }
    }

    #[test]
    fn lanes_that_accept_at_once_stay_even() {
        let loads = LaneLoads::new(4);
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
        let loads = LaneLoads::new(3);
        assert!(loads.reserve(2) && loads.reserve(2) && !loads.reserve(2));
        assert_eq!(loads.place(LaneId::at(2)), LaneId::at(2));
        assert_eq!(loads.place(LaneId::at(2)), LaneId::at(0));
        loads.leave(LaneId::at(2));
        assert_eq!(loads.total(), 1);
    }
}
