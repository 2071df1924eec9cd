//! What a balancer picks from: the endpoints of a cluster as it sees them.

use std::sync::Arc;
use std::time::Instant;

use super::positions::Positions;
use crate::base::limits::EXCHANGE_WORK_BYTES;
use crate::board::loads::EndpointLoad;
use crate::board::pressure::EVEN;
use crate::board::verdicts::{Admission, Verdict, WHOLE};

/// One endpoint of a cluster, as balancers see it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its share relative to the others; at least 1.
    pub weight: u32,
    /// Its load over all lanes.
    pub load: Arc<EndpointLoad>,
    /// Whether it is admitted.
    pub verdict: Arc<Verdict>,
}

impl Candidate {
    /// Its work, of which one that is pressed by its own word has up to twice as much.
    pub(super) fn work(&self, now: Instant) -> f64 {
        self.load.work() as f64 * self.pressure(now)
    }

    /// The same with another exchange, less what that is worth to one at ease: one that is pressed counts for more though
    /// nothing is sent there from here, for others press it.
    pub(super) fn work_ahead(&self, now: Instant) -> f64 {
        let another = f64::from(EXCHANGE_WORK_BYTES);
        (self.load.work() as f64 + another) * self.pressure(now) - another
    }

    /// What its load is multiplied by: 1 to 2.
    pub(super) fn pressure(&self, now: Instant) -> f64 {
        self.load.pressure().bias(now) as f64 / EVEN as f64
    }

    /// How many of its places are free.
    pub fn free(&self) -> u64 {
        self.load.free()
    }

    /// Whether each of its places is taken.
    pub fn is_full(&self) -> bool {
        self.load.free() == 0
    }
}

/// The endpoints to pick from: the admitted ones, without those that were tried.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// All endpoints of the cluster, by position.
    pub all: &'a [Candidate],
    /// Positions that already failed this exchange.
    pub tried: &'a [usize],
    /// Those that are asked at all, where that is not each of them.
    pub only: Option<&'a Positions>,
    /// Whether those that asked to be left alone are among them: nobody else is.
    pub with_held: bool,
    /// When.
    pub now: Instant,
}

impl<'a> Candidates<'a> {
    /// Each of them: its position, its weight for now, and itself.
    pub(super) fn each(self) -> impl Iterator<Item = (usize, u64, &'a Candidate)> {
        (0..self.all.len()).filter_map(move |position| {
            let (weight, candidate) = self.get(position)?;
            Some((position, weight, candidate))
        })
    }

    /// The position of the first one, where no other is to be chosen from.
    #[inline]
    pub fn only(self) -> Option<usize> {
        self.get(0).map(|_| 0)
    }

    /// The one at `position`, if it is among them: its weight for now, and itself.
    #[inline(always)] // each pick asks for each
    pub(super) fn get(self, position: usize) -> Option<(u64, &'a Candidate)> {
        let candidate = self.all.get(position)?;
        let share = match candidate.verdict.admission(self.now) {
            _ if self.tried.contains(&position) || candidate.is_full() => return None,
            _ if self.only.is_some_and(|only| !only.contain(position)) => return None,
            Admission::Share(share) => share,
            // One exchange at a time; it should come soon.
            Admission::Trial => WHOLE,
            Admission::Held if self.with_held => WHOLE,
            Admission::Held | Admission::Out => return None,
        };
        Some((u64::from(candidate.weight) * u64::from(share), candidate))
    }
}
