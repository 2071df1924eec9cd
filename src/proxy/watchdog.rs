//! Coarse deadlines on a wheel that the lane's tick turns: what is not due costs nothing, and no timer is created on
//! the path of a request.
//!
//! A watchdog sits in the slot of some instant that is not later than its deadline. Deadlines mostly move forward:
//! then only a cell is written, and the watchdog is looked at and moved on when its slot comes.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::base::limits::TICK;

/// Slots of the wheel; one tick each. What is due later than a turn is looked at once a turn.
const SLOTS: usize = 512;
/// Where those wait that have no deadline.
const PARKED: usize = SLOTS;

/// What the connection is doing, as far as a drain must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Between exchanges.
    Idle,
    /// Inside one.
    Busy,
}

#[derive(Debug)]
struct Dog {
    due: Cell<Option<Instant>>,
    fired: Cell<bool>,
    /// The drain is over: whatever it watches ends now.
    ended: Cell<bool>,
    activity: Cell<Activity>,
    waker: RefCell<Option<Waker>>,
    /// When it is looked at next, at the earliest; none while it is parked.
    visit: Cell<Option<Instant>>,
    slot: Cell<usize>,
    place: Cell<usize>,
}

#[derive(Debug)]
struct Wheel {
    slots: Vec<Vec<Rc<Dog>>>,
    origin: Instant,
    /// The tick that was swept last; its slot is swept again until the next one begins.
    swept: u64,
}

/// All watchdogs of a lane.
#[derive(Debug)]
pub struct Watchdogs {
    wheel: RefCell<Wheel>,
    /// The drain is over: what is begun from here on ends at once too.
    ended: Cell<bool>,
}

/// Rings a watchdog before its time.
#[derive(Debug)]
pub(super) struct Alarm(Rc<Dog>);

/// One watchdog; it leaves the wheel when dropped.
#[derive(Debug)]
pub struct Watchdog {
    dog: Rc<Dog>,
    all: Rc<Watchdogs>,
}

impl Wheel {
    /// Puts `dog` where it is looked at when `due` comes, or earlier.
    fn put(&mut self, dog: Rc<Dog>, due: Option<Instant>) {
        let slot = match due {
            None => {
                dog.visit.set(None);
                PARKED
            }
            Some(due) => {
                let ticks = due.saturating_duration_since(self.origin).as_nanos() / TICK.as_nanos();
                let last = self.swept + SLOTS as u64 - 1;
                let tick = u64::try_from(ticks).unwrap_or(u64::MAX).clamp(self.swept, last);
                dog.visit.set(Some(self.origin + begin(tick)));
                (tick % SLOTS as u64) as usize
            }
        };
        dog.slot.set(slot);
        dog.place.set(self.slots[slot].len());
        self.slots[slot].push(dog);
    }

    fn take(&mut self, dog: &Dog) -> Option<Rc<Dog>> {
        let (slot, place) = (dog.slot.get(), dog.place.get());
        let slot = &mut self.slots[slot];
        let taken = (place < slot.len()).then(|| slot.swap_remove(place));
        if let Some(moved) = slot.get(place) {
            moved.place.set(place);
        }
        taken
    }
}

fn begin(tick: u64) -> Duration {
    TICK.saturating_mul(u32::try_from(tick).unwrap_or(u32::MAX))
}

impl Watchdogs {
    /// None yet, on a wheel that begins to turn at `now`.
    pub fn new(now: Instant) -> Self {
        let slots = (0..=SLOTS).map(|_| Vec::new()).collect();
        Self { wheel: RefCell::new(Wheel { slots, origin: now, swept: 0 }), ended: Cell::new(false) }
    }

    /// A watchdog without a deadline.
    pub fn watch(self: &Rc<Self>) -> Watchdog {
        let dog = Rc::new(Dog {
            due: Cell::new(None),
            fired: Cell::new(false),
            ended: Cell::new(self.ended.get()),
            activity: Cell::new(Activity::Busy),
            waker: RefCell::new(None),
            visit: Cell::new(None),
            slot: Cell::new(PARKED),
            place: Cell::new(0),
        });
        self.wheel.borrow_mut().put(Rc::clone(&dog), None);
        Watchdog { dog, all: Rc::clone(self) }
    }

    /// Fires each watchdog whose deadline has come.
    pub fn sweep(&self, now: Instant) {
        let mut wheel = self.wheel.borrow_mut();
        let ticks = now.saturating_duration_since(wheel.origin).as_nanos() / TICK.as_nanos();
        let to = u64::try_from(ticks).unwrap_or(u64::MAX).max(wheel.swept);
        // After a long sleep one turn of the wheel meets all.
        for tick in wheel.swept..=to.min(wheel.swept + SLOTS as u64 - 1) {
            let dogs = std::mem::take(&mut wheel.slots[(tick % SLOTS as u64) as usize]);
            wheel.swept = to;
            for dog in dogs {
                let due = dog.due.get();
                if due.is_some_and(|due| due <= now) {
                    dog.fire();
                    wheel.put(dog, None);
                } else {
                    wheel.put(dog, due);
                }
            }
        }
        wheel.swept = to;
    }

    /// A drain began: idle connections have until `by`.
    pub fn hurry_idle(&self, by: Instant) {
        for dog in self.all().iter().filter(|dog| dog.activity.get() == Activity::Idle) {
            self.set(dog, Some(dog.due.get().map_or(by, |due| due.min(by))));
        }
    }

    /// The drain is over: all end now.
    pub fn end_all(&self) {
        self.ended.set(true);
        for dog in self.all() {
            dog.ended.set(true);
            dog.fire();
        }
    }

    fn all(&self) -> Vec<Rc<Dog>> {
        self.wheel.borrow().slots.iter().flatten().cloned().collect()
    }

