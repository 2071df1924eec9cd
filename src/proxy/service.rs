//! A service that is asked whether requests may pass: connections of its own, questions under way, answers that hold.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use super::upstream::Upstream;
use super::whole::exchange;
use crate::base::digest::Digest;
use crate::base::limits::{ASK_BODY_BYTES_MAX, ASK_CACHE_MAX, ASK_IDLE_MAX, ASK_IN_FLIGHT_MAX};
use crate::codec::head::ResponseHead;
use crate::codec::method::Method;
use crate::codec::version::Reuse;
use crate::filter::ask::{Ask, Decision};
use crate::net::connect::connect_any;

/// What a lane keeps of one service, under one plan.
#[derive(Default)]
pub struct Service {
    #[allow(clippy::vec_box, reason = "a connection is made in its box, and handed about in it")]
    idle: RefCell<Vec<Box<Upstream>>>,
    under_way: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
    /// Answers that hold until then, by their questions.
    known: RefCell<HashMap<Digest, (Instant, Decision)>>,
}

/// A place among the questions that are under way.
struct Place<'s>(&'s Service);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl Service {
    /// What it said to that question, while it holds.
    pub(super) fn known(&self, question: &Digest, now: Instant) -> Option<Decision> {
        let known = self.known.borrow();
        known.get(question).filter(|(until, _)| now < *until).map(|(_, decision)| decision.clone())
    }

    /// What it said holds until then.
    pub(super) fn remember(
        &self,
        question: Digest,
        decision: Decision,
        now: Instant,
        until: Option<Instant>,
    ) {
        let Some(until) = until else { return };
        let mut known = self.known.borrow_mut();
        if known.len() >= ASK_CACHE_MAX {
            known.retain(|_, (until, _)| now < *until);
        }
        if known.len() >= ASK_CACHE_MAX {
            known.clear();
        }
        known.insert(question, (until, decision));
    }

    /// What the service says; none where it says nothing that could be understood.
    pub(super) async fn ask(&self, ask: &Ask, message: Vec<u8>) -> Option<Decision> {
        let _place = poll_fn(|cx| self.poll_place(cx)).await;
        let pooled = self.checkout();
        let is_pooled = pooled.is_some();
        let mut upstream = match pooled {
            Some(upstream) => upstream,
            None => Upstream::new(connect_any(&ask.addresses, ask.tls.as_ref()).await.ok()?),
        };
        let method = if ask.body > 0 { Method::Post } else { Method::Get };
        if let Ok((head, body)) = exchange(&mut upstream, method, &message, ASK_BODY_BYTES_MAX).await {
            return self.decided(ask, upstream, &head, body);
        }
        if !is_pooled || upstream.heard {
            return None;
        }
        // It was closed while it lay idle: a question may be asked twice.
        let mut upstream = Upstream::new(connect_any(&ask.addresses, ask.tls.as_ref()).await.ok()?);
        let answer = exchange(&mut upstream, method, &message, ASK_BODY_BYTES_MAX).await;
        let (head, body) = answer.ok()?;
        self.decided(ask, upstream, &head, body)
    }

    fn decided(
        &self,
        ask: &Ask,
        mut upstream: Box<Upstream>,
        head: &ResponseHead,
        body: Bytes,
    ) -> Option<Decision> {
        let is_whole = upstream.responses.reuse() == Reuse::KeepAlive && upstream.reader.unread().is_empty();
        if is_whole && upstream.settle() && self.idle.borrow().len() < ASK_IDLE_MAX {
            self.idle.borrow_mut().push(upstream);
        }
        ask.decide(head, body)
    }

    fn checkout(&self) -> Option<Box<Upstream>> {
        loop {
            let mut upstream = self.idle.borrow_mut().pop()?;
            if upstream.poll_over(&mut Context::from_waker(Waker::noop())).is_pending() {
                return Some(upstream);
            }
        }
    }

    fn poll_place(&self, cx: &Context<'_>) -> Poll<Place<'_>> {
        if self.under_way.get() < ASK_IN_FLIGHT_MAX {
            self.under_way.set(self.under_way.get() + 1);
            return Poll::Ready(Place(self));
        }
        self.waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }
}
