//! What an exchange waits for, as it is noted: when a wait is over, or the exchange is given up in it.

use std::time::{Duration, Instant};

use super::notes::Notes;
use crate::base::fault::Stage;
use crate::base::limits::WRITE_STALL;

impl Notes {
    /// A place was waited for.
    pub(super) fn queued(&mut self, waited: Duration) {
        self.phases.queue += waited;
        self.since = None;
    }

    /// An answer is waited for that another exchange gets, or several give.
    pub(super) fn waits_for_answer(&mut self, now: Instant) {
        (self.stage, self.since) = (Stage::Wait, Some(now));
    }

    /// It has come, or will not.
    pub(super) fn waited_for_answer(&mut self, since: Instant, now: Instant) {
        let waited = now - since;
        self.waited += waited;
        self.phases.wait += waited;
        (self.since, self.answered) = (None, Some(now));
    }

    /// It is given up while something is waited for: where the time went is known all the same. Its request `is_sent`, or not
    /// wholly.
    pub(super) fn give_up(&mut self, is_sent: bool, now: Instant) {
        let Some(waited) = self.since.take().map(|since| now.saturating_duration_since(since)) else {
            return;
        };
        let phase = match self.stage {
            Stage::Route => Some(&mut self.phases.hold),
            Stage::Relay => None,
            Stage::Pick => Some(&mut self.phases.queue),
            Stage::Connect => Some(&mut self.phases.connect),
            Stage::Send if !is_sent => Some(&mut self.phases.send),
            Stage::Send | Stage::Wait => Some(&mut self.phases.wait),
        };
        if let Some(phase) = phase {
            *phase += waited;
        }
        if !matches!(self.stage, Stage::Route | Stage::Pick) {
            self.waited += waited;
        }
    }

    /// A client took so long to take what it was told: what the kernel takes at once is no wait.
    pub(super) fn written(&mut self, took: Duration) {
        if took > WRITE_STALL {
            self.waited_client += took;
        }
    }

    /// The request was kept here since then, for a filter or for room.
    pub(super) fn kept(&mut self, since: Instant) {
        self.phases.hold += since.elapsed();
        self.since = None;
    }
}
