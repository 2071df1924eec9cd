//! A value that one thread changes now and then, and that lanes look at all the time.
//!
//! Who reads keeps the value that he saw last, and looks at one count whether there is another: only then he takes a lock, for
//! as long as a pointer is copied. Nothing is lost but values that were replaced before anybody looked.

use std::cell::{Ref, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Padded;

/// Where a value is published.
pub struct Published<T> {
    edition: Padded<AtomicU64>,
    current: Mutex<Arc<T>>,
}

impl<T> Published<T> {
    /// This one at first.
    pub fn new(value: T) -> Self {
        Self { edition: Padded::default(), current: Mutex::new(Arc::new(value)) }
    }

    /// This one from now on.
    pub fn publish(&self, value: T) {
        let value = Arc::new(value);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = value;
        // Behind the value: whoever sees the count sees that value, or a later one.
        self.edition.0.fetch_add(1, Ordering::Release);
    }

    /// The value, and its count, or an earlier one: then it is looked at once more.
    fn current(&self) -> (u64, Arc<T>) {
        let edition = self.edition.0.load(Ordering::Acquire);
        (edition, Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl<T> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Published")
    }
}

/// One reader's look at it; each lane has its own.
pub struct Seen<T> {
    published: Arc<Published<T>>,
    known: RefCell<(u64, Arc<T>)>,
}

impl<T> Seen<T> {
    /// Looks at what is published there.
    pub fn of(published: &Arc<Published<T>>) -> Self {
        Self { known: RefCell::new(published.current()), published: Arc::clone(published) }
    }

    /// The value as it is now; to be let go of before anything is waited for.
    pub fn now(&self) -> Ref<'_, T> {
        if self.published.edition.0.load(Ordering::Acquire) != self.known.borrow().0 {
            *self.known.borrow_mut() = self.published.current();
        }
        Ref::map(self.known.borrow(), |(_, value)| &**value)
    }
}

impl<T> fmt::Debug for Seen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.published.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_sees_the_last_value_that_was_published() {
        let published = Arc::new(Published::new(1));
        let (one, other) = (Seen::of(&published), Seen::of(&published));
        assert_eq!((*one.now(), *other.now()), (1, 1));
        published.publish(2);
        assert_eq!(*one.now(), 2);
        published.publish(3);
        published.publish(4);
        assert_eq!((*one.now(), *other.now(), *Seen::of(&published).now()), (4, 4, 4));
    }

    #[test]
    fn a_reader_beside_a_writer_never_sees_an_older_value_again() {
        let published = Arc::new(Published::new(0_u64));
        let reader = Arc::clone(&published);
        let reads = std::thread::spawn(move || {
            let seen = Seen::of(&reader);
            let mut last = 0;
            while last < 10_000 {
                let now = *seen.now();
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
        });
        (1..=10_000).for_each(|value| published.publish(value));
        reads.join().unwrap();
    }
}
