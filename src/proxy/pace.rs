//! How long a client may keep us waiting for its body: a slowest average, our own pauses not counted.

use std::time::{Duration, Instant};

use crate::base::limits::{BODY_RATE_GRACE, BUFFERED_USED_WITHIN};

/// What was waited for one body so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    waited: Duration,
}

impl Pace {
    /// When the client is too slow, if it sends nothing from `now` on. `rate` in bytes a second, zero for any.
    pub(super) fn deadline(&self, rate: u64, received: u64, now: Instant) -> Option<Instant> {
        let micros = u128::from(received) * 1_000_000;
        let earned =
            Duration::from_micros(u64::try_from(micros.checked_div(rate.into())?).unwrap_or(u64::MAX));
        let allowed = BODY_RATE_GRACE.saturating_add(earned);
        now.checked_add(allowed.saturating_sub(self.waited))
    }

    /// We waited for the client this long.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }
}

/// When a body that is held must have grown, while others wait for its room: it reserved `reserved` bytes at `since`, and
/// `held` of them came.
pub(super) fn room_due(reserved: u64, held: u64, since: Instant) -> Instant {
    let micros =
        BUFFERED_USED_WITHIN.as_micros() * u128::from(held.min(reserved)) / u128::from(reserved.max(1));
    let earned = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
    since + earned.max(BODY_RATE_GRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_within_its_time_or_lost() {
        let now = Instant::now();
        let seconds = |reserved, held| (room_due(reserved, held, now) - now).as_secs();
        assert_eq!([seconds(3000, 0), seconds(3000, 300)], [5, 5], "the grace of any body");
        assert_eq!([seconds(3000, 1000), seconds(3000, 3000), seconds(0, 0)], [10, 30, 5]);
    }

    #[test]
    fn bytes_earn_time_and_waiting_spends_it() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let seconds = |pace: &Pace, received| pace.deadline(1024, received, now).unwrap() - now;
        assert_eq!(seconds(&pace, 0), BODY_RATE_GRACE);
        assert_eq!(seconds(&pace, 4096), BODY_RATE_GRACE + Duration::from_secs(4));
        pace.waited(Duration::from_secs(7));
        assert_eq!(seconds(&pace, 4096), BODY_RATE_GRACE - Duration::from_secs(3));
        assert_eq!(seconds(&pace, 0), Duration::ZERO);
        assert_eq!(pace.deadline(0, 0, now), None);
    }
}
