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
    waiting: RefCell<HashMap<u64, Giver<()>>>,
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
            if let Some(giver) = self.waiting.borrow_mut().remove(&number) {
                // Who left in the meantime has given its place back.
                let _ = giver.give(());
            }
        }
    }

    /// Waits for the turn of the place with this number, which was taken just now.
    pub(super) fn wait_for(&self, number: u64) -> Turn<'_> {
        let (giver, taker) = pair();
        self.waiting.borrow_mut().insert(number, giver);
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
    /// Ready once it has come.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.taker.poll_take(cx).map(|_| ())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.all.waiting.borrow_mut().remove(&self.number);
    }
}
