//! Whether a peer takes what is written to it, however slowly: by what it took, not by what a write did.

use std::time::{Duration, Instant};

use crate::base::limits::TICK;
use crate::base::time::deadline;
use crate::net::writer::Writer;

/// How much a peer has taken: bytes handed to the kernel, and of them those that still lie there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes that writes handed to the kernel so far.
    pub(super) handed: u64,
    /// Bytes that the kernel still holds for the peer.
    pub(super) queued: usize,
}

impl Taken {
    /// What the peer of `writer` has taken.
    pub(super) fn from(writer: &Writer) -> Self {
        // Where the kernel does not tell, what it was handed still does.
        Self { handed: writer.progress(), queued: writer.queued().unwrap_or_default() }
    }
}

/// The clock of a write that is under way.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Since when the peer has taken nothing, as far as is known.
    since: Option<Instant>,
    /// What it had taken then. Not asked for at once: most writes end before that matters, and asking is a system call.
    seen: Option<Taken>,
}

impl Stall {
    /// No write is under way any more.
    pub(super) fn clear(&mut self) {
        if self.since.is_some() {
            *self = Self::default();
        }
    }

    /// Whether a write was under way when last looked at.
    pub(super) fn is_running(&self) -> bool {
        self.since.is_some()
    }

    /// Whether a write that is under way was looked at when it did not end at once.
    pub(super) fn was_seen(&self) -> bool {
        self.seen.is_some()
    }

    /// A write is under way. `now` is asked for only where it was not before.
    pub(super) fn begin(&mut self, now: impl FnOnce() -> Instant) {
        self.since.get_or_insert_with(now);
    }

    /// When a write that is under way must be looked at: after a tick, and then when `limit` is over. None where none is
    /// under way, or the peer may take for ever.
    pub(super) fn due(&self, limit: Option<Duration>) -> Option<Instant> {
        let wait = match (self.seen, limit) {
            (None, Some(limit)) => Some(limit.min(TICK)),
            (None, None) => Some(TICK),
            (Some(_), limit) => limit,
        };
        deadline(self.since?, wait)
    }

    /// That time came: whether the peer took nothing at all for as long as `limit`.
    pub(super) fn is_over(&mut self, taken: Taken, limit: Option<Duration>, now: Instant) -> bool {
        match (self.seen.replace(taken), self.since, limit) {
            (Some(seen), _, _) if seen != taken => {
                self.since = Some(now);
                false
            }
            (_, Some(since), Some(limit)) => now.saturating_duration_since(since) >= limit,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_peer_that_takes_a_byte_now_and_then_is_never_cut() {
        let mut stall = Stall::default();
        let mut now = Instant::now();
        stall.begin(|| now);
        for queued in (0..50).rev() {
            let due = stall.due(Some(LIMIT)).unwrap();
            now = due;
            assert!(!stall.is_over(Taken { handed: 9, queued }, Some(LIMIT), now), "{queued} left");
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_is_cut_when_the_limit_is_over_and_not_before() {
        let mut stall = Stall::default();
        let begun = Instant::now();
        let taken = Taken { handed: 9, queued: 9 };
        stall.begin(|| begun);
        let first = stall.due(Some(LIMIT)).unwrap();
        assert!(!stall.is_over(taken, Some(LIMIT), first));
        let second = stall.due(Some(LIMIT)).unwrap();
        assert_eq!(second, begun + LIMIT);
        assert!(stall.is_over(taken, Some(LIMIT), second));
        stall.clear();
        assert!(!stall.is_running() && stall.due(Some(LIMIT)).is_none());
    }
}
