//! Request bodies held at once: one budget over all lanes, granted in the order of asking.
//!
//! While there is room a reservation is one compare-and-swap. Only who finds none takes the lock, to queue; whoever
//! gives room back while somebody waits takes it too, grants from the front, and tells the lane of each that it granted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::granted::Granted;
use crate::base::limits::{BUFFERED_SMALL_BYTES, BUFFERED_SMALL_PART, BUFFERED_SPARE_PART};

/// The budget, in bytes.
///
/// A share of it is kept for small bodies, which never wait behind large ones.
#[derive(Debug)]
pub struct Budget {
    max: u64,
    used: AtomicU64,
    /// Who waits: small bodies, and large ones.
    lines: [Line; 2],
}

/// Those of one size who wait, in the order of asking.
#[derive(Debug, Default)]
struct Line {
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

/// Which room a body may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Small,
    Large,
}

impl Size {
    fn of(bytes: u64) -> Self {
        if bytes <= BUFFERED_SMALL_BYTES { Self::Small } else { Self::Large }
    }
}

impl Budget {
    /// A budget of `max` bytes.
    pub fn new(max: u64) -> Self {
        Self { max, used: AtomicU64::new(0), lines: Default::default() }
    }

    /// Its size.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The longest body that has room: all of a budget but what is kept for small ones.
    pub fn longest(max: u64) -> u64 {
        (max - max / BUFFERED_SMALL_PART).max(max.min(BUFFERED_SMALL_BYTES))
    }

    /// What may be in use of a budget where a copy takes some: nobody waits for it, and it must keep nobody waiting.
    pub fn spare(max: u64) -> u64 {
        max / BUFFERED_SPARE_PART
    }

    /// Bytes reserved.
    #[cfg(test)]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Whether anybody waits for room: then who holds some without using it holds it against somebody.
    pub fn is_waited_for(&self) -> bool {
        self.lines.iter().any(|line| line.waiting.load(Ordering::Acquire) > 0)
    }

    /// Reserves `need` bytes, or takes a place in the queue; `lane` is told when it is granted. What exceeds the whole
    /// budget waits for ever.
    pub fn reserve(self: &Arc<Self>, need: u64, lane: &Arc<Granted>) -> Result<Reservation, Place> {
        if let Some(room) = self.reserve_now(need) {
            return Ok(room);
        }
        let size = Size::of(need);
        let line = &self.lines[size as usize];
        let number = Granted::place();
        let turn = Arc::new(Turn { number, need, granted: AtomicBool::new(false), lane: Arc::clone(lane) });
        let mut queue = line.lock();
        queue.push_back(Arc::clone(&turn));
        line.waiting.store(queue.len(), Ordering::Release);
        // Room may have been given back before anybody could see that somebody waits.
        self.grant(size, &mut queue);
        Err(Place { budget: Arc::clone(self), turn })
    }

    /// Reserves `need` bytes if there is room at once and nobody waits for some.
    pub fn reserve_now(self: &Arc<Self>, need: u64) -> Option<Reservation> {
        let size = Size::of(need);
        let is_free = self.lines[size as usize].waiting.load(Ordering::Acquire) == 0 && self.take(need, size);
        is_free.then(|| Reservation { budget: Arc::clone(self), bytes: need })
    }

    /// Reserves `need` bytes for a copy, if there is room to spare at once and nobody waits for some.
    pub fn reserve_spare(self: &Arc<Self>, need: u64) -> Option<Reservation> {
        self.take_spare(need).then(|| Reservation { budget: Arc::clone(self), bytes: need })
    }

    fn take_spare(&self, need: u64) -> bool {
        !self.is_waited_for() && self.take_up_to(Self::spare(self.max), need)
    }

    fn take(&self, need: u64, size: Size) -> bool {
        let max = match size {
            Size::Small => self.max,
            Size::Large => Self::longest(self.max),
        };
        self.take_up_to(max, need)
    }

    fn take_up_to(&self, max: u64, need: u64) -> bool {
        let more = |used: u64| used.checked_add(need).filter(|used| *used <= max);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
        for size in [Size::Small, Size::Large] {
            let line = &self.lines[size as usize];
            if line.waiting.load(Ordering::Acquire) > 0 {
                self.grant(size, &mut line.lock());
            }
        }
    }

    /// Grants from the front as far as there is room: in its line no body overtakes a larger one.
    fn grant(&self, size: Size, queue: &mut MutexGuard<'_, VecDeque<Arc<Turn>>>) {
        while let Some(turn) = queue.front()
            && self.take(turn.need, size)
        {
            turn.granted.store(true, Ordering::Release);
            turn.lane.tell(turn.number);
            queue.pop_front();
        }
        self.lines[size as usize].waiting.store(queue.len(), Ordering::Release);
    }
}

