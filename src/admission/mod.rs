//! The bounded, classed queue in front of a cluster: who is let in at once, who waits, who is refused and when to come back.
//!
//! It is there when a cluster is full: every admitted endpoint has as many exchanges as it may. Lanes share it. While nobody
//! waits it costs whoever comes and whoever ends one look at a number; only who waits, and who ends while somebody does,
//! takes the lock. Whose turn has come is told to its lane, and picks an endpoint like any other; until it has, one place is
//! kept for it from those who come. A lane that finds free places on its tick grants them, so that no turn is lost, however
//! a place came free: an endpoint that is back, a reload that raised a ceiling.

mod lasting;
mod line;
mod pace;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lasting::Lasting;
use line::Number;
pub use line::{Key, Line};
use pace::Pace;

use crate::board::granted::Granted;

/// The queue of one cluster, over all lanes; it stays through reloads.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: AtomicUsize,
    /// Turns that were granted and not used yet.
    granted: AtomicUsize,
    lasting: Lasting,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    line: Line<Arc<Turn>>,
    pace: Pace,
}

/// Somebody's turn.
#[derive(Debug)]
struct Turn {
    /// What its lane is told.
    number: u64,
    is_granted: AtomicBool,
    lane: Arc<Granted>,
}

/// What holds for one who comes.
#[derive(Debug, Clone, Copy)]
pub struct Asks {
    /// Its class, by its place among those of the cluster.
    pub class: usize,
    /// Whose it is.
    pub key: Key,
    /// How long it would wait at most.
    pub patience: Duration,
    /// Most that wait at once.
    pub max: usize,
    /// How long it takes until a place comes free, by how long exchanges last here, where that is known; for a queue that was
    /// not waited in.
    pub usual: Option<Duration>,
}

/// Why somebody is not let in to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// How long it would have waited, where that is known.
    pub wait: Option<Duration>,
}

/// Longest wait that is told: whoever is told more does not come back.
const TOLD_MAX: Duration = Duration::from_secs(600);

impl Queue {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// How many wait in each of so many classes.
    pub fn waiting_in(&self, classes: usize) -> Vec<usize> {
        let held = self.lock();
        (0..classes).map(|class| held.line.count_of(class)).collect()
    }

    /// Whether nobody is to be let in before whoever comes.
    pub fn is_quiet(&self) -> bool {
        self.waiting() == 0 && self.granted.load(Ordering::Acquire) == 0
    }

    /// An exchange with a place lasted so long.
    pub fn lasted(&self, time: Duration) {
        self.lasting.note(time);
    }

    /// How long it takes until one of so many places comes free where all are taken; none where nobody knows.
    pub fn usual(&self, places: u64) -> Option<Duration> {
        self.lasting.interval(places)
    }

    /// Takes a place in the line.
    ///
    /// # Errors
    ///
    /// The line is full, or the wait would be too long.
    pub fn enter(self: &Arc<Self>, asks: Asks, lane: &Arc<Granted>, now: Instant) -> Result<Seat, Refused> {
        let turn = Arc::new(Turn {
            number: Granted::place(),
            is_granted: AtomicBool::new(false),
            lane: Arc::clone(lane),
        });
        let mut held = self.lock();
        if held.line.count() == 0 {
            held.pace.begin();
        }
        let Asks { class, key, patience, max, usual } = asks;
        let count = held.line.count();
        // Whoever finds the line full learns how long it is, and costs no look at who is in it.
        let before = if count >= max { count } else { held.line.before(class, key) };
        let wait = held.pace.wait(before + 1, usual, now);
        let is_late = patience.is_zero() || wait.is_some_and(|wait| wait > patience);
        if count >= max || is_late {
            return Err(Refused { wait: wait.map(|wait| wait.min(TOLD_MAX)) });
        }
        let number = held.line.enter(class, key, Arc::clone(&turn));
        self.waiting.store(held.line.count(), Ordering::Release);
        Ok(Seat { queue: Arc::clone(self), turn, number, class, key })
    }

    /// An exchange ended at `now`: whoever waits longest in the first class is let in.
    #[inline(always)] // each exchange with a place ends here
    pub fn on_end(&self, now: Option<Instant>) {
        if self.waiting() > 0 {
            self.hand_on(now);
        }
    }

    #[cold]
    fn hand_on(&self, now: Option<Instant>) {
        let mut held = self.lock();
        if let Some(now) = now {
            held.pace.on_end(now);
        }
        self.grant(&mut held);
    }

    /// So many places are free: lets as many in, less those that were let in and have not picked yet.
    pub fn fill(&self, free: u64) {
        if self.waiting() == 0 {
            return;
        }
        let mut held = self.lock();
        let coming = self.granted.load(Ordering::Acquire) as u64;
        for _ in coming..free {
            if !self.grant(&mut held) {
                return;
            }
        }
    }

    /// Lets the next one in, if anybody waits.
    fn grant(&self, held: &mut MutexGuard<'_, Held>) -> bool {
        let next = held.line.turn();
        self.let_in(next, held)
    }

