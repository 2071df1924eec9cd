//! How much of something is under way at once, over all lanes: who enters has a place until it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is under way.
#[derive(Debug, Default)]
pub struct InFlight(AtomicU64);

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<InFlight>);

impl InFlight {
    /// A place, if there are fewer than `max`.
    pub fn enter(self: &Arc<Self>, max: u64) -> Option<Place> {
        self.take(max).then(|| Place(Arc::clone(self)))
    }

    /// Takes one of `max` places; false if there is none left.
    pub(super) fn take(&self, max: u64) -> bool {
        let one_more = |taken| (taken < max).then_some(taken + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }

    /// Gives one back.
    pub(super) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many of `max` places are free.
    pub(super) fn free(&self, max: u64) -> u64 {
        max.saturating_sub(self.0.load(Ordering::Acquire))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_may_be_and_each_is_given_back() {
        let flight = Arc::new(InFlight::default());
        let two = (flight.enter(2).unwrap(), flight.enter(2).unwrap());
        assert!(flight.enter(2).is_none());
        // One that is raised while some are under way counts them.
        let third = flight.enter(3).unwrap();
        assert!(flight.enter(3).is_none());
        drop(two);
        assert!(flight.enter(2).is_some() && flight.enter(1).is_none());
        drop(third);
        assert!(flight.enter(1).is_some());
    }
}
