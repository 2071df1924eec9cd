//! Whether an endpoint is admitted, and at which share: what operator and health say of it, seen by all lanes at once.
//!
//! Written by whoever learns something (rarely), read at each pick without a lock. Times are milliseconds since the
//! verdict was made. An endpoint of which there is nothing to say costs a reader one load.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Padded;

/// The whole share of an endpoint; what it is worth besides its weight.
pub const WHOLE: u32 = 1024;
/// The least share of one that is admitted: it must be asked, or nobody learns that it is well again.
const LEAST: u32 = WHOLE / 16;
/// One answer of a busy endpoint halves its share for so long; its share doubles again in each such time.
const BUSY_STEP: Duration = Duration::from_secs(1);
/// Most steps: a sixteenth.
const BUSY_STEPS: u32 = 4;

/// What an endpoint may be given now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// This much of [`WHOLE`], more than nothing.
    Share(u32),
    /// It asked to be left alone for a while: nothing while others are admitted.
    Held,
    /// One exchange, which decides whether it is well again.
    Trial,
    /// Nothing.
    Out,
}

/// Why it is not simply admitted; one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum Flag {
    Drained = 1,
    Unhealthy = 2,
    Ejected = 4,
    /// Its share is less than whole, for now.
    Lowered = 8,
}

/// The verdict on one endpoint. It outlives plans: an endpoint that stays keeps its verdict through reloads.
pub struct Verdict {
    born: Instant,
    flags: Padded<AtomicU64>,
    /// Ejected until then; afterwards one exchange decides.
    ejected_until: AtomicU64,
    on_trial: AtomicBool,
    /// It grows to its share from the first time on, in so many milliseconds.
    grows_since: AtomicU64,
    grows_in: AtomicU64,
    /// When its share is whole again after answers of a busy endpoint.
    eased_at: AtomicU64,
    /// Nothing until then, while others are admitted.
    held_until: AtomicU64,
    ejections: AtomicU64,
}

impl Verdict {
    /// Admitted, at its whole share.
    pub fn new(now: Instant) -> Self {
        Self {
            born: now,
            flags: Padded::default(),
            ejected_until: AtomicU64::new(0),
            on_trial: AtomicBool::new(false),
            grows_since: AtomicU64::new(0),
            grows_in: AtomicU64::new(0),
            eased_at: AtomicU64::new(0),
            held_until: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
        }
    }

    /// What it may be given at `now`.
    pub fn admission(&self, now: Instant) -> Admission {
        match self.flags.0.load(Ordering::Acquire) {
            0 => Admission::Share(WHOLE),
            flags => self.looked_at(flags, self.since_birth(now)),
        }
    }

    /// Whether an exchange may go there at `now`.
    pub fn is_admitted(&self, now: Instant) -> bool {
        self.admission(now) != Admission::Out
    }

