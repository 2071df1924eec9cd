//! What attempts and probes show of an endpoint, and what follows: ejection, return, a smaller share.
//!
//! Three things an attempt can show: success (any answer but the following; a client's own 4xx says nothing against an
//! endpoint), that the endpoint is busy (429, 503: alive, it gets less for a while), and a fault (no connection, a reset,
//! nonsense, a clock that ran out, any other 5xx). So many faults in a row within a window eject an endpoint, for the
//! window, then for twice, three times as long, up to ten times; the one exchange that it then gets decides. An endpoint
//! is ejected only where another one stays, and only up to a share of its cluster.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::board::verdicts::Verdict;

/// Most times the window that an endpoint is out for.
const TIMES_MAX: u32 = 10;

/// The rules of one cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// So many faults in a row eject an endpoint,
    pub consecutive_faults: u32,
    /// within this time, for which it is out then.
    pub window: Duration,
    /// No more of the cluster's endpoints than this share, rounded down; one at least.
    pub share: f64,
    /// How long an endpoint that comes back takes to grow to its share.
    pub slow_start: Duration,
    /// Probes in a row that make it unhealthy,
    pub unhealthy_after: u32,
    /// and well again.
    pub healthy_after: u32,
}

/// What an attempt showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It serves.
    Success,
    /// It is alive, has enough to do, and perhaps said for how long.
    Busy(Option<Duration>),
    /// It failed.
    Fault,
}

impl Sign {
    /// What an answer of this status shows.
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            429 | 503 => Self::Busy(retry_after),
            500.. => Self::Fault,
            _ => Self::Success,
        }
    }
}

/// What a probe showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// 2xx.
    Healthy,
    /// 429 or 503.
    Busy,
    /// Anything else, and silence.
    Unhealthy,
}

/// What is known of one endpoint. It outlives plans, as its verdict does.
#[derive(Debug)]
pub struct Health {
    verdict: Arc<Verdict>,
    /// Something is held against it: a success that finds nothing takes no lock.
    is_troubled: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Faults in a row, the last ones.
    faults: VecDeque<Instant>,
    /// How often in a row it was ejected, and when it came back last.
    ejected: u32,
    returned: Option<Instant>,
    /// Probes in a row with the same outcome.
    failed_probes: u32,
    good_probes: u32,
    is_unhealthy: bool,
}

impl Health {
    /// Nothing is known yet.
    pub fn new(verdict: Arc<Verdict>) -> Self {
        Self { verdict, is_troubled: AtomicBool::new(false), known: Mutex::default() }
    }

    /// What all lanes see of it.
    pub fn verdict(&self) -> &Arc<Verdict> {
        &self.verdict
    }

    /// An attempt showed `sign`. The one that decides is `on_trial`. True where the endpoint should be ejected, if its
    /// cluster allows it: see [`Ward::eject`].
    #[must_use]
    pub fn note(&self, sign: Sign, on_trial: bool, rules: &Rules, now: Instant) -> bool {
        if sign == Sign::Success && !on_trial && !self.is_troubled.load(Ordering::Acquire) {
            return false;
        }
        let mut known = self.lock();
        match sign {
            // What began before it was taken out says nothing new.
            Sign::Fault if !on_trial && self.verdict.is_ejected() => false,
            Sign::Fault => {
                self.is_troubled.store(true, Ordering::Release);
                known.faults.push_back(now);
                while known.faults.len() > rules.consecutive_faults as usize {
                    known.faults.pop_front();
                }
                let is_row = known.faults.len() == rules.consecutive_faults as usize;
                let is_quick = known.faults.front().is_some_and(|first| now - *first <= rules.window);
                on_trial || (is_row && is_quick)
            }
            Sign::Success | Sign::Busy(_) => {
                known.faults.clear();
                known.failed_probes = 0;
                self.is_troubled.store(false, Ordering::Release);
                if on_trial {
                    known.returned = Some(now);
                    self.verdict.readmit(now, rules.slow_start);
                }
                if let Sign::Busy(alone) = sign {
                    self.verdict.ease(now, alone);
                }
                false
            }
        }
    }

    /// A probe showed this.
    pub fn note_probe(&self, probed: Probed, rules: &Rules, now: Instant) {
        let mut known = self.lock();
        match probed {
            Probed::Busy => self.verdict.ease(now, None),
            Probed::Healthy => {
                known.failed_probes = 0;
                known.good_probes += 1;
                if known.is_unhealthy && known.good_probes >= rules.healthy_after {
                    known.is_unhealthy = false;
                    self.verdict.grow(now, rules.slow_start);
                    self.verdict.find(true);
                }
            }
            Probed::Unhealthy => {
                known.good_probes = 0;
                known.failed_probes += 1;
                self.is_troubled.store(true, Ordering::Release);
                if !known.is_unhealthy && known.failed_probes >= rules.unhealthy_after {
                    known.is_unhealthy = true;
                    self.verdict.find(false);
                }
            }
        }
    }

    /// Nobody probes it any more.
    pub fn forget_probes(&self) {
        let mut known = self.lock();
        (known.failed_probes, known.good_probes, known.is_unhealthy) = (0, 0, false);
        self.verdict.find(true);
    }

    fn eject(&self, rules: &Rules, now: Instant) {
        let mut known = self.lock();
        // Who did well for long after its return begins anew.
        let was_well = |back: Instant| now - back > rules.window * TIMES_MAX;
        known.ejected = match known.returned {
            Some(back) if was_well(back) => 1,
            _ => (known.ejected + 1).min(TIMES_MAX),
        };
        known.faults.clear();
        self.verdict.eject(now + rules.window * known.ejected);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // What is known is sound after each statement.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decides over ejections of one cluster, one at a time: two lanes must not take out the last two endpoints at once.
#[derive(Debug, Default)]
pub struct Ward(Mutex<()>);

impl Ward {
    /// Ejects the endpoint at `position`, if the cluster can do without it; whether it is out then.
    pub fn eject(&self, all: &[Arc<Health>], position: usize, rules: &Rules, now: Instant) -> bool {
        let _one_at_a_time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all[position].verdict.is_waiting_out() {
            // Another lane has just seen the same row of faults.
            return true;
        }
        let others =
            || all.iter().enumerate().filter(|(at, _)| *at != position).map(|(_, health)| &health.verdict);
        let out = others().filter(|verdict| verdict.is_ejected()).count();
        let most = ((all.len() as f64 * rules.share) as usize).max(1);
        let one_stays = others().any(|verdict| !verdict.is_ejected() && verdict.is_admitted(now));
        let may = out < most && one_stays;
        if may {
            all[position].eject(rules, now);
        }
        may
    }
}

#[cfg(test)]
mod tests;
