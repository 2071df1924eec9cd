//! The speaking side of a client connection: what is about to be written, and what is being written.
//!
//! A client that left, or that takes nothing for too long, is noted here; whoever waits for a write then waits for ever,
//! and is dropped by `ear::attend`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::stall::{Stall, Taken};
use super::watchdog::Watchdog;
use crate::base::limits::WRITE_BYTES_KEPT;
use crate::net::writer::{Outgoing, Wake, Writer};

/// Why work for a client was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Its socket shows that it left.
    Left,
    /// It took no byte of its answer for too long.
    Slow,
    /// The drain is over.
    Drained,
}

pub(super) struct Mouth {
    pub(super) writer: Writer,
    /// What is about to be written.
    pub(super) out: Vec<u8>,
    clock: Watchdog,
    /// How long a client may take nothing.
    patience: Option<Duration>,
    stall: Stall,
    /// Somebody waits for the write to end, and must be woken for it.
    is_awaited: bool,
    lost: Option<Lost>,
}

impl Mouth {
    pub(super) fn new(writer: Writer, clock: Watchdog) -> Self {
        let (out, patience, stall) = (Vec::new(), None, Stall::default());
        Self { writer, out, clock, patience, stall, is_awaited: false, lost: None }
    }

    /// The plan of the next exchange says how long a client may take nothing.
    pub(super) fn be_patient(&mut self, patience: Option<Duration>) {
        self.patience = patience;
    }

    /// Why nothing can be said any more.
    pub(super) fn lost(&self) -> Option<Lost> {
        self.lost
    }

    /// Whether the client has let a write wait for longer than most.
    pub(super) fn is_kept_waiting(&self) -> bool {
        self.stall.was_seen()
    }

    /// A clock of somebody else ended while the client took nothing.
    pub(super) fn give_up(&mut self) {
        self.lost.get_or_insert(Lost::Slow);
    }

    /// Ready when no write is under way; its buffer is taken back.
    pub(super) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.writer.is_idle() {
            return Poll::Ready(());
        }
        // Mostly it ended long ago: then nobody is woken for it.
        if self.writer.go_on(Wake::IfNeeded, cx) && self.writer.go_on(Wake::Surely, cx) {
            self.is_awaited = true;
            self.watch(cx);
            return Poll::Pending;
        }
        self.is_awaited = false;
        self.stall.clear();
        if self.writer.outcome().is_err() {
            self.lost.get_or_insert(Lost::Left);
            return Poll::Pending;
        }
        let spare = self.writer.take_spare();
        if self.out.is_empty() && spare.capacity() > self.out.capacity() {
            self.out = spare;
        }
        Poll::Ready(())
    }

    /// Sees to it that what is being written goes on while something else is waited for. A write mostly ends at once,
    /// and nobody is woken for that; one that has not by the next tick is waited for.
    pub(super) fn go_on(&mut self, cx: &mut Context<'_>) {
        if !self.writer.is_under_way() {
            return;
        }
        let wake = if self.is_awaited || self.stall.was_seen() { Wake::Surely } else { Wake::IfNeeded };
        match self.writer.go_on(wake, cx) {
            true => self.watch(cx),
            false => {
                self.is_awaited = false;
                self.stall.clear();
            }
        }
    }

    fn watch(&mut self, cx: &mut Context<'_>) {
        self.stall.begin(Instant::now);
        while self.clock.poll_due(self.stall.due(self.patience), cx).is_ready() {
            if self.stall.is_over(Taken::from(&self.writer), self.patience, Instant::now()) {
                return self.give_up();
            }
            self.writer.go_on(Wake::Surely, cx);
        }
    }

    /// Starts to write what is in the buffer, after what is under way. It goes on while the next thing is waited for.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.out.is_empty() {
            return Poll::Ready(());
        }
        ready!(self.poll_written(cx));
        self.writer.start(std::mem::take(&mut self.out), cx);
        match self.writer.is_under_way() {
            true => Poll::Ready(()),
            false => self.poll_written(cx),
        }
    }

    /// Starts to write one piece as it is; no write is under way.
    pub(super) fn start(&mut self, piece: impl Into<Outgoing>, cx: &mut Context<'_>) {
        self.writer.start(piece, cx);
    }

    /// An exchange ended: large buffers are let go.
    pub(super) fn settle(&mut self) {
        if self.out.capacity() > WRITE_BYTES_KEPT {
            self.out = Vec::new();
        }
    }
}

/// Writes what is in the buffer to its end.
pub(super) async fn flush(mouth: &RefCell<Mouth>) {
    poll_fn(|cx| mouth.borrow_mut().poll_send(cx)).await;
    poll_fn(|cx| mouth.borrow_mut().poll_written(cx)).await;
}
