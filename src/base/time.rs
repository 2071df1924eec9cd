//! Deadlines and durations as values; reads no clock.

use std::time::{Duration, Instant};

/// The instant `limit` after `now`, or none where there is no limit.
pub fn deadline(now: Instant, limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| now.checked_add(limit))
}

/// The earlier of two deadlines, where "none" never comes.
pub fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) => one,
        (None, other) => other,
    }
}

/// Whole microseconds from `start` to `end`, zero where they are out of order.
pub fn micros(start: Instant, end: Instant) -> u64 {
    whole_micros(end.saturating_duration_since(start))
}

/// Whole microseconds of a duration; in 64 bits, which hold half a million years of them.
pub fn whole_micros(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000) + u64::from(time.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_deadline_wins_and_none_never_comes() {
        let now = Instant::now();
        let soon = deadline(now, Some(Duration::from_secs(1)));
        let late = deadline(now, Some(Duration::from_secs(2)));
        assert_eq!(earlier(soon, late), soon);
        assert_eq!(earlier(None, late), late);
        assert_eq!(earlier(late, None), late);
        assert_eq!(earlier(None, deadline(now, None)), None);
    }
}
