//! One value handed from task to task on the same lane; dropping either end is seen by the other at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The other end was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

#[derive(Debug)]
struct Shared<T> {
    value: Option<T>,
    /// Of whoever waits at the other end.
    waker: Option<Waker>,
    /// Both ends are there.
    is_whole: bool,
}

/// The end that gives.
#[derive(Debug)]
pub(super) struct Giver<T>(Rc<RefCell<Shared<T>>>);

/// The end that takes.
#[derive(Debug)]
pub(super) struct Taker<T>(Rc<RefCell<Shared<T>>>);

/// Both ends of a slot.
pub(super) fn pair<T>() -> (Giver<T>, Taker<T>) {
    let shared = Rc::new(RefCell::new(Shared { value: None, waker: None, is_whole: true }));
    (Giver(Rc::clone(&shared)), Taker(shared))
}

impl<T> Shared<T> {
    fn wait(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn leave(&mut self) {
        self.is_whole = false;
        self.wake();
    }
}

impl<T> Giver<T> {
    /// Gives the value; it comes back if nobody is left to take it.
    pub(super) fn give(self, value: T) -> Result<(), T> {
        let mut shared = self.0.borrow_mut();
        if !shared.is_whole {
            return Err(value);
        }
        shared.value = Some(value);
        Ok(())
    }

    /// Ready once nobody waits for the value any more.
    #[cfg(test)] // who gives now does so at once, and learns it by giving
    pub(super) fn poll_gone(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut shared = self.0.borrow_mut();
        if !shared.is_whole {
            return Poll::Ready(());
        }
        shared.wait(cx);
        Poll::Pending
    }
}

impl<T> Taker<T> {
    /// Ready with the value, or once nobody is left to give it.
    pub(super) fn poll_take(&mut self, cx: &Context<'_>) -> Poll<Result<T, Gone>> {
        let mut shared = self.0.borrow_mut();
        if let Some(value) = shared.value.take() {
            return Poll::Ready(Ok(value));
        }
        if !shared.is_whole {
            return Poll::Ready(Err(Gone));
        }
        shared.wait(cx);
        Poll::Pending
    }
}

// The waker of the end that stays is the one that is kept: each end waits only while the other acts.
impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.0.borrow_mut().leave();
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        self.0.borrow_mut().leave();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_value_wakes_who_waits_for_it() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let (giver, mut taker) = pair();
        assert!(taker.poll_take(&cx).is_pending() && taker.poll_take(&cx).is_pending());
        assert_eq!(giver.give(7), Ok(()));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(taker.poll_take(&cx), Poll::Ready(Ok(7)));
        assert_eq!(taker.poll_take(&cx), Poll::Ready(Err(Gone)), "there is one value");
    }

    #[test]
    fn each_end_sees_the_other_go_at_once() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let (giver, mut taker) = pair::<u8>();
        assert!(taker.poll_take(&cx).is_pending());
        drop(giver);
        assert_eq!((taker.poll_take(&cx), count.0.load(Ordering::Relaxed)), (Poll::Ready(Err(Gone)), 1));
        let (mut giver, taker) = pair();
        assert!(giver.poll_gone(&cx).is_pending());
        drop(taker);
        assert_eq!((giver.poll_gone(&cx), count.0.load(Ordering::Relaxed)), (Poll::Ready(()), 2));
        assert_eq!(giver.give(7), Err(7));
    }
}
