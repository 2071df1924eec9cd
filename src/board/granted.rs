//! Where a lane is told that somebody's turn has come, whoever on whichever lane grants it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Numbers of places, over all that is waited for.
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

    /// The number of a place that nobody else has.
    pub fn place() -> u64 {
        PLACES.fetch_add(1, Ordering::Relaxed)
    }

    /// The numbers of the places that were granted since the last time.
    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The turn of that place has come.
    pub fn tell(&self, number: u64) {
        let is_first = {
            let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.push(number);
            numbers.len() == 1
        };
        // Whoever told it of another one that it has not looked at yet has rung already.
        if is_first {
            (self.ring)();
        }
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("numbers", &self.numbers).finish_non_exhaustive()
    }
}
