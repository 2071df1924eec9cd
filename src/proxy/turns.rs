//! Who on this lane waits for a turn that any lane may grant.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::slot::{Giver, Taker, pair};
use crate::board::granted::Granted;

/// The waiters of one lane, by the numbers of their places.
pub struct Turns {
    granted: Arc<Granted>,
    waiting: RefCell<HashMap<u64, Waiter>>,
}

struct Waiter {
    giver: Giver<()>,
    patience: Patience,
}

/// What one who waits makes of being woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Its turn has come, or will not come any more.
    Once,
    /// It looks whether its turn has come, and waits on where it has not.
    Again,
}

impl Turns {
    /// Nobody waits; grants arrive at `granted`.
    pub fn new(granted: Arc<Granted>) -> Self {
        Self { granted, waiting: RefCell::default() }
    }

    /// Where this lane is told of grants.
    pub(super) fn granted(&self) -> &Arc<Granted> {
        &self.granted
    }

    /// The lane was rung: wakes whoever has its turn.
    pub fn look(&self) {
        for number in self.granted.take() {
            if let Some(Waiter { giver, .. }) = self.waiting.borrow_mut().remove(&number) {
                // Who left in the meantime has given its place back.
                let _ = giver.give(());
            }
        }
    }

    /// Something changed that may concern who waits in a line: they look whether they still should.
    pub fn rouse(&self) {
        let is_in_line = |_: &u64, waiter: &mut Waiter| waiter.patience == Patience::Again;
        let roused: Vec<_> = self.waiting.borrow_mut().extract_if(is_in_line).collect();
        for (_, Waiter { giver, .. }) in roused {
            let _ = giver.give(());
        }
    }

    /// Waits for the turn of the place with this number, which was taken just now.
    pub(super) fn wait_for(&self, number: u64) -> Turn<'_> {
        self.wait(number, Patience::Once)
    }

    /// Waits in a line for the turn of the place with this number. Woken, it may be for nothing: an older turn of the same
    /// place that came to nothing was told late, or everybody was roused.
    pub(super) fn wait_in_line(&self, number: u64) -> Turn<'_> {
        self.wait(number, Patience::Again)
    }

    fn wait(&self, number: u64, patience: Patience) -> Turn<'_> {
        let (giver, taker) = pair();
        self.waiting.borrow_mut().insert(number, Waiter { giver, patience });
        Turn { all: self, number, taker }
    }
}

/// A wait for one turn; given up when dropped.
pub(super) struct Turn<'t> {
    all: &'t Turns,
    number: u64,
    taker: Taker<()>,
}

impl Turn<'_> {
    /// Ready once it has come, or may have.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.taker.poll_take(cx).map(|_| ())
    }

    /// It had not come: it is waited for once more, in line.
    pub(super) fn again(&mut self) {
        let (giver, taker) = pair();
        self.all.waiting.borrow_mut().insert(self.number, Waiter { giver, patience: Patience::Again });
        self.taker = taker;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.all.waiting.borrow_mut().remove(&self.number);
    }
}
