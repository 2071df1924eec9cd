//! How long exchanges last that have places, over all lanes: by it is told when a place comes free, while nobody waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A moving average in one word: whoever ends writes, and of two who do so at once one is lost.
#[derive(Debug, Default)]
pub(super) struct Lasting(AtomicU64);

/// Weight of the newest one, once there are so many that it is the smaller.
const NEWEST: f32 = 0.1;
/// The bounds of what is said.
const LEAST: Duration = Duration::from_millis(1);
const MOST: Duration = Duration::from_secs(60);

impl Lasting {
    /// One lasted so long.
    pub(super) fn note(&self, lasted: Duration) {
        let (mean, count) = self.parts();
        let count = count.saturating_add(1);
        let newest = NEWEST.max(1.0 / count as f32);
        let mean = mean + newest * (lasted.as_secs_f32() - mean);
        self.0.store(u64::from(mean.to_bits()) << 32 | u64::from(count), Ordering::Relaxed);
    }

    /// From one end to the next, while so many go on at once; none where none ended.
    pub(super) fn interval(&self, places: u64) -> Option<Duration> {
        let (mean, count) = self.parts();
        let interval = || Duration::from_secs_f32(mean / places.max(1) as f32);
        (count > 0).then(|| interval().clamp(LEAST, MOST))
    }

    /// Seconds, and of how many.
    fn parts(&self) -> (f32, u32) {
        let word = self.0.load(Ordering::Relaxed);
        (f32::from_bits((word >> 32) as u32), word as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_mean_of_the_first_ones_and_follows_the_last_ones() {
        let lasting = Lasting::default();
        assert_eq!(lasting.interval(1), None);
        for ms in [100, 300] {
            lasting.note(Duration::from_millis(ms));
        }
        let ms = |places| lasting.interval(places).unwrap().as_millis();
        assert_eq!((ms(1), ms(4)), (200, 50));
        (0..100).for_each(|_| lasting.note(Duration::from_secs(1)));
        assert!(ms(1) > 990);
        assert_eq!(lasting.interval(1_000_000), Some(LEAST));
    }
}
