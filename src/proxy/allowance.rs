//! What may be held of answers that are gathered, counted byte by byte.

use std::cell::Cell;
use std::rc::Rc;

/// How much may be held of one answer, or of several together, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Allowance(Rc<Cell<u64>>);

/// What is held of an allowance; given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    of: Allowance,
    bytes: u64,
}

impl Allowance {
    pub(super) fn of(bytes: u64) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    /// Somebody begins to hold some of it.
    pub(super) fn take(self) -> Taken {
        Taken { of: self, bytes: 0 }
    }
}

impl Taken {
    /// So many more are held; false where that is more than allowed.
    pub(super) fn more(&mut self, bytes: u64) -> bool {
        let left = self.of.0.get().checked_sub(bytes);
        if let Some(left) = left {
            self.of.0.set(left);
            self.bytes += bytes;
        }
        left.is_some()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.of.0.set(self.of.0.get() + self.bytes);
    }
}
