//! How fast those who wait are let in, by how fast exchanges ended while anybody waited.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Ends that are looked at: the pace of the last of them, whatever time they took.
const ENDS: usize = 32;
/// Ends until what is seen counts.
const ENDS_MIN: usize = 4;

/// When exchanges ended, while somebody waited all the time.
#[derive(Debug, Default)]
pub(super) struct Pace {
    ends: VecDeque<Instant>,
}

impl Pace {
    /// Somebody begins to wait where nobody did: what was seen before was the pace of those who asked, not of the cluster.
    pub(super) fn begin(&mut self) {
        self.ends.clear();
    }

    /// An exchange ended.
    pub(super) fn on_end(&mut self, now: Instant) {
        if self.ends.len() == ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
    }

    /// How long it takes until so many have ended, where one does each `usual` as long as nothing was seen; none where nobody
    /// knows.
    pub(super) fn wait(&self, places: usize, usual: Option<Duration>, now: Instant) -> Option<Duration> {
        let seen = self.ends.front().filter(|_| self.ends.len() >= ENDS_MIN);
        let each = match seen {
            Some(first) => now.saturating_duration_since(*first) / self.ends.len() as u32,
            None => usual?,
        };
        Some(each.saturating_mul(u32::try_from(places).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_ended_lately_and_a_silence() {
        let (mut pace, usual) = (Pace::default(), Duration::from_secs(1));
        let mut now = Instant::now();
        assert_eq!((pace.wait(3, Some(usual), now), pace.wait(3, None, now)), (Some(3 * usual), None));
        for _ in 0..100 {
            now += Duration::from_millis(100);
            pace.on_end(now);
        }
        let wait = pace.wait(10, None, now).unwrap().as_millis();
        assert!((900..=1000).contains(&wait), "{wait}");
        let later = pace.wait(10, None, now + Duration::from_secs(10)).unwrap();
        assert!(later > 4 * usual, "nothing ended for ten seconds: {later:?}");
        pace.begin();
        assert_eq!(pace.wait(1, Some(usual), now), Some(usual));
    }
}
