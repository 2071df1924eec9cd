//! Who rests on this lane, the longest first. Where clients wait for a place, who has rested longest gives up its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Instant;

use super::watchdog::Alarm;

/// Since when, and which of those that began then.
type Turn = (Instant, u64);

/// All clients of a lane that rest.
#[derive(Debug, Default)]
pub struct Resting {
    order: RefCell<BTreeMap<Turn, Alarm>>,
    entered: Cell<u64>,
}

/// One of them; it rests no more when this is dropped.
pub(super) struct Rest<'a> {
    turn: Turn,
    all: &'a Resting,
}

impl Resting {
    /// Enters a client that rests since `since`; `alarm` wakes it.
    pub(super) fn enter(&self, since: Instant, alarm: Alarm) -> Rest<'_> {
        let number = self.entered.get();
        self.entered.set(number + 1);
        let turn = (since, number);
        self.order.borrow_mut().insert(turn, alarm);
        Rest { turn, all: self }
    }

    /// Since when the one rests that has rested longest.
    pub fn longest(&self) -> Option<Instant> {
        self.order.borrow().first_key_value().map(|((since, _), _)| *since)
    }

    /// Wakes the one that has rested longest, for it to end, if it rests since `by` or before; whether there was one.
    pub fn end_longest(&self, by: Instant) -> bool {
        let mut order = self.order.borrow_mut();
        match order.first_entry().filter(|first| first.key().0 <= by) {
            Some(first) => {
                first.remove().ring();
                true
            }
            None => false,
        }
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.all.order.borrow_mut().remove(&self.turn);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::super::watchdog::Watchdogs;
    use super::*;

    #[test]
    fn the_longest_ends_first_and_who_rests_no_more_is_left_alone() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let (watchdogs, resting) = (Rc::new(Watchdogs::new(now)), Resting::default());
        let dogs: Vec<_> = (0..4).map(|_| watchdogs.watch()).collect();
        let mut rests: Vec<_> = dogs
            .iter()
            .zip([2, 1, 1, 3])
            .map(|(dog, since)| Some(resting.enter(after(since), dog.alarm())))
            .collect();
        let rung = || -> Vec<bool> {
            dogs.iter().map(|dog| dog.poll_fired(&Context::from_waker(Waker::noop())).is_ready()).collect()
        };
        rests[1] = None;
        assert!(resting.end_longest(after(1)));
        assert_eq!(rung(), [false, false, true, false]);
        assert!(!resting.end_longest(after(1)), "no other rests for as long");
        assert_eq!(resting.longest(), Some(after(2)));
        rests.clear();
        assert!(!resting.end_longest(after(9)));
    }
}
