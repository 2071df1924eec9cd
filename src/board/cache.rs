//! Answers that are kept over all lanes, by bytes and age; the least recently used go first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::base::digest::Digest;
use crate::base::limits::CACHE_ENTRY_OVERHEAD;

/// What is kept, of `max` bytes together.
#[derive(Debug)]
pub struct Cache<V> {
    max: u64,
    kept: Mutex<Kept<V>>,
}

#[derive(Debug)]
struct Kept<V> {
    entries: LruCache<Digest, Entry<V>>,
    bytes: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    bytes: u64,
    since: Instant,
    lasts: Duration,
}

impl<V> Cache<V> {
    /// Nothing yet.
    pub fn new(max: u64) -> Self {
        let entries = LruCache::unbounded();
        Self { max, kept: Mutex::new(Kept { entries, bytes: 0 }) }
    }

    fn lock(&self) -> MutexGuard<'_, Kept<V>> {
        // A panic under the lock leaves it as it was before or after one step, which is sound either way.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The longest value that is kept: a quarter of all, so that one does not drive out everything.
    pub fn longest(&self) -> u64 {
        self.max / 4
    }

    /// What is known of `asked`, and for how long.
    pub fn get(&self, asked: &Digest, now: Instant) -> Option<(Arc<V>, Duration)> {
        let mut kept = self.lock();
        let entry = kept.entries.get(asked)?;
        let age = now.saturating_duration_since(entry.since);
        if age >= entry.lasts {
            kept.forget(asked);
            return None;
        }
        Some((Arc::clone(&entry.value), age))
    }

    /// Keeps a value of so many bytes for so long.
    pub fn put(&self, asked: Digest, value: Arc<V>, bytes: u64, now: Instant, lasts: Duration) {
        let bytes = bytes.saturating_add(CACHE_ENTRY_OVERHEAD);
        let mut kept = self.lock();
        kept.forget(&asked);
        if bytes > self.longest() || lasts.is_zero() {
            return;
        }
        kept.bytes += bytes;
        kept.entries.push(asked, Entry { value, bytes, since: now, lasts });
        while kept.bytes > self.max {
            let Some((_, oldest)) = kept.entries.pop_lru() else { break };
            kept.bytes -= oldest.bytes;
        }
    }
}

impl<V> Kept<V> {
    fn forget(&mut self, asked: &Digest) {
        if let Some(entry) = self.entries.pop(asked) {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_age_bound_what_is_kept_and_the_least_recently_used_goes() {
        let now = Instant::now();
        let key = |number: u8| Digest::of(&[number]);
        let each = 1000 - CACHE_ENTRY_OVERHEAD;
        let cache = Cache::new(4000);
        for number in 0..4 {
            cache.put(key(number), Arc::new(number), each, now, Duration::from_secs(number.into()));
        }
        let value = |number, later| {
            cache
                .get(&key(number), now + Duration::from_millis(later))
                .map(|(value, age)| (*value, age.as_millis()))
        };
        assert_eq!(value(0, 0), None, "it lasts no time");
        assert_eq!((value(1, 999), value(1, 1000)), (Some((1, 999)), None));
        assert_eq!(value(2, 500), Some((2, 500)));
        for number in 4..7 {
            cache.put(key(number), Arc::new(number), each, now, Duration::from_secs(9));
        }
        assert_eq!((value(3, 0), value(2, 0).is_some()), (None, true), "the one that was used stays");
        cache.put(key(2), Arc::new(9), each, now, Duration::from_secs(9));
        assert_eq!(value(2, 0), Some((9, 0)));
        cache.put(key(2), Arc::new(9), each + 1, now, Duration::from_secs(9));
        assert_eq!(value(2, 0), None, "what is too long is not kept, nor what it would have replaced");
    }
}
