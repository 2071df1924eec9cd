//! The flight recorder: the last exchanges of each lane, phase by phase.

use super::record::{Kept, RECORD_WORDS, Record, pack, unpack};
use crate::base::ids::{Id, LaneId};
use crate::board::names::Names;
use crate::board::ring::Ring;

/// The records of all lanes.
#[derive(Debug)]
pub struct Records {
    lanes: Vec<Ring<RECORD_WORDS>>,
    names: Names,
}

/// What a record is of, beside what was measured.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// When the exchange ended, microseconds since 1970.
    pub at_us: u64,
    /// The plan that its route and endpoint are positions in.
    pub generation: u64,
    /// Its id.
    pub request_id: &'a [u8],
    /// Its trace, 32 hex digits.
    pub trace_id: &'a [u8; 32],
}

impl Records {
    /// Room for `len` exchanges a lane.
    pub fn new(lanes: usize, len: usize) -> Self {
        Self { lanes: (0..lanes).map(|_| Ring::new(len)).collect(), names: Names::default() }
    }

    /// How many lanes and how many exchanges of each it has room for.
    pub fn size(&self) -> (usize, usize) {
        (self.lanes.len(), self.lanes.first().map_or(0, Ring::size))
    }

    /// Most memory that it takes.
    pub fn bytes(&self) -> usize {
        let (lanes, len) = self.size();
        lanes * len * (RECORD_WORDS + 1) * 8
    }

    /// Keeps a record; called by its lane alone.
    #[inline]
    pub fn keep(&self, lane: LaneId, record: &Record, of: Of<'_>) {
        let number = |name| self.names.number(name);
        let words = pack(record, (of.at_us, of.generation), (of.request_id, of.trace_id), number);
        self.lanes[lane.position()].write(&words);
    }

    /// What is kept of exchanges that ended at `since_us` or later, the newest of each lane first.
    pub fn since(&self, since_us: u64) -> impl Iterator<Item = Kept> {
        let lanes = self.lanes.iter();
        lanes
            .flat_map(move |ring| ring.newest_first().take_while(move |words| words[0] >= since_us))
            .map(|words| unpack(&words, |number| self.names.name(number)))
    }
}
