//! Limit buckets, exact over all lanes: each is one atomic that says when it is full again (GCRA). They outlive plans.
//!
//! A bucket that is full says nothing that a new one would not: it may be forgotten, and its place taken. Names are hashed
//! with a seed of this process, so that nobody can choose two that share a bucket.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::base::limits::LIMIT_BUCKETS_MAX;

/// Time is counted in parts of a nanosecond, so that a permit of a fast rate is a whole number of them.
const TICKS_PER_NANO: u64 = 16;
/// Buckets that one name may lie in.
const WAYS: usize = 16;
/// Twice as many places as buckets: where half are empty, hardly a name finds its ways taken.
const PLACES: usize = 2 * LIMIT_BUCKETS_MAX;
/// A bucket is forgotten this long after it is full: whoever found it a moment ago still takes from it.
const GRACE: Duration = Duration::from_secs(1);
/// Places that a newcomer looks at for one that can be forgotten, where there are as many buckets as there may be.
const SWEEP: usize = 256;

/// So many permits in such a time, evenly, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Permits in a period.
    pub permits: u64,
    /// The period.
    pub period: Duration,
    /// Permits of a full bucket.
    pub burst: u64,
}

/// How a bucket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whole permits left.
    pub remaining: u64,
    /// Until it is full.
    pub full_in: Duration,
    /// Until the next permit; zero where there is one.
    pub next_in: Duration,
}

/// The buckets of one limit, by name.
#[derive(Debug)]
pub struct Buckets {
    epoch: Instant,
    seed: RandomState,
    places: Box<[Bucket]>,
    used: AtomicUsize,
    /// Where the next sweep begins.
    hand: AtomicUsize,
    /// Newcomers for whom there is no bucket share this one.
    shared: AtomicU64,
}

/// One bucket; nobody's while its name is zero.
#[derive(Debug, Default)]
struct Bucket {
    name: AtomicU64,
    /// When it is full, in ticks since the epoch.
    full_at: AtomicU64,
}

/// A bucket by itself, for whom there is one as long as they are known.
#[derive(Debug)]
pub struct Single {
    epoch: Instant,
    full_at: AtomicU64,
}

/// The name of a bucket, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name(u64);

impl Rate {
    /// Ticks in which one permit refills.
    fn ticks(&self) -> u64 {
        let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX).saturating_mul(TICKS_PER_NANO);
        period.div_ceil(self.permits.max(1)).max(1)
    }

    /// When a bucket that is full at `full_at` would be, were so many permits taken at `now`; or how long that has to wait.
    fn taken(&self, full_at: u64, many: u64, now: u64) -> Result<u64, u64> {
        let ticks = self.ticks();
        let next = full_at.max(now).saturating_add(ticks.saturating_mul(many));
        let wait = (next - now).saturating_sub(ticks.saturating_mul(self.burst));
        if wait == 0 { Ok(next) } else { Err(wait) }
    }

    /// How long it takes until there are so many permits in a bucket that stands so.
    pub fn wait_for(&self, standing: Standing, many: u64) -> Duration {
        let room = self.ticks().saturating_mul(self.burst.saturating_sub(many));
        standing.full_in.saturating_sub(Duration::from_nanos(room / TICKS_PER_NANO))
    }

    fn standing(&self, full_at: u64, now: u64) -> Standing {
        let missing = full_at.saturating_sub(now);
        let room = self.ticks().saturating_mul(self.burst).saturating_sub(missing);
        Standing {
            remaining: room / self.ticks(),
            full_in: duration(missing),
            next_in: self.taken(full_at, 1, now).map_or_else(duration, |_| Duration::ZERO),
        }
    }
}

/// A time in whole nanoseconds, rounded up: what is promised then holds.
fn duration(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.div_ceil(TICKS_PER_NANO))
}

impl Single {
    /// A full one, in a process that began at `epoch` or later.
    pub fn new(epoch: Instant) -> Self {
        Self { epoch, full_at: AtomicU64::new(0) }
    }

    /// How it stands. Takes nothing.
    pub fn look(&self, rate: &Rate, now: Instant) -> Standing {
        rate.standing(self.full_at.load(Ordering::Acquire), ticks(self.epoch, now))
    }

    /// Takes so many permits, if there are; else tells how long they have to wait.
    pub fn take(&self, rate: &Rate, many: u64, now: Instant) -> Result<(), Duration> {
        take(&self.full_at, rate, many, ticks(self.epoch, now))
    }

    /// Puts permits back.
    pub fn put(&self, rate: &Rate, many: u64) {
        put(&self.full_at, rate, many);
    }

    /// Takes permits that were used already, whether there are so many or not.
    pub fn owe(&self, rate: &Rate, many: u64, now: Instant) {
        owe(&self.full_at, rate, many, ticks(self.epoch, now));
    }
}

fn take(full_at: &AtomicU64, rate: &Rate, many: u64, now: u64) -> Result<(), Duration> {
    let mut wait = 0;
    let next = |full_at| rate.taken(full_at, many, now).map_err(|time| wait = time).ok();
    match full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
        Ok(_) => Ok(()),
        Err(_) => Err(duration(wait)),
    }
}