    fn let_in(&self, turn: Option<Arc<Turn>>, held: &MutexGuard<'_, Held>) -> bool {
        self.waiting.store(held.line.count(), Ordering::Release);
        let Some(turn) = turn else { return false };
        self.granted.fetch_add(1, Ordering::AcqRel);
        turn.is_granted.store(true, Ordering::Release);
        turn.lane.tell(turn.number);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // A panic under the lock leaves the line as it was before or after one step, which is sound either way.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line; left when dropped.
#[derive(Debug)]
pub struct Seat {
    queue: Arc<Queue>,
    turn: Arc<Turn>,
    number: Number,
    class: usize,
    key: Key,
}

impl Seat {
    /// What its lane is told by.
    pub fn number(&self) -> u64 {
        self.turn.number
    }

    /// Whether its turn has come.
    pub fn is_granted(&self) -> bool {
        self.turn.is_granted.load(Ordering::Acquire)
    }

    /// There was no place for it, or somebody else had it: it waits on, where it was. The turn goes to whoever came next behind
    /// it, for the place may be one that only some can use; so each is asked once.
    pub fn wait_on(&self) {
        let mut held = self.queue.lock();
        if self.turn.is_granted.swap(false, Ordering::AcqRel) {
            self.queue.granted.fetch_sub(1, Ordering::AcqRel);
            let next = held.line.behind(self.number);
            held.line.back(self.number, self.class, self.key, Arc::clone(&self.turn));
            self.queue.let_in(next, &held);
        }
    }

    /// How long it takes until it is let in, at least, where so many would be before it.
    pub fn expected(&self, usual: Option<Duration>, now: Instant) -> Option<Duration> {
        let held = self.queue.lock();
        let wait = held.pace.wait(held.line.before(self.class, self.key).max(1), usual, now);
        wait.map(|wait| wait.min(TOLD_MAX))
    }

    /// It picked an endpoint: its turn is used.
    pub fn claim(self) {
        self.use_turn();
    }

    fn use_turn(&self) -> bool {
        let was_granted = self.turn.is_granted.swap(false, Ordering::AcqRel);
        if was_granted {
            self.queue.granted.fetch_sub(1, Ordering::AcqRel);
        }
        was_granted
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut held = self.queue.lock();
        let has_left = held.line.leave(self.number).is_some();
        self.queue.waiting.store(held.line.count(), Ordering::Release);
        // A turn that nobody uses is the next one's.
        if !has_left && self.use_turn() {
            self.queue.grant(&mut held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn asks(class: usize) -> Asks {
        Asks { class, key: 1, patience: 60 * SECOND, max: 3, usual: Some(SECOND) }
    }

    fn lane() -> Arc<Granted> {
        Granted::new(|| {})
    }

    #[test]
    fn a_turn_is_told_once_and_kept_until_it_is_used() {
        let (queue, lane, now) = (Arc::<Queue>::default(), lane(), Instant::now());
        assert!(queue.is_quiet());
        let one = queue.enter(asks(1), &lane, now).unwrap();
        let two = queue.enter(asks(0), &lane, now).unwrap();
        queue.on_end(Some(now));
        assert_eq!((lane.take(), two.is_granted(), one.is_granted()), (vec![two.number()], true, false));
        queue.on_end(Some(now));
        assert!(one.is_granted() && queue.waiting() == 0 && !queue.is_quiet());
        two.claim();
        assert!(!queue.is_quiet(), "the other one has not picked yet");
        one.claim();
        assert!(queue.is_quiet());
    }

    #[test]
    fn a_turn_that_is_not_used_goes_to_the_next_one() {
        let (queue, lane, now) = (Arc::<Queue>::default(), lane(), Instant::now());
        let seats: Vec<_> = (0..3).map(|_| queue.enter(asks(0), &lane, now).unwrap()).collect();
        queue.on_end(Some(now));
        let mut seats = seats.into_iter();
        drop(seats.next());
        let two = seats.next().unwrap();
        assert!(two.is_granted());
        two.wait_on();
        let three = seats.next().unwrap();
        assert!(!two.is_granted() && three.is_granted(), "the place may be one for the other");
        three.wait_on();
        assert!(!two.is_granted() && queue.waiting() == 2, "each is asked once");
        queue.fill(1);
        assert!(two.is_granted(), "it is where it was, in front of the last one");
        queue.fill(1);
        assert_eq!(queue.waiting(), 1, "the place is kept for it");
        drop(two);
        assert!(three.is_granted());
        drop(three);
        assert!(queue.is_quiet());
    }

    #[test]
    fn who_would_wait_too_long_is_refused_and_told_how_long() {
        let (queue, lane, now) = (Arc::<Queue>::default(), lane(), Instant::now());
        let seats: Vec<_> = (0..3).map(|_| queue.enter(asks(0), &lane, now).unwrap()).collect();
        assert_eq!(
            queue.enter(asks(0), &lane, now).unwrap_err(),
            Refused { wait: Some(4 * SECOND) },
            "it is full"
        );
        drop(seats);
        let _one = queue.enter(asks(0), &lane, now).unwrap();
        let hasty = Asks { patience: SECOND, ..asks(0) };
        assert_eq!(queue.enter(hasty, &lane, now).unwrap_err(), Refused { wait: Some(2 * SECOND) });
        assert!(queue.enter(Asks { patience: 2 * SECOND, ..hasty }, &lane, now).is_ok());
        assert!(queue.enter(Asks { usual: None, ..hasty }, &lane, now).is_ok(), "nobody knows");
        let (hopeless, fresh) =
            (Asks { patience: Duration::ZERO, usual: None, ..hasty }, Arc::<Queue>::default());
        assert!(fresh.enter(hopeless, &lane, now).is_err(), "it has no time at all");
    }

    #[test]
    fn nobody_is_lost_whoever_leaves_and_ends_at_once() {
        let queue = Arc::<Queue>::default();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || {
                    let (lane, now) = (lane(), Instant::now());
                    for step in 0..2000 {
                        let asks = Asks { max: 1000, ..asks((step + thread) % 3) };
                        let seat = queue.enter(asks, &lane, now).unwrap();
                        queue.on_end(Some(now));
                        match step % 3 {
                            0 => drop(seat),
                            1 if seat.is_granted() => seat.claim(),
                            _ => seat.wait_on(),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(queue.is_quiet(), "{queue:?}");
    }
}
