//! Coarse deadlines: a cell per connection, swept by the lane's tick; no timer is created on the path of a request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// What the connection is doing, as far as a drain must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Between exchanges.
    Idle,
    /// Inside one.
    Busy,
}

#[derive(Debug)]
struct Dog {
    due: Cell<Option<Instant>>,
    fired: Cell<bool>,
    phase: Cell<Phase>,
    waker: RefCell<Option<Waker>>,
    place: Cell<usize>,
}

/// All watchdogs of a lane.
#[derive(Debug, Default)]
pub struct Watchdogs {
    dogs: RefCell<Vec<Rc<Dog>>>,
}

/// One connection's watchdog; it leaves the lane's list when dropped.
#[derive(Debug)]
pub struct Watchdog {
    dog: Rc<Dog>,
    all: Rc<Watchdogs>,
}

impl Watchdogs {
    /// A watchdog for a new connection.
    pub fn watch(self: &Rc<Self>) -> Watchdog {
        let mut dogs = self.dogs.borrow_mut();
        let dog = Rc::new(Dog {
            due: Cell::new(None),
            fired: Cell::new(false),
            phase: Cell::new(Phase::Busy),
            waker: RefCell::new(None),
            place: Cell::new(dogs.len()),
        });
        dogs.push(Rc::clone(&dog));
        Watchdog { dog, all: Rc::clone(self) }
    }

    /// Fires each watchdog whose deadline has come.
    pub fn sweep(&self, now: Instant) {
        for dog in self.dogs.borrow().iter() {
            let is_due = dog.due.get().is_some_and(|due| due <= now);
            if is_due
                && !dog.fired.replace(true)
                && let Some(waker) = dog.waker.borrow().as_ref()
            {
                waker.wake_by_ref();
            }
        }
    }

    /// A drain began: idle connections have until `by`.
    pub fn hurry_idle(&self, by: Instant) {
        for dog in self.dogs.borrow().iter().filter(|dog| dog.phase.get() == Phase::Idle) {
            dog.due.set(Some(dog.due.get().map_or(by, |due| due.min(by))));
        }
    }

    /// Fires all: the drain is over.
    pub fn fire_all(&self, now: Instant) {
        self.dogs.borrow().iter().for_each(|dog| dog.due.set(Some(now)));
        self.sweep(now);
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.dogs.borrow().len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Watchdog {
    /// Sets the deadline of what is waited for next; none waits for ever.
    pub fn set(&self, due: Option<Instant>, phase: Phase) {
        self.dog.due.set(due);
        self.dog.fired.set(false);
        self.dog.phase.set(phase);
    }

    /// Ready once the deadline has come.
    pub fn poll_fired(&self, cx: &Context<'_>) -> Poll<()> {
        if self.dog.fired.get() {
            return Poll::Ready(());
        }
        let mut waker = self.dog.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let mut dogs = self.all.dogs.borrow_mut();
        let place = self.dog.place.get();
        dogs.swap_remove(place);
        if let Some(moved) = dogs.get(place) {
            moved.place.set(place);
        }
        // A waker kept here would keep its task, and with it this connection's memory, alive.
        self.dog.waker.replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn fired(watchdog: &Watchdog) -> bool {
        watchdog.poll_fired(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn only_what_is_due_fires_and_a_new_deadline_disarms() {
        let all = Rc::new(Watchdogs::default());
        let now = Instant::now();
        let (a, b) = (all.watch(), all.watch());
        a.set(Some(now), Phase::Busy);
        b.set(Some(now + Duration::from_secs(1)), Phase::Busy);
        all.sweep(now);
        assert_eq!((fired(&a), fired(&b)), (true, false));
        a.set(None, Phase::Busy);
        all.sweep(now);
        assert!(!fired(&a));
    }

    #[test]
    fn a_drain_hurries_idle_connections_only() {
        let all = Rc::new(Watchdogs::default());
        let now = Instant::now();
        let (idle, busy) = (all.watch(), all.watch());
        idle.set(None, Phase::Idle);
        busy.set(None, Phase::Busy);
        all.hurry_idle(now);
        all.sweep(now);
        assert_eq!((fired(&idle), fired(&busy)), (true, false));
    }

    #[test]
    fn watchdogs_leave_in_any_order() {
        let all = Rc::new(Watchdogs::default());
        let mut some: Vec<_> = (0..5).map(|_| all.watch()).collect();
        for at in [3, 0, 1] {
            some.remove(at);
        }
        assert_eq!(all.len(), 2);
        let now = Instant::now();
        some[1].set(Some(now), Phase::Busy);
        all.sweep(now);
        assert_eq!((fired(&some[0]), fired(&some[1])), (false, true));
    }
}
