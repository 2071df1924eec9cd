//! Request bodies held at once: one budget over all lanes, granted in the order of asking.
//!
//! While there is room a reservation is one compare-and-swap. Only who finds none takes the lock, to queue; whoever
//! gives room back while somebody waits takes it too, grants from the front, and tells the lane of each that it granted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Numbers of places, over all budgets.
static PLACES: AtomicU64 = AtomicU64::new(0);

/// Where one lane is told which of its waiters have their turn.
pub struct Granted {
    numbers: Mutex<Vec<u64>>,
    /// Wakes the lane.
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Granted {
    /// Nobody yet; `ring` wakes the lane.
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { numbers: Mutex::default(), ring: Box::new(ring) })
    }

    /// The numbers of the places that were granted since the last time.
    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, number: u64) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        (self.ring)();
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("numbers", &self.numbers).finish_non_exhaustive()
    }
}

/// The budget, in bytes.
#[derive(Debug)]
pub struct Budget {
    max: u64,
    used: AtomicU64,
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Turn>>>,
}

#[derive(Debug)]
struct Turn {
    number: u64,
    need: u64,
    granted: AtomicBool,
    lane: Arc<Granted>,
}

impl Budget {
    /// A budget of `max` bytes.
    pub fn new(max: u64) -> Self {
        Self { max, used: AtomicU64::new(0), waiting: AtomicUsize::new(0), queue: Mutex::default() }
    }

    /// Its size.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Bytes reserved.
    #[cfg(test)]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Reserves `need` bytes, or takes a place in the queue; `lane` is told when it is granted. What exceeds the whole
    /// budget waits for ever.
    pub fn reserve(self: &Arc<Self>, need: u64, lane: &Arc<Granted>) -> Result<Reservation, Place> {
        if self.waiting.load(Ordering::Acquire) == 0 && self.take(need) {
            return Ok(Reservation { budget: Arc::clone(self), bytes: need });
        }
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let turn = Arc::new(Turn { number, need, granted: AtomicBool::new(false), lane: Arc::clone(lane) });
        let mut queue = self.lock();
        queue.push_back(Arc::clone(&turn));
        self.waiting.store(queue.len(), Ordering::Release);
        // Room may have been given back before anybody could see that somebody waits.
        self.grant(&mut queue);
        Err(Place { budget: Arc::clone(self), turn })
    }

    fn take(&self, need: u64) -> bool {
        let more = |used: u64| used.checked_add(need).filter(|used| *used <= self.max);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.grant(&mut self.lock());
        }
    }

    /// Grants from the front as far as there is room: a small body never overtakes a large one.
    fn grant(&self, queue: &mut MutexGuard<'_, VecDeque<Arc<Turn>>>) {
        while let Some(turn) = queue.front()
            && self.take(turn.need)
        {
            turn.granted.store(true, Ordering::Release);
            turn.lane.tell(turn.number);
            queue.pop_front();
        }
        self.waiting.store(queue.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Turn>>> {
        // A panic under the lock leaves the queue as it was before or after one step, which is sound either way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reserved bytes; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// Makes it `bytes` large, at once or not at all: a body that is half read does not wait, or two of them could wait
    /// for each other.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let granted = self.budget.take(more);
        if granted {
            self.bytes += more;
        }
        granted
    }

    /// How large it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// A place in the queue; left when dropped.
#[derive(Debug)]
pub struct Place {
    budget: Arc<Budget>,
    turn: Arc<Turn>,
}

impl Place {
    /// What its lane is told by.
    pub fn number(&self) -> u64 {
        self.turn.number
    }

    /// The reservation, if it was granted.
    pub fn claim(self) -> Result<Reservation, Self> {
        match self.turn.granted.swap(false, Ordering::AcqRel) {
            true => Ok(Reservation { budget: Arc::clone(&self.budget), bytes: self.turn.need }),
            false => Err(self),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.budget.lock();
        queue.retain(|turn| !Arc::ptr_eq(turn, &self.turn));
        if self.turn.granted.swap(false, Ordering::AcqRel) {
            self.budget.used.fetch_sub(self.turn.need, Ordering::AcqRel);
        }
        self.budget.grant(&mut queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Arc<Granted> {
        Granted::new(|| {})
    }

    #[test]
    fn room_is_granted_in_the_order_of_asking() {
        let budget = Arc::new(Budget::new(100));
        let first = budget.reserve(80, &lane()).unwrap();
        let large = budget.reserve(90, &lane()).unwrap_err();
        let small = budget.reserve(10, &lane()).unwrap_err();
        let small = small.claim().expect_err("a small body never overtakes a large one");
        let large = large.claim().unwrap_err();
        drop(first);
        let (large, small) = (large.claim().unwrap(), small.claim().unwrap());
        assert_eq!((budget.used(), large.bytes()), (100, 90));
        drop((large, small));
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(100, &lane()).is_ok());
    }

    #[test]
    fn who_leaves_the_queue_lets_the_next_one_through() {
        let budget = Arc::new(Budget::new(100));
        let first = budget.reserve(60, &lane()).unwrap();
        let too_large = budget.reserve(200, &lane()).unwrap_err();
        let second = budget.reserve(40, &lane()).unwrap_err();
        drop(too_large);
        let second = second.claim().unwrap();
        let third = budget.reserve(1, &lane()).unwrap_err();
        drop(second);
        drop(third);
        drop(first);
        assert_eq!(budget.used(), 0, "a grant that nobody claimed is given back");
    }

    #[test]
    fn the_lane_of_who_waits_is_told_and_rung_once_for_each_grant() {
        let rings = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&rings);
        let lane = Granted::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let budget = Arc::new(Budget::new(10));
        let first = budget.reserve(10, &lane).unwrap();
        let (a, b) = (budget.reserve(4, &lane).unwrap_err(), budget.reserve(5, &lane).unwrap_err());
        assert_eq!(lane.take(), Vec::<u64>::new());
        drop(first);
        assert_eq!((lane.take(), rings.load(Ordering::Relaxed)), (vec![a.number(), b.number()], 2));
    }

    #[test]
    fn growing_waits_for_nobody() {
        let budget = Arc::new(Budget::new(100));
        let mut one = budget.reserve(10, &lane()).unwrap();
        let waiting = budget.reserve(95, &lane()).unwrap_err();
        assert!(one.grow(60) && !one.grow(101) && one.bytes() == 60);
        drop(one);
        assert!(waiting.claim().is_ok());
    }

    #[test]
    fn many_threads_never_exceed_it() {
        let budget = Arc::new(Budget::new(50));
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let budget = &budget;
                scope.spawn(move || {
                    for round in 0..2000u64 {
                        let mut place = budget.reserve(1 + (round * 7 + thread) % 50, &lane());
                        let reservation = loop {
                            match place {
                                Ok(reservation) => break reservation,
                                Err(waiting) => place = waiting.claim(),
                            }
                            std::thread::yield_now();
                        };
                        assert!(budget.used() <= 50);
                        drop(reservation);
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }
}
