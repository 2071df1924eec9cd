//! The admin API's places: few, and whoever needs one takes it from a connection that does nothing.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::lane::flag::Flag;

/// Who is connected, in the order in which they began to wait for a request.
pub(super) struct Places {
    max: usize,
    taken: RefCell<Vec<Rc<Seat>>>,
}

#[derive(Default)]
struct Seat {
    waits: Cell<WaitsFor>,
    leave: Flag,
}

/// What a connection waits for. Whoever needs its place may have it, unless it waits for nothing but us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum WaitsFor {
    /// Us: it is being answered.
    #[default]
    Us,
    /// A request.
    Request,
    /// The client, to send a body or to take an answer.
    Rest,
}

impl Places {
    /// As many as `max`.
    pub(super) fn new(max: usize) -> Rc<Self> {
        Rc::new(Self { max, taken: RefCell::default() })
    }

    /// Whether a place is free, or can be made free.
    pub(super) fn may_take_one(&self) -> bool {
        let taken = self.taken.borrow();
        taken.len() < self.max || taken.iter().any(|seat| seat.waits.get() != WaitsFor::Us)
    }

    /// Whether none is free.
    pub(super) fn are_taken(&self) -> bool {
        self.taken.borrow().len() >= self.max
    }

    /// Takes a place, which is made free if none is.
    pub(super) fn take(self: &Rc<Self>) -> Place {
        if self.are_taken() {
            self.clear_one();
        }
        let seat = Rc::new(Seat::default());
        self.taken.borrow_mut().push(Rc::clone(&seat));
        Place { seat, places: Rc::clone(self) }
    }

    /// Of those that wait, `seat` has waited shortest.
    fn put_last(&self, seat: &Rc<Seat>) {
        let mut taken = self.taken.borrow_mut();
        if let Some(at) = taken.iter().position(|other| Rc::ptr_eq(other, seat)) {
            let own = taken.remove(at);
            taken.push(own);
        }
    }

    /// Whether somebody is connected, and whether somebody is being answered.
    pub(super) fn in_use(&self) -> (bool, bool) {
        let taken = self.taken.borrow();
        (!taken.is_empty(), taken.iter().any(|seat| seat.waits.get() == WaitsFor::Us))
    }

    /// Ends the connection that has waited longest for a request, else for its client: one that never says anything, or
    /// never all of it, must not keep out a probe.
    pub(super) fn clear_one(&self) {
        let mut taken = self.taken.borrow_mut();
        let longest = |what: WaitsFor| taken.iter().position(|seat| seat.waits.get() == what);
        if let Some(longest) = longest(WaitsFor::Request).or_else(|| longest(WaitsFor::Rest)) {
            taken.remove(longest).leave.set();
        }
    }
}

/// A place that one connection has; given back when it is dropped.
pub(super) struct Place {
    seat: Rc<Seat>,
    places: Rc<Places>,
}

impl Place {
    /// Does `work` that waits; none where the place is needed for another.
    pub(super) async fn unless_needed<T>(&self, waits: WaitsFor, work: impl Future<Output = T>) -> Option<T> {
        if waits == WaitsFor::Request {
            self.places.put_last(&self.seat);
        }
        self.seat.waits.set(waits);
        let mut work = pin!(work);
        let done = poll_fn(|cx| match self.seat.leave.poll_set(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => work.as_mut().poll(cx).map(Some),
        })
        .await;
        self.seat.waits.set(WaitsFor::Us);
        done
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.borrow_mut().retain(|seat| !Rc::ptr_eq(seat, &self.seat));
    }
}
