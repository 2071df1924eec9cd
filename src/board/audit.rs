//! How many refused credentials are told: so many a second over all lanes, and how many were not.
//!
//! Whoever guesses keys must not be able to fill a disk.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::limits::AUDIT_LINES_PER_SECOND;

/// Counts what is told in each second.
#[derive(Debug, Default)]
pub struct Audit {
    /// The second in its upper bits, how many were told in it in the lower 16.
    told: AtomicU64,
    suppressed: AtomicU64,
}

/// How many were told in one second fits below this bit.
const SECOND_SHIFT: u32 = 16;
const _: () = assert!(AUDIT_LINES_PER_SECOND < 1 << SECOND_SHIFT);

impl Audit {
    /// Whether one more may be told in this `second`; with it goes how many were not told before, if any.
    pub fn may_tell(&self, second: u64) -> Option<u64> {
        let next = |told: u64| match told >> SECOND_SHIFT == second {
            true if told & ((1 << SECOND_SHIFT) - 1) >= AUDIT_LINES_PER_SECOND => None,
            true => Some(told + 1),
            false => Some(second << SECOND_SHIFT | 1),
        };
        match self.told.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Some(self.suppressed.swap(0, Ordering::Relaxed)),
            Err(_) => {
                self.suppressed.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// How many were not told in the seconds before this one, once.
    pub fn left_over(&self, second: u64) -> u64 {
        match self.told.load(Ordering::Relaxed) >> SECOND_SHIFT == second {
            true => 0,
            false => self.suppressed.swap(0, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_told_in_a_second_and_the_rest_is_counted() {
        let audit = Audit::default();
        for _ in 0..AUDIT_LINES_PER_SECOND {
            assert_eq!(audit.may_tell(7), Some(0));
        }
        assert_eq!((audit.may_tell(7), audit.may_tell(7), audit.left_over(7)), (None, None, 0));
        assert_eq!((audit.may_tell(8), audit.may_tell(8)), (Some(2), Some(0)));
        while audit.may_tell(8).is_some() {}
        assert_eq!((audit.left_over(8), audit.left_over(9), audit.left_over(9)), (0, 1, 0));
    }
}
