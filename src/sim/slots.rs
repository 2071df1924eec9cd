//! Concurrent generations: so many at once, others queue in order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Generations that may wait; more are refused.
const QUEUE_MAX: usize = 10_000;

/// The slots of one server.
pub(super) struct Slots {
    free: Cell<usize>,
    queue: RefCell<VecDeque<Rc<Waiting>>>,
}

struct Waiting {
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A place in the queue, then a slot; given back when dropped.
pub(super) struct Ticket {
    slots: Rc<Slots>,
    waiting: Rc<Waiting>,
}

impl Slots {
    pub(super) fn new(count: usize) -> Rc<Self> {
        Rc::new(Self { free: Cell::new(count), queue: RefCell::default() })
    }

    /// A ticket, unless too many wait already.
    pub(super) fn enter(self: &Rc<Self>) -> Option<Ticket> {
        let granted = self.free.get() > 0;
        if granted {
            self.free.set(self.free.get() - 1);
        } else if self.queue.borrow().len() >= QUEUE_MAX {
            return None;
        }
        let waiting = Rc::new(Waiting { granted: Cell::new(granted), waker: RefCell::default() });
        if !granted {
            self.queue.borrow_mut().push_back(Rc::clone(&waiting));
        }
        Some(Ticket { slots: Rc::clone(self), waiting })
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.borrow().len()
    }
}

impl Ticket {
    /// Ready once a slot is ours.
    pub(super) fn poll_granted(&self, cx: &Context<'_>) -> Poll<()> {
        if self.waiting.granted.get() {
            return Poll::Ready(());
        }
        self.waiting.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let slots = &self.slots;
        if !self.waiting.granted.get() {
            slots.queue.borrow_mut().retain(|waiting| !Rc::ptr_eq(waiting, &self.waiting));
            return;
        }
        let next = slots.queue.borrow_mut().pop_front();
        match next {
            Some(next) => {
                next.granted.set(true);
                if let Some(waker) = next.waker.take() {
                    waker.wake();
                }
            }
            None => slots.free.set(slots.free.get() + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(ticket: &Ticket) -> bool {
        ticket.poll_granted(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn slots_pass_on_in_order_and_a_leaver_frees_its_place() {
        let slots = Slots::new(1);
        let (a, b, c) = (slots.enter().unwrap(), slots.enter().unwrap(), slots.enter().unwrap());
        assert!(granted(&a) && !granted(&b) && !granted(&c));
        drop(b);
        assert_eq!(slots.waiting(), 1);
        drop(a);
        assert!(granted(&c));
        drop(c);
        assert!(granted(&slots.enter().unwrap()));
    }
}
