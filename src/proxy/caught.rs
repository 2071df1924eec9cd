//! A task whose panic ends it and nothing else.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// Runs a task, such as a connection's; a panic inside ends it and nothing else.
pub async fn caught<T>(mut task: Pin<&mut impl Future<Output = T>>) -> Result<T, Panicked> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// A task panicked; what it said is told already.
#[derive(Debug, PartialEq, Eq)]
pub struct Panicked;

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::base::choice::IoDriver;
    use crate::net::driver::{block_on, choose};

    #[test]
    fn a_panic_ends_its_own_task_only() {
        for driver in [IoDriver::Epoll, choose()] {
            let results = block_on(driver, async {
                let bad = monoio::spawn(async {
                    caught(pin!(async { panic!("a connection's task panics, on purpose") })).await
                });
                let good = monoio::spawn(async { caught(pin!(async {})).await });
                (bad.await, good.await)
            });
            assert_eq!(results.unwrap(), (Err(Panicked), Ok(())));
        }
    }
}
