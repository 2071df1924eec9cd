//! Calls for one purpose side by side: so many at once, and fewer where there is no room for as many.

use std::collections::BTreeSet;
use std::future::Future;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::carried::{Answered, Unanswered};

/// What became of one.
pub(super) type Outcome = Result<Answered, Unanswered>;

/// Calls by their numbers. One that finds no place while others of them are under way is made again when one of those is over:
/// they would only stand in their own way.
pub(super) struct SideBySide<A, F: Future> {
    ask: A,
    waiting: BTreeSet<usize>,
    under_way: FuturesUnordered<F>,
    most: usize,
}

impl<A: Fn(usize) -> F, F: Future<Output = (usize, Outcome)>> SideBySide<A, F> {
    /// `ask` makes the call of a number below `count`; `most` are under way at once.
    pub(super) fn new(count: usize, most: usize, ask: A) -> Self {
        let (waiting, under_way) = ((0..count).collect(), FuturesUnordered::new());
        Self { ask, waiting, under_way, most: most.max(1) }
    }

    /// What became of the next one that is over; none when all are.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Outcome)>> {
        loop {
            while self.under_way.len() < self.most
                && let Some(at) = self.waiting.pop_first()
            {
                self.under_way.push((self.ask)(at));
            }
            match ready!(self.under_way.poll_next_unpin(cx)) {
                Some((at, Err(unanswered))) if unanswered.is_full() && !self.under_way.is_empty() => {
                    self.most = self.under_way.len();
                    self.waiting.insert(at);
                }
                over => return Poll::Ready(over),
            }
        }
    }
}
