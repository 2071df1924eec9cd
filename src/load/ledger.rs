//! What all connections of one thread share: what they ask, and what was counted.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use super::job::Job;
use super::options::{Options, Target};
use super::tally::Tally;
use super::verdict::Failure;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    WarmUp,
    Measured,
    Over,
}

/// What all connections of a thread share.
pub(super) struct Ledger {
    pub(super) target: Target,
    pub(super) job: Job,
    pub(super) options: Options,
    pub(super) tally: RefCell<Tally>,
    pub(super) period: Cell<Period>,
    /// When counting begins and ends, where starts are counted by when they were meant to be.
    pub(super) window: Cell<Option<(Instant, Instant)>>,
    /// When the last exchange ended that counts.
    pub(super) last: Cell<Option<Instant>>,
    number: Cell<u64>,
}

impl Ledger {
    pub(super) fn new(target: Target, job: Job, options: Options) -> Self {
        Self {
            target,
            job,
            options,
            tally: RefCell::default(),
            period: Cell::new(Period::WarmUp),
            window: Cell::new(None),
            last: Cell::new(None),
            number: Cell::new(0),
        }
    }

    /// Whether what happens now is part of the throughput.
    pub(super) fn is_measured(&self) -> bool {
        self.period.get() == Period::Measured
    }

    /// Whether an exchange that was meant to begin at `intended` counts.
    pub(super) fn counts(&self, intended: Instant) -> bool {
        match self.window.get() {
            Some((begin, end)) => begin <= intended && intended < end,
            None => self.is_measured(),
        }
    }

    pub(super) fn is_open_loop(&self) -> bool {
        self.window.get().is_some()
    }

    pub(super) fn next_number(&self) -> u64 {
        let number = self.number.get();
        self.number.set(number + 1);
        number
    }

    /// Counts how an exchange ended, if it counts.
    pub(super) fn note(&self, result: Result<(), Failure>, intended: Instant) {
        if self.counts(intended) {
            self.last.set(Some(Instant::now()));
            let mut tally = self.tally.borrow_mut();
            match result {
                Ok(()) => tally.success += 1,
                Err(failure) => tally.fail(failure),
            }
        }
    }
}