impl Line {
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
        let granted = self.budget.take(more, Size::of(bytes));
        if granted {
            self.bytes += more;
        }
        granted
    }

    /// The same for that of a copy, while there is room to spare and nobody waits for some.
    pub fn grow_spare(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let granted = self.budget.take_spare(more);
        if granted {
            self.bytes += more;
        }
        granted
    }

    /// Makes it `bytes` small; the rest is given back.
    pub fn shrink(&mut self, bytes: u64) {
        if let Some(less) = self.bytes.checked_sub(bytes) {
            self.bytes = bytes;
            self.budget.release(less);
        }
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
        let size = Size::of(self.turn.need);
        let mut queue = self.budget.lines[size as usize].lock();
        queue.retain(|turn| !Arc::ptr_eq(turn, &self.turn));
        let was_granted = self.turn.granted.swap(false, Ordering::AcqRel);
        self.budget.grant(size, &mut queue);
        drop(queue);
        if was_granted {
            self.budget.release(self.turn.need);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of large bodies are told in these.
    const K: u64 = BUFFERED_SMALL_BYTES;

    fn lane() -> Arc<Granted> {
        Granted::new(|| {})
    }

    #[test]
    fn room_is_granted_in_the_order_of_asking() {
        let budget = Arc::new(Budget::new(160 * K));
        let first = budget.reserve(100 * K, &lane()).unwrap();
        let larger = budget.reserve(120 * K, &lane()).unwrap_err();
        let large = budget.reserve(10 * K, &lane()).unwrap_err();
        let large = large.claim().expect_err("a large body never overtakes a larger one");
        let larger = larger.claim().unwrap_err();
        drop(first);
        let (larger, large) = (larger.claim().unwrap(), large.claim().unwrap());
        assert_eq!((budget.used(), larger.bytes()), (130 * K, 120 * K));
        drop((larger, large));
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(150 * K, &lane()).is_ok());
    }

    #[test]
    fn copies_take_what_is_to_spare_and_nothing_while_anybody_waits() {
        let budget = Arc::new(Budget::new(160 * K));
        let mut copy = budget.reserve_spare(30 * K).unwrap();
        assert!(budget.reserve_spare(11 * K).is_none(), "a quarter is for copies");
        assert!(!copy.grow_spare(41 * K) && copy.grow_spare(40 * K));
        let body = budget.reserve(110 * K, &lane()).unwrap();
        drop(copy);
        assert!(budget.reserve_spare(1).is_none(), "it is in use by bodies");
        drop(body);
        let mut copy = budget.reserve_spare(K).unwrap();
        let waiting = budget.reserve(150 * K, &lane()).unwrap_err();
        assert!(budget.reserve_spare(1).is_none() && !copy.grow_spare(2 * K), "somebody waits");
        drop(copy);
        assert!(waiting.claim().is_ok());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn small_bodies_never_wait_behind_large_ones() {
        let budget = Arc::new(Budget::new(160 * K));
        let all = budget.reserve(150 * K, &lane()).unwrap();
        assert_eq!(Budget::longest(160 * K), all.bytes(), "a sixteenth is kept");
        let waiting = budget.reserve(2 * K, &lane()).unwrap_err();
        assert!(budget.is_waited_for());
        let small: Vec<_> = (0..10).map(|_| budget.reserve(K, &lane()).unwrap()).collect();
        let eleventh = budget.reserve(1, &lane()).unwrap_err();
        drop(small);
        assert!(eleventh.claim().is_ok() && waiting.claim().is_err());
    }

    #[test]
    fn what_is_given_back_early_lets_others_in() {
        let budget = Arc::new(Budget::new(160 * K));
        let mut one = budget.reserve(150 * K, &lane()).unwrap();
        let next = budget.reserve(100 * K, &lane()).unwrap_err();
        one.shrink(10 * K);
        assert!(next.claim().is_ok());
        drop(one);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn who_leaves_the_queue_lets_the_next_one_through() {
        let budget = Arc::new(Budget::new(160 * K));
        let first = budget.reserve(90 * K, &lane()).unwrap();
        let too_large = budget.reserve(200 * K, &lane()).unwrap_err();
        let second = budget.reserve(60 * K, &lane()).unwrap_err();
        drop(too_large);
        let second = second.claim().unwrap();
        let third = budget.reserve(2 * K, &lane()).unwrap_err();
        drop(second);
        drop(third);
        drop(first);
        assert_eq!(budget.used(), 0, "a grant that nobody claimed is given back");
    }

    #[test]
    fn the_lane_of_who_waits_is_told_of_each_grant_and_rung_once_until_it_looks() {
        let rings = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&rings);
        let lane = Granted::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let budget = Arc::new(Budget::new(10));
        let first = budget.reserve(10, &lane).unwrap();
        let (a, b) = (budget.reserve(4, &lane).unwrap_err(), budget.reserve(5, &lane).unwrap_err());
        assert_eq!(lane.take(), Vec::<u64>::new());
        let rung = || rings.load(Ordering::Relaxed);
        drop(first);
        assert_eq!(rung(), 1, "both are told before it looks");
        assert_eq!(lane.take(), [a.number(), b.number()]);
        let (a, b) = (a.claim().unwrap(), b.claim().unwrap());
        let (c, d) = (budget.reserve(5, &lane).unwrap_err(), budget.reserve(4, &lane).unwrap_err());
        drop(b);
        assert_eq!((rung(), lane.take()), (2, vec![c.number()]), "it has looked since");
        drop(a);
        assert_eq!((rung(), lane.take()), (3, vec![d.number()]));
    }

    #[test]
    fn growing_waits_for_nobody() {
        let budget = Arc::new(Budget::new(160 * K));
        let mut one = budget.reserve(10 * K, &lane()).unwrap();
        let waiting = budget.reserve(145 * K, &lane()).unwrap_err();
        assert!(one.grow(60 * K) && !one.grow(151 * K) && one.bytes() == 60 * K);
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
