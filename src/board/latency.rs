//! How fast each endpoint answered of late: a peak-sensitive average, shared by all lanes, one word wide.
//!
//! Whoever was answered writes, whoever picks reads. Two lanes that write at once may lose one of the two: the next answer
//! tells again.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Padded;

/// In this time what was seen loses all but a share of 1/e of its weight.
const DECAY: Duration = Duration::from_secs(10);

/// A moving average that follows a slower answer at once and a faster one slowly (the "peak EWMA" of Finagle's balancer);
/// left alone it fades, so that an endpoint that was slow once is asked again.
pub struct Latency {
    born: Instant,
    /// Seconds as `f32` in the upper half, milliseconds since birth in the lower; 0 is nothing yet.
    last: Padded<AtomicU64>,
}

/// Without the time that it began to be known, which differs from one process to the next.
impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Latency").field(&self.last.0).finish()
    }
}

impl Latency {
    /// Nothing is known.
    pub fn new(now: Instant) -> Self {
        Self { born: now, last: Padded::default() }
    }

    /// An answer took `took`, as seen at `now`.
    pub fn note(&self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let next = match self.known(now) {
            Some((average, weight)) if took < average => average * weight + took * (1.0 - weight),
            _ => took,
        };
        // Not a number of zero bits, for that is nothing.
        let seconds = (next as f32).max(f32::MIN_POSITIVE);
        let word = u64::from(seconds.to_bits()) << 32 | u64::from(self.age(now));
        self.last.0.store(word, Ordering::Relaxed);
    }

    /// How long an answer is expected to take, in seconds; none where nothing is known.
    pub fn seconds(&self, now: Instant) -> Option<f64> {
        self.known(now).map(|(average, weight)| average * weight)
    }

    /// The average when it was noted, and how much of its weight is left.
    fn known(&self, now: Instant) -> Option<(f64, f64)> {
        let word = self.last.0.load(Ordering::Relaxed);
        if word == 0 {
            return None;
        }
        // Seven weeks wrap around; what another lane noted a moment later has no age.
        let age = self.age(now).wrapping_sub(word as u32) as i32;
        let age = f64::from(age.max(0)) / 1000.0;
        Some((f64::from(f32::from_bits((word >> 32) as u32)), (-age / DECAY.as_secs_f64()).exp()))
    }

    fn age(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.born).as_millis() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_follows_a_peak_at_once_and_forgets_it_slowly() {
        let begun = Instant::now();
        let latency = Latency::new(begun);
        assert_eq!(latency.seconds(begun), None);
        let near = |latency: &Latency, at: Instant, wanted: f64| {
            let seconds = latency.seconds(at).unwrap();
            assert!((seconds - wanted).abs() < wanted / 100.0, "{seconds}, not {wanted}");
        };
        latency.note(100 * MS, begun);
        near(&latency, begun, 0.1);
        latency.note(2000 * MS, begun);
        near(&latency, begun, 2.0);
        latency.note(100 * MS, begun + DECAY);
        near(&latency, begun + DECAY, 2.0 / std::f64::consts::E + 0.1 * (1.0 - 1.0 / std::f64::consts::E));
        assert!(latency.seconds(begun + 11 * DECAY).unwrap() < 0.001, "nobody asked it for long")
    }

    #[test]
    fn a_time_before_the_last_note_is_as_that_note() {
        let begun = Instant::now();
        let latency = Latency::new(begun);
        latency.note(100 * MS, begun + 5 * MS);
        assert!((latency.seconds(begun).unwrap() - 0.1).abs() < 1e-6);
    }
}