    fn set(&self, dog: &Rc<Dog>, due: Option<Instant>) {
        dog.due.set(due);
        let is_sooner = match (due, dog.visit.get()) {
            (Some(due), Some(visit)) => due < visit,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_sooner {
            let mut wheel = self.wheel.borrow_mut();
            if let Some(dog) = wheel.take(dog) {
                wheel.put(dog, due);
            }
        }
    }
}

impl Dog {
    fn fire(&self) {
        self.fired.set(true);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

impl Alarm {
    /// As if the deadline had come.
    pub(super) fn ring(self) {
        self.0.fire();
    }
}

impl Watchdog {
    /// What rings it before its time.
    pub(super) fn alarm(&self) -> Alarm {
        Alarm(Rc::clone(&self.dog))
    }

    /// Sets the deadline of what is waited for next; none waits for ever.
    pub fn set(&self, due: Option<Instant>, activity: Activity) {
        self.dog.fired.set(false);
        self.dog.activity.set(activity);
        self.all.set(&self.dog, due);
    }

    /// Ready once the deadline has come, or the drain is over.
    pub fn poll_fired(&self, cx: &Context<'_>) -> Poll<()> {
        if self.dog.fired.get() || self.dog.ended.get() {
            return Poll::Ready(());
        }
        let mut waker = self.dog.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether the drain is over.
    pub fn is_ended(&self) -> bool {
        self.dog.ended.get()
    }

    /// Ready once `due` has come. The same deadline may be asked for again and again. At the end of a drain it never
    /// comes: who waits is given up by whoever it waits for.
    pub fn poll_due(&self, due: Option<Instant>, cx: &Context<'_>) -> Poll<()> {
        if self.is_ended() {
            return Poll::Pending;
        }
        if self.dog.due.get() != due {
            self.set(due, Activity::Busy);
        }
        self.poll_fired(cx)
    }

    /// What `poll` becomes ready with; none if `due` comes first.
    pub async fn within<T>(
        &self,
        due: Option<Instant>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        if self.dog.fired.replace(false) {
            // The same deadline may have come for something else before.
            self.dog.due.set(None);
        }
        poll_fn(|cx| match poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll_due(due, cx).map(|()| None),
        })
        .await
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let taken = self.all.wheel.borrow_mut().take(&self.dog);
        debug_assert!(taken.is_some_and(|taken| Rc::ptr_eq(&taken, &self.dog)), "each has its place");
        // A waker kept here would keep its task, and with it this connection's memory, alive.
        self.dog.waker.replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn fired(watchdog: &Watchdog) -> bool {
        watchdog.poll_fired(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn only_what_is_due_fires_and_a_new_deadline_disarms() {
        let now = Instant::now();
        let all = Rc::new(Watchdogs::new(now));
        let (a, b) = (all.watch(), all.watch());
        a.set(Some(now), Activity::Busy);
        b.set(Some(now + Duration::from_secs(1)), Activity::Busy);
        all.sweep(now);
        assert_eq!((fired(&a), fired(&b)), (true, false));
        a.set(None, Activity::Busy);
        all.sweep(now);
        assert!(!fired(&a));
    }

    #[test]
    fn a_drain_hurries_idle_connections_only_and_its_end_ends_all() {
        let now = Instant::now();
        let all = Rc::new(Watchdogs::new(now));
        let (idle, busy) = (all.watch(), all.watch());
        idle.set(None, Activity::Idle);
        busy.set(None, Activity::Busy);
        all.hurry_idle(now);
        all.sweep(now);
        assert_eq!((fired(&idle), fired(&busy)), (true, false));
        all.end_all();
        busy.set(None, Activity::Busy);
        assert!(fired(&busy) && busy.is_ended(), "no new deadline revives it");
        assert!(all.watch().is_ended(), "nor is one made that would hold it up");
    }

    #[test]
    fn watchdogs_leave_in_any_order() {
        let now = Instant::now();
        let all = Rc::new(Watchdogs::new(now));
        let mut some: Vec<_> = (0..5).map(|_| all.watch()).collect();
        for at in [3, 0, 1] {
            some.remove(at);
        }
        assert_eq!(all.all().len(), 2);
        some[1].set(Some(now), Activity::Busy);
        all.sweep(now);
        assert_eq!((fired(&some[0]), fired(&some[1])), (false, true));
    }

    #[test]
    fn whatever_is_set_and_dropped_each_fires_in_the_tick_in_which_it_is_due() {
        let begin = Instant::now();
        let all = Rc::new(Watchdogs::new(begin));
        let mut rng = Rng::new(11);
        let mut watched: Vec<(Watchdog, Option<Instant>)> = Vec::new();
        let mut now = begin;
        for _ in 0..20_000 {
            match rng.below(4) {
                0 => watched.push((all.watch(), None)),
                1 if !watched.is_empty() => {
                    let at = rng.below(watched.len() as u64) as usize;
                    watched.swap_remove(at);
                }
                2 if !watched.is_empty() => {
                    let at = rng.below(watched.len() as u64) as usize;
                    let due = (rng.below(5) > 0).then(|| now + Duration::from_millis(rng.below(90_000)));
                    watched[at].0.set(due, Activity::Busy);
                    watched[at].1 = due;
                }
                // Mostly a tick passes, at times a long sleep.
                _ => {
                    let pause = if rng.below(500) == 0 { 200_000 } else { rng.below(150) };
                    now += Duration::from_millis(pause);
                    all.sweep(now);
                    for (watchdog, due) in &watched {
                        assert_eq!(fired(watchdog), due.is_some_and(|due| due <= now));
                    }
                }
            }
        }
    }
}
