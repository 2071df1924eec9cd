//! Idle connections of one endpoint on one lane, newest first; generic over the connection, so tested with integers.

use std::time::{Duration, Instant};

use crate::base::limits::IDLE_UPSTREAM_START;

/// Longest idle limit that learning arrives at.
const LEARNED_MAX: Duration = Duration::from_secs(60);
/// Shortest one: an upstream that closes faster is not worth pooling for.
const LEARNED_MIN: Duration = Duration::from_millis(50);

/// How long a connection may lie idle and still be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleLimit {
    /// What the operator set.
    Fixed(Duration),
    /// Starts at 3 s and follows when this upstream closes.
    Auto,
}

struct Idle<C> {
    connection: C,
    since: Instant,
}

/// Idle connections, oldest at the front.
///
/// Newest first: the oldest idle connection is the one the upstream is about to close; a queue would hand out exactly
/// those. Cost: old connections starve and expire, which is also how the pool shrinks.
///
/// Under `Auto` one connection past the limit is kept as a witness and never handed out: it shows how long this
/// upstream really keeps an idle connection, so that the limit can also grow.
pub struct Pool<C> {
    idle: Vec<Idle<C>>,
    max: usize,
    setting: IdleLimit,
    limit: Duration,
    witness: Option<Idle<C>>,
}

impl<C> Pool<C> {
    /// An empty pool that holds at most `max` connections.
    pub fn new(max: usize, setting: IdleLimit) -> Self {
        let limit = match setting {
            IdleLimit::Fixed(limit) => limit,
            IdleLimit::Auto => IDLE_UPSTREAM_START,
        };
        Self { idle: Vec::new(), max, setting, limit, witness: None }
    }

    /// Takes a new setting over from a reload; what was learned stays where it still applies.
    pub fn adopt(&mut self, max: usize, setting: IdleLimit) -> Vec<C> {
        if self.setting != setting {
            let fresh = Self::new(max, setting);
            (self.setting, self.limit) = (setting, fresh.limit);
        }
        self.max = max;
        let surplus = self.idle.len().saturating_sub(max);
        self.idle.drain(..surplus).map(|idle| idle.connection).collect()
    }

    /// The newest idle connection that is young enough.
    pub fn take(&mut self, now: Instant) -> Option<C> {
        match self.idle.last() {
            Some(newest) if now.saturating_duration_since(newest.since) < self.limit => {
                self.idle.pop().map(|idle| idle.connection)
            }
            _ => None,
        }
    }

    /// Puts a connection back; returns the one that does not fit, the oldest.
    pub fn put(&mut self, connection: C, now: Instant) -> Option<C> {
        if self.max == 0 {
            return Some(connection);
        }
        let oldest = (self.idle.len() >= self.max).then(|| self.idle.remove(0).connection);
        self.idle.push(Idle { connection, since: now });
        oldest
    }

    /// Takes out what lay idle too long. Under `Auto` the first of them stays behind as the witness.
    pub fn expire(&mut self, now: Instant) -> Vec<C> {
        let limit = self.limit;
        let too_old = |idle: &Idle<C>| now.saturating_duration_since(idle.since) >= limit;
        let count = self.idle.iter().take_while(|idle| too_old(idle)).count();
        let mut expired: Vec<_> = self.idle.drain(..count).collect();
        if self.setting == IdleLimit::Auto && self.witness.is_none() && !expired.is_empty() {
            self.witness = Some(expired.remove(0));
        }
        if let Some(witness) = self.witness.take_if(|witness| now - witness.since > LEARNED_MAX * 5 / 4) {
            self.limit = LEARNED_MAX;
            expired.push(witness);
        }
        expired.into_iter().map(|idle| idle.connection).collect()
    }

