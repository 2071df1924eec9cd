//! What is rare and large has its place on the heap, and is made there: the future of an exchange is as large as the
//! largest that it may await, and the code that awaits it as long.

use std::future::Future;
use std::pin::Pin;

/// Such a future.
pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The future that `make` makes, in a box, behind a call that is not on the way of most exchanges.
#[cold]
#[inline(never)]
pub(super) fn boxed<'a, F: Future + 'a>(make: impl FnOnce() -> F) -> Boxed<'a, F::Output> {
    Box::pin(make())
}
