//! How hard an endpoint is pressed by its own word, as all lanes see it: it weighs in a pick, and fades when it grows old.
//!
//! The control thread writes it, once a second at most, and a lane whose answer says it; a pick reads it without a lock, and for one
//! that is at ease it costs one load. It never takes an endpoint out: the most that it does is to make it count twice.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::base::limits::{SIGNAL_LASTS, SIGNAL_PERIOD};

/// What the load of an endpoint at ease is multiplied by, and the most that one is pressed above that.
pub const EVEN: u64 = 256;

/// The pressure on one endpoint. It outlives plans, as its load does.
#[derive(Debug, Default)]
pub struct Pressure {
    /// When the first was noted.
    since: OnceLock<Instant>,
    /// The last one, of [`EVEN`] at most, in the low bits, and when it was noted, in milliseconds; zero where there is none.
    noted: AtomicU64,
}

const LEVEL_BITS: u32 = 16;

impl Pressure {
    /// The endpoint said at `now` that it is pressed so much, of [`EVEN`] at most.
    pub fn note(&self, level: u64, now: Instant) {
        let since = *self.since.get_or_init(|| now);
        let age = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(0);
        let level = level.min(EVEN);
        self.noted.store(if level == 0 { 0 } else { age << LEVEL_BITS | level }, Ordering::Relaxed);
    }

    /// What its load is multiplied by at `now`, in parts of [`EVEN`]: once up to twice.
    pub fn bias(&self, now: Instant) -> u64 {
        match self.noted.load(Ordering::Relaxed) {
            0 => EVEN,
            noted => self.faded(noted, now),
        }
    }

    #[cold]
    fn faded(&self, noted: u64, now: Instant) -> u64 {
        let Some(since) = self.since.get() else { return EVEN };
        let noted_at = *since + Duration::from_millis(noted >> LEVEL_BITS);
        bias(noted & ((1 << LEVEL_BITS) - 1), now.saturating_duration_since(noted_at))
    }
}

/// What a load counts for, in parts of [`EVEN`], where its endpoint said so long ago that it is pressed so much: all of it for
/// one period, then less and less, and nothing when it is too old.
fn bias(level: u64, age: Duration) -> u64 {
    let left = SIGNAL_LASTS.saturating_sub(age).min(SIGNAL_LASTS - SIGNAL_PERIOD);
    let whole = SIGNAL_LASTS - SIGNAL_PERIOD;
    EVEN + level.min(EVEN) * left.as_millis() as u64 / whole.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_for_one_period_and_fades_until_it_is_too_old() {
        for (level, age, expected) in [
            (0, 0, 256),
            (256, 0, 512),
            (256, 1000, 512),
            (256, 1500, 448),
            (256, 2000, 384),
            (256, 2999, 256),
            (256, 3000, 256),
            (256, 1_000_000, 256),
            (51, 900, 307),
            (51, 2000, 281),
            // No more than twice, whatever is said.
            (9999, 0, 512),
        ] {
            assert_eq!(bias(level, Duration::from_millis(age)), expected, "{level} {age}");
        }
    }

    #[test]
    fn the_last_word_counts_and_an_endpoint_at_ease_is_even_at_once() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let pressure = Pressure::default();
        assert_eq!(pressure.bias(now), EVEN);
        pressure.note(128, now);
        assert_eq!(
            [0, 1000, 2000, 3000, 90_000].map(|ms| pressure.bias(after(ms))),
            [384, 384, 320, 256, 256]
        );
        pressure.note(256, after(5000));
        assert_eq!([4000, 5000, 7000].map(|ms| pressure.bias(after(ms))), [512, 512, 384]);
        pressure.note(0, after(5500));
        assert_eq!(pressure.bias(after(5500)), EVEN);
    }
}
