//! The elements of a multi as they are answered: taken from where they come as places get free, and told in their order or
//! as they finish.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::allowance::Allowance;
use super::around::{Around, Begin, Finished};
use super::file::File;
use super::intake::Intake;
use super::source::Cut;
use crate::plan::Multi;

/// Where elements come from.
pub(super) enum Feed {
    /// An array that was read.
    Array(std::vec::IntoIter<Bytes>),
    /// A file, line by line.
    File(Box<File>),
}

/// How what is told is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// An array, in order.
    Array,
    /// Lines, in order.
    Sent,
    /// Lines, as they finish.
    Finished,
}

/// Elements under way.
pub(super) struct Lines {
    begin: Begin,
    around: Rc<Around>,
    feed: Feed,
    pub(super) order: Order,
    /// Most at work, and what may be held of their answers together, in bytes.
    in_flight: usize,
    held: Allowance,
    share: u64,
    at_work: FuturesUnordered<Pin<Box<dyn Future<Output = Finished>>>>,
    /// Those that finished and were not told, by their places; in the order in which they finished, where that is told.
    finished: HashMap<usize, Finished>,
    places: VecDeque<usize>,
    begun: usize,
    told: usize,
    pub(super) content_type: &'static str,
}

impl Lines {
    pub(super) fn new(
        (begin, around): (Begin, Around),
        feed: Feed,
        (order, content_type): (Order, &'static str),
        multi: &Multi,
    ) -> Self {
        Self {
            begin,
            around: Rc::new(around),
            feed,
            order,
            in_flight: multi.in_flight,
            held: Allowance::of(multi.answers),
            share: multi.answers / multi.in_flight as u64,
            at_work: FuturesUnordered::new(),
            finished: HashMap::new(),
            places: VecDeque::new(),
            begun: 0,
            told: 0,
            content_type,
        }
    }

    /// Whether another element may begin. Those of an array hold `answers` together until they are told; a line has its
    /// share of that, and keeps its place until it is told.
    fn has_place(&self) -> bool {
        let busy = if self.order == Order::Array { self.at_work.len() } else { self.begun - self.told };
        busy < self.in_flight
    }

    /// Lets elements begin as places are free, and work.
    pub(super) fn drive(&mut self, body: &mut Intake<'_>, cx: &mut Context<'_>) -> Result<(), Cut> {
        loop {
            if let Feed::File(file) = &mut self.feed {
                file.read_ahead(body, cx)?;
            }
            while self.has_place() {
                let next = match &mut self.feed {
                    Feed::Array(elements) => elements.next(),
                    Feed::File(file) => file.next(),
                };
                let Some(text) = next else { break };
                let most = match self.order {
                    Order::Array => self.held.clone(),
                    Order::Sent | Order::Finished => Allowance::of(self.share),
                };
                let around = Rc::clone(&self.around);
                self.at_work.push((self.begin)(around, self.begun, text, most));
                self.begun += 1;
            }
            match self.at_work.poll_next_unpin(cx) {
                Poll::Ready(Some(finished)) => {
                    if let Feed::File(file) = &mut self.feed {
                        file.done(finished.length);
                    }
                    if self.order == Order::Finished {
                        self.places.push_back(finished.place);
                    }
                    self.finished.insert(finished.place, finished);
                }
                // Nothing is at work, and nothing can begin: more has to come, or be told, first.
                Poll::Ready(None) | Poll::Pending => return Ok(()),
            }
        }
    }

    /// The next element to tell, none behind the last.
    pub(super) fn poll_next(
        &mut self,
        body: &mut Intake<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Finished>, Cut>> {
        if let Err(cut) = self.drive(body, cx) {
            return Poll::Ready(Err(cut));
        }
        let place = match self.order {
            Order::Finished => self.places.pop_front(),
            Order::Array | Order::Sent => Some(self.told),
        };
        if let Some(finished) = place.and_then(|place| self.finished.remove(&place)) {
            self.told += 1;
            return Poll::Ready(Ok(Some(finished)));
        }
        let is_over = self.at_work.is_empty() && self.begun == self.told;
        match &self.feed {
            Feed::File(file) if is_over && !file.is_over() => match file.is_stuck() {
                true => Poll::Ready(Err(Cut::Unheld)),
                false => Poll::Pending,
            },
            _ if is_over => Poll::Ready(Ok(None)),
            _ => Poll::Pending,
        }
    }

    /// Whether the file has more lines than allowed, as far as it was read.
    pub(super) fn has_too_many(&self) -> bool {
        matches!(&self.feed, Feed::File(file) if file.has_too_many())
    }

    /// What is told of the first line past those that are allowed, where there is one.
    pub(super) fn beyond(&self) -> Option<Vec<u8>> {
        self.has_too_many().then(|| self.around.beyond(self.begun))
    }
}