fn put(full_at: &AtomicU64, rate: &Rate, many: u64) {
    let less = |full_at: u64| Some(full_at.saturating_sub(rate.ticks().saturating_mul(many)));
    let _ = full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
}

fn owe(full_at: &AtomicU64, rate: &Rate, many: u64, now: u64) {
    let more = |full_at: u64| Some(full_at.max(now).saturating_add(rate.ticks().saturating_mul(many)));
    let _ = full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
}

/// Time since the epoch. Nothing is full before it, which is zero: so a new bucket is full.
fn ticks(epoch: Instant, now: Instant) -> u64 {
    let nanos = now.saturating_duration_since(epoch).as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX).saturating_mul(TICKS_PER_NANO)
}

impl Buckets {
    /// None yet, in a process that began at `epoch` or later.
    pub fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            seed: RandomState::new(),
            places: (0..PLACES).map(|_| Bucket::default()).collect(),
            used: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
            shared: AtomicU64::new(0),
        }
    }

    /// The name that stands for `what`.
    pub fn name(&self, what: impl Hash) -> Name {
        Name(self.seed.hash_one(what).max(1))
    }

    /// How the bucket of that name stands. Takes nothing.
    pub fn look(&self, name: Name, rate: &Rate, now: Instant) -> Standing {
        let now = ticks(self.epoch, now);
        rate.standing(self.bucket(name, now).load(Ordering::Acquire), now)
    }

    /// Takes so many permits, if there are; else tells how long they have to wait.
    pub fn take(&self, name: Name, rate: &Rate, many: u64, now: Instant) -> Result<(), Duration> {
        let now = ticks(self.epoch, now);
        take(self.bucket(name, now), rate, many, now)
    }

    /// Puts permits back.
    pub fn put(&self, name: Name, rate: &Rate, many: u64, now: Instant) {
        put(self.bucket(name, ticks(self.epoch, now)), rate, many);
    }

    /// Takes permits that were used already, whether there are so many or not.
    pub fn owe(&self, name: Name, rate: &Rate, many: u64, now: Instant) {
        let now = ticks(self.epoch, now);
        owe(self.bucket(name, now), rate, many, now);
    }

    /// The bucket of that name: its own, a new one, or the one that is shared.
    fn bucket(&self, name: Name, now: u64) -> &AtomicU64 {
        let set = &self.places[(name.0 as usize % (PLACES / WAYS)) * WAYS..][..WAYS];
        let own =
            |set: &'_ [Bucket]| set.iter().position(|place| place.name.load(Ordering::Acquire) == name.0);
        loop {
            if let Some(at) = own(set) {
                return &set[at].full_at;
            }
            let Some((at, was)) = self.free(set, now) else { return &self.shared };
            let claimed = set[at].name.compare_exchange(was, name.0, Ordering::AcqRel, Ordering::Acquire);
            if claimed.is_err() {
                if was == 0 {
                    self.used.fetch_sub(1, Ordering::AcqRel);
                }
                continue;
            }
            // Another lane may have made one of that name in another place: the first counts, for all.
            match own(set) {
                Some(first) if first != at => {
                    set[at].name.store(0, Ordering::Release);
                    self.used.fetch_sub(1, Ordering::AcqRel);
                    return &set[first].full_at;
                }
                _ => return &set[at].full_at,
            }
        }
    }

    /// A place that a newcomer may take, and whose it was: an empty one, where there may be one more, or that of a bucket
    /// which is long full.
    fn free(&self, set: &[Bucket], now: u64) -> Option<(usize, u64)> {
        for sweeps in [true, false] {
            let empty = set.iter().position(|place| place.name.load(Ordering::Acquire) == 0);
            let more = |used| (used < LIMIT_BUCKETS_MAX).then_some(used + 1);
            if let Some(at) = empty
                && self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
            {
                return Some((at, 0));
            }
            let full = set.iter().position(|place| place.is_forgettable(now));
            if let Some(at) = full {
                return Some((at, set[at].name.load(Ordering::Acquire)));
            }
            if empty.is_some() && sweeps {
                self.sweep(now);
            } else {
                break;
            }
        }
        None
    }

    /// Forgets some buckets that are long full, wherever they are.
    fn sweep(&self, now: u64) {
        let start = self.hand.fetch_add(SWEEP, Ordering::Relaxed);
        for at in start..start + SWEEP {
            let place = &self.places[at % PLACES];
            let name = place.name.load(Ordering::Acquire);
            if place.is_forgettable(now)
                && place.name.compare_exchange(name, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
            {
                self.used.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
}

impl Bucket {
    fn is_forgettable(&self, now: u64) -> bool {
        let grace = GRACE.as_nanos() as u64 * TICKS_PER_NANO;
        self.name.load(Ordering::Acquire) != 0
            && self.full_at.load(Ordering::Acquire).saturating_add(grace) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(permits: u64, period: Duration, burst: u64) -> Rate {
        Rate { permits, period, burst }
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_as_it_refills() {
        let epoch = Instant::now();
        for (permits, burst) in [(60, 60), (7, 7), (60, 1), (1, 3), (1_000_000_000, 5)] {
            let (buckets, rate) = (Buckets::new(epoch), rate(permits, 60 * SECOND, burst));
            let name = buckets.name("a");
            let start = epoch + SECOND;
            for left in (0..burst).rev() {
                assert_eq!(buckets.take(name, &rate, 1, start), Ok(()), "{permits} {burst}");
                assert_eq!(buckets.look(name, &rate, start).remaining, left);
            }
            let wait = buckets.take(name, &rate, 1, start).unwrap_err();
            let exact = 60.0 / permits as f64;
            assert!((wait.as_secs_f64() - exact).abs() < 1e-6, "{wait:?} {exact}");
            assert_eq!(buckets.look(name, &rate, start).next_in, wait);
            assert!(buckets.take(name, &rate, 1, start + wait - Duration::from_nanos(1)).is_err());
            assert_eq!(buckets.take(name, &rate, 1, start + wait), Ok(()));
            assert!(buckets.take(name, &rate, 1, start + wait).is_err());
            // Another name has a bucket of its own, and what is put back can be taken.
            assert_eq!(buckets.take(buckets.name("b"), &rate, 1, start), Ok(()));
            buckets.put(name, &rate, 1, start + wait);
            assert_eq!(buckets.take(name, &rate, 1, start + wait), Ok(()));
        }
    }

    #[test]
    fn many_permits_are_taken_at_once_and_what_was_used_is_owed() {
        let epoch = Instant::now();
        let (buckets, rate) = (Buckets::new(epoch), rate(100, 60 * SECOND, 100));
        let (name, start) = (buckets.name("a"), epoch + SECOND);
        let left = |at| buckets.look(name, &rate, at).remaining;
        assert_eq!(buckets.take(name, &rate, 70, start), Ok(()));
        assert_eq!(left(start), 30);
        let wait = buckets.take(name, &rate, 40, start).unwrap_err();
        assert!((wait.as_secs_f64() - 6.0).abs() < 1e-6, "{wait:?}");
        assert_eq!(left(start), 30, "nothing is taken where not all is there");
        buckets.put(name, &rate, 50, start);
        assert_eq!(left(start), 80);
        buckets.owe(name, &rate, 180, start);
        assert_eq!(left(start), 0);
        // What is owed refills first.
        assert_eq!(left(start + 60 * SECOND), 0);
        assert_eq!(left(start + 63 * SECOND), 5);
        assert_eq!(buckets.take(name, &rate, 0, start), Err(60 * SECOND));
    }

    #[test]
    fn never_more_than_rate_and_burst_and_never_less_over_many_threads() {
        let epoch = Instant::now();
        let (buckets, rate) = (Buckets::new(epoch), rate(1000, SECOND, 50));
        let name = buckets.name("a");
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    // The same instants on all of them, a tenth of a millisecond apart.
                    scope.spawn(|| {
                        let at = |step: u32| epoch + SECOND + step * Duration::from_micros(100);
                        (0..20_000).filter(|step| buckets.take(name, &rate, 1, at(*step)).is_ok()).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        // Two seconds; a thread that is ahead of another takes what the other would have taken.
        assert!((2000..=2050).contains(&taken), "{taken}");
    }

    #[test]
    fn full_buckets_are_forgotten_first_and_with_none_full_newcomers_share_one() {
        let epoch = Instant::now();
        let (buckets, rate) = (Buckets::new(epoch), rate(1, 100 * SECOND, 1));
        let start = epoch + SECOND;
        let passes = |name: usize, at| buckets.take(buckets.name(name), &rate, 1, at).is_ok();
        let passed = (0..LIMIT_BUCKETS_MAX).filter(|name| passes(*name, start)).count();
        // Hashing may fill the ways of some names before all buckets are in use: those share one.
        assert!(passed > LIMIT_BUCKETS_MAX * 99 / 100, "{passed}");
        assert!(!passes(0, start) && !passes(LIMIT_BUCKETS_MAX - 1, start));
        let newcomers = LIMIT_BUCKETS_MAX..LIMIT_BUCKETS_MAX + 10_000;
        assert!(newcomers.clone().filter(|name| passes(*name, start)).count() < LIMIT_BUCKETS_MAX / 50);
        assert!(buckets.used.load(Ordering::Relaxed) <= LIMIT_BUCKETS_MAX);
        // Once those are full, others have their places.
        let later = start + 102 * SECOND;
        assert_eq!(newcomers.filter(|name| passes(*name, later)).count(), 10_000);
    }

    #[test]
    fn lanes_that_meet_a_name_for_the_first_time_find_one_bucket() {
        let epoch = Instant::now();
        for round in 0..200 {
            let (buckets, rate) = (Buckets::new(epoch), rate(1, 100 * SECOND, 1));
            let taken: usize = std::thread::scope(|scope| {
                let take = || buckets.take(buckets.name(round), &rate, 1, epoch + SECOND).is_ok();
                let threads: Vec<_> = (0..3).map(|_| scope.spawn(take)).collect();
                threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|taken| *taken).count()
            });
            assert_eq!(taken, 1);
        }
    }
}
