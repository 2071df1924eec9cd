//! A flag that tasks of one event loop wait for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Starts down; once raised it wakes all who wait.
#[derive(Debug, Default)]
pub struct Flag {
    up: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Flag {
    /// Raises the flag.
    pub fn set(&self) {
        self.up.set(true);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Lowers it again.
    pub fn clear(&self) {
        self.up.set(false);
    }

    /// Whether it is up.
    pub fn is_set(&self) -> bool {
        self.up.get()
    }

    /// Ready once it is up.
    pub fn poll_set(&self, cx: &Context<'_>) -> Poll<()> {
        if self.up.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until it is up.
    pub async fn wait(&self) {
        poll_fn(|cx| self.poll_set(cx)).await;
    }
}