    /// Its state in a word: `up`, `drained`, `unhealthy`, `ejected`, or `trial`.
    pub fn state(&self, now: Instant) -> &'static str {
        let flags = self.flags.0.load(Ordering::Acquire);
        let is = |flag: Flag| flags & flag as u64 != 0;
        match self.admission(now) {
            _ if is(Flag::Drained) => "drained",
            _ if is(Flag::Unhealthy) => "unhealthy",
            Admission::Trial => "trial",
            Admission::Out if self.on_trial.load(Ordering::Acquire) => "trial",
            Admission::Out => "ejected",
            Admission::Share(_) | Admission::Held => "up",
        }
    }

    fn looked_at(&self, flags: u64, now: u64) -> Admission {
        let is = |flag: Flag| flags & flag as u64 != 0;
        if is(Flag::Drained) || is(Flag::Unhealthy) {
            return Admission::Out;
        }
        if is(Flag::Ejected) {
            let is_due = now >= self.ejected_until.load(Ordering::Acquire);
            return if is_due && !self.on_trial.load(Ordering::Acquire) {
                Admission::Trial
            } else {
                Admission::Out
            };
        }
        let lowered = self.lowered(now);
        if lowered != Admission::Share(WHOLE) {
            return lowered;
        }
        // Nothing is left to look at. Whoever lowers it sets the flag after the times: one who did so in between is seen
        // by looking at them once more.
        self.set(Flag::Lowered, false);
        let lowered = self.lowered(now);
        if lowered != Admission::Share(WHOLE) {
            self.set(Flag::Lowered, true);
        }
        lowered
    }

    fn lowered(&self, now: u64) -> Admission {
        match now < self.held_until.load(Ordering::Acquire) {
            true => Admission::Held,
            false => Admission::Share((self.grown(now) * self.eased(now) / WHOLE).max(LEAST)),
        }
    }

    fn grown(&self, now: u64) -> u32 {
        let grows_in = self.grows_in.load(Ordering::Acquire);
        let age = now.saturating_sub(self.grows_since.load(Ordering::Acquire));
        if age >= grows_in { WHOLE } else { (u64::from(WHOLE) * age / grows_in) as u32 }
    }

    fn eased(&self, now: u64) -> u32 {
        let left = self.eased_at.load(Ordering::Acquire).saturating_sub(now);
        WHOLE >> left.div_ceil(BUSY_STEP.as_millis() as u64).min(u64::from(BUSY_STEPS))
    }

    /// The operator takes the endpoint out for new exchanges, or back in.
    pub fn drain(&self, out: bool) {
        self.set(Flag::Drained, out);
    }

    /// Probes found it unhealthy, or well again.
    pub fn find(&self, healthy: bool) {
        self.set(Flag::Unhealthy, !healthy);
    }

    /// It is out until then; afterwards one exchange decides.
    pub fn eject(&self, until: Instant) {
        self.ejected_until.store(self.since_birth(until), Ordering::Release);
        self.on_trial.store(false, Ordering::Release);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.set(Flag::Ejected, true);
    }

    /// How often it was taken out.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Whether health took it out, and it has not come back yet.
    pub fn is_ejected(&self) -> bool {
        self.flags.0.load(Ordering::Acquire) & Flag::Ejected as u64 != 0
    }

    /// Whether it is ejected, and no exchange decides over it now.
    pub fn is_waiting_out(&self) -> bool {
        self.is_ejected() && !self.on_trial.load(Ordering::Acquire)
    }

    /// The one exchange that decides; false if another lane has it.
    pub fn begin_trial(&self) -> bool {
        !self.on_trial.swap(true, Ordering::AcqRel)
    }

    /// That exchange ended without deciding.
    pub fn end_trial(&self) {
        self.on_trial.store(false, Ordering::Release);
    }

    /// It is back, and grows to its share in `time` from `now` on.
    pub fn readmit(&self, now: Instant, time: Duration) {
        self.grow(now, time);
        self.set(Flag::Ejected, false);
        self.on_trial.store(false, Ordering::Release);
    }

    /// It grows to its share in `time` from `now` on.
    pub fn grow(&self, now: Instant, time: Duration) {
        self.grows_since.store(self.since_birth(now), Ordering::Release);
        self.grows_in.store(time.as_millis() as u64, Ordering::Release);
        self.set(Flag::Lowered, true);
    }

    /// It said that it is busy, and perhaps for how long it wants to be left alone.
    pub fn ease(&self, now: Instant, alone: Option<Duration>) {
        let now = self.since_birth(now);
        let step = BUSY_STEP.as_millis() as u64;
        let most = now + step * u64::from(BUSY_STEPS);
        let lower = |eased_at: u64| Some((eased_at.max(now) + step).min(most));
        let _ = self.eased_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, lower);
        if let Some(alone) = alone {
            self.held_until.fetch_max(now + alone.as_millis() as u64, Ordering::AcqRel);
        }
        self.set(Flag::Lowered, true);
    }

    fn set(&self, flag: Flag, on: bool) {
        match on {
            true => self.flags.0.fetch_or(flag as u64, Ordering::AcqRel),
            false => self.flags.0.fetch_and(!(flag as u64), Ordering::AcqRel),
        };
    }

    fn since_birth(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_millis() as u64
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdict").field("flags", &self.flags.0).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_comes_back_grows_to_the_whole_share_and_is_plain_again() {
        let now = Instant::now();
        let verdict = Verdict::new(now);
        verdict.eject(now + 30 * SECOND);
        assert_eq!((verdict.admission(now + 29 * SECOND), verdict.state(now)), (Admission::Out, "ejected"));
        let then = now + 30 * SECOND;
        assert_eq!(verdict.admission(then), Admission::Trial);
        assert!(verdict.begin_trial() && !verdict.begin_trial());
        assert_eq!((verdict.admission(then), verdict.state(then)), (Admission::Out, "trial"));
        verdict.readmit(then, 10 * SECOND);
        let shares = [0, 1, 5, 9, 10].map(|after| verdict.admission(then + after * SECOND));
        assert_eq!(shares, [LEAST, 102, 512, 921, WHOLE].map(Admission::Share));
        assert_eq!(verdict.flags.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_busy_endpoint_is_halved_step_by_step_and_recovers_by_itself() {
        let now = Instant::now();
        let verdict = Verdict::new(now);
        let share = |after: u64| verdict.admission(now + Duration::from_millis(after));
        for expected in [512, 256, 128, 64, 64] {
            verdict.ease(now, None);
            assert_eq!(share(0), Admission::Share(expected));
        }
        assert_eq!([1000, 2000, 3500, 4000].map(share), [128, 256, 512, 1024].map(Admission::Share));
    }

    #[test]
    fn who_asks_to_be_left_alone_is_and_an_earlier_end_does_not_shorten_it() {
        let now = Instant::now();
        let verdict = Verdict::new(now);
        verdict.ease(now, Some(7 * SECOND));
        verdict.ease(now, Some(SECOND));
        assert_eq!(verdict.admission(now + 6 * SECOND), Admission::Held);
        assert!(verdict.is_admitted(now), "it is not out");
        assert_eq!(verdict.admission(now + 7 * SECOND), Admission::Share(WHOLE));
    }

    #[test]
    fn the_operator_and_the_probes_have_the_last_word() {
        let now = Instant::now();
        let verdict = Verdict::new(now);
        verdict.drain(true);
        verdict.find(false);
        assert_eq!((verdict.admission(now), verdict.state(now)), (Admission::Out, "drained"));
        verdict.drain(false);
        assert_eq!((verdict.admission(now), verdict.state(now)), (Admission::Out, "unhealthy"));
        verdict.find(true);
        assert_eq!((verdict.admission(now), verdict.state(now)), (Admission::Share(WHOLE), "up"));
    }
}