    /// Drops each connection of which `is_closed` says so, and learns from its age: four fifths of the shortest time
    /// after which this upstream closed. Returns how many were dropped.
    pub fn evict(&mut self, now: Instant, mut is_closed: impl FnMut(&mut C) -> bool) -> usize {
        let mut youngest: Option<Duration> = None;
        let before = self.idle.len();
        self.idle.retain_mut(|idle| {
            let closed = is_closed(&mut idle.connection);
            if closed {
                let age = now.saturating_duration_since(idle.since);
                youngest = Some(youngest.map_or(age, |least| least.min(age)));
            }
            !closed
        });
        let evicted = before - self.idle.len();
        let witnessed = self
            .witness
            .take_if(|witness| is_closed(&mut witness.connection))
            .map(|witness| now.saturating_duration_since(witness.since));
        if self.setting == IdleLimit::Auto {
            if let Some(age) = youngest {
                self.limit = self.limit.min((age * 4 / 5).max(LEARNED_MIN));
            } else if let Some(age) = witnessed {
                self.limit = (age * 4 / 5).clamp(LEARNED_MIN, LEARNED_MAX);
            }
        }
        evicted + usize::from(witnessed.is_some())
    }

    /// Takes everything out.
    pub fn drain(&mut self) -> Vec<C> {
        self.idle.drain(..).chain(self.witness.take()).map(|idle| idle.connection).collect()
    }

    /// How many can be handed out.
    pub fn len(&self) -> usize {
        self.idle.len()
    }

    /// The idle limit in force.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(setting: IdleLimit) -> (Pool<u32>, Instant) {
        (Pool::new(2, setting), Instant::now())
    }
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_newest_is_handed_out_and_the_oldest_gives_way() {
        let (mut pool, now) = pool(IdleLimit::Fixed(9 * SECOND));
        assert_eq!(pool.put(1, now), None);
        assert_eq!(pool.put(2, now), None);
        assert_eq!(pool.put(3, now), Some(1));
        assert_eq!((pool.take(now), pool.take(now), pool.take(now)), (Some(3), Some(2), None));
    }

    #[test]
    fn an_idle_limit_is_kept_to_the_instant() {
        let (mut pool, now) = pool(IdleLimit::Fixed(9 * SECOND));
        pool.put(1, now);
        assert_eq!(pool.take(now + 9 * SECOND), None);
        assert_eq!(pool.expire(now + 8 * SECOND), Vec::<u32>::new());
        assert_eq!(pool.expire(now + 9 * SECOND), vec![1]);
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn a_pool_of_none_keeps_none() {
        let mut pool = Pool::new(0, IdleLimit::Auto);
        assert_eq!(pool.put(1, Instant::now()), Some(1));
    }

    #[test]
    fn an_early_close_shortens_the_learned_limit() {
        let (mut pool, now) = pool(IdleLimit::Auto);
        pool.put(1, now);
        assert_eq!(pool.evict(now + 2 * SECOND, |_| true), 1);
        assert_eq!(pool.limit(), Duration::from_millis(1600));
    }

    #[test]
    fn a_witness_lengthens_the_learned_limit_and_is_never_handed_out() {
        let (mut pool, now) = pool(IdleLimit::Auto);
        pool.put(1, now);
        pool.put(2, now);
        assert_eq!(pool.expire(now + 3 * SECOND), vec![2]);
        assert_eq!(pool.take(now + 3 * SECOND), None);
        assert_eq!(pool.evict(now + 5 * SECOND, |_| true), 1);
        assert_eq!(pool.limit(), 4 * SECOND);
    }

    #[test]
    fn an_upstream_that_never_closes_is_trusted_for_a_minute() {
        let (mut pool, now) = pool(IdleLimit::Auto);
        pool.put(1, now);
        assert!(pool.expire(now + 3 * SECOND).is_empty());
        assert_eq!(pool.expire(now + 80 * SECOND), vec![1]);
        assert_eq!(pool.limit(), LEARNED_MAX);
    }

    #[test]
    fn a_fixed_limit_learns_nothing() {
        let (mut pool, now) = pool(IdleLimit::Fixed(9 * SECOND));
        pool.put(1, now);
        pool.evict(now + SECOND, |_| true);
        assert_eq!(pool.limit(), 9 * SECOND);
    }
}
