//! What is noted of the attempts of an exchange that is traced, and all that its spans say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::reply;
use crate::base::fault::{Fault, Side};
use crate::base::hash::hash64;
use crate::base::ids::EndpointId;
use crate::base::link::Link;
use crate::base::time::micros;
use crate::codec::operation::Operation;
use crate::codec::trace::TraceContext;
use crate::metrics::record::Record;
use crate::plan::Plan;

/// All that is told of one exchange.
#[derive(Debug)]
pub struct Traced {
    /// The plan that its positions are in.
    pub plan: Arc<Plan>,
    /// Its ids; the span is that of the exchange.
    pub trace: TraceContext,
    /// What a trusted sender says of that trace, if it is not too long.
    pub state: Option<String>,
    /// It is a call that was made for others.
    pub is_call: bool,
    /// What is asked.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// See above.
    pub operation: Operation,
    /// The model that is asked for, as far as somebody looked, and the one that answered.
    pub models: [Option<Box<str>>; 2],
    /// Whose it is, where a key or token says so.
    pub key: Option<Box<str>>,
    /// When it began, and when it was over.
    pub began: Instant,
    /// See above.
    pub over: Instant,
    /// The latter, microseconds since 1970.
    pub over_us: u64,
    /// How it went.
    pub record: Record,
    /// Why, where it went badly: the code of our answer, or the one that would have been its.
    pub error: Option<&'static str>,
    /// Whom it asked, and where it waited.
    pub attempts: Attempts,
}

impl Traced {
    /// That time, microseconds since 1970.
    pub fn wall_us(&self, at: Instant) -> u64 {
        self.over_us.saturating_sub(micros(at, self.over))
    }

    /// How many spans tell it.
    pub fn spans(&self) -> usize {
        1 + self.attempts.made.len() + self.attempts.waits.len()
    }
}

/// The attempts of an exchange, and its waits for a place.
#[derive(Debug, Default)]
pub struct Attempts {
    /// In their order.
    pub made: Vec<Attempt>,
    /// See above.
    pub waits: Vec<Wait>,
    /// The calls in which it was asked with others.
    pub calls: Vec<Link>,
}

/// A wait for a place.
#[derive(Debug)]
pub struct Wait {
    /// Its span.
    pub span: u64,
    /// From when to when.
    pub from: Instant,
    /// See above.
    pub until: Instant,
}

/// An attempt.
#[derive(Debug)]
pub struct Attempt {
    /// Its span.
    pub span: u64,
    /// Who was asked.
    pub endpoint: EndpointId,
    /// From when to when; none while it is under way, which it is until its exchange is over.
    pub begun: Instant,
    /// See above.
    pub ended: Option<Instant>,
    /// The status of its answer, if there was one.
    pub status: Option<u16>,
    /// Why it failed: the code that a client would be told.
    pub fault: Option<&'static str>,
}

impl Attempts {
    /// One begins; another that was answered is over. Its span is told upstream.
    pub(super) fn begin(&mut self, endpoint: EndpointId, begun: Instant, trace: &TraceContext) {
        self.end(begun);
        let span = next_span(trace);
        self.made.push(Attempt { span, endpoint, begun, ended: None, status: None, fault: None });
    }

    /// The trace as the attempt under way tells it upstream.
    pub(super) fn context(&self, trace: &TraceContext) -> TraceContext {
        self.made.last().map_or(*trace, |attempt| trace.child(attempt.span))
    }

    /// A place was waited for.
    pub(super) fn waited(&mut self, from: Instant, until: Instant, trace: &TraceContext) {
        self.waits.push(Wait { span: next_span(trace), from, until });
    }

    /// Its answer has begun.
    pub(super) fn answered(&mut self, status: u16) {
        if let Some(attempt) = self.made.last_mut() {
            attempt.status = Some(status);
        }
    }

    /// It failed.
    pub(super) fn failed(&mut self, fault: &Fault, now: Instant) {
        if let Some(attempt) = self.made.last_mut() {
            (attempt.fault, attempt.ended) = (code(fault), Some(now));
        }
    }

    /// The answer of that endpoint broke off.
    pub(super) fn broke(&mut self, endpoint: EndpointId, fault: &Fault) {
        let answered = |attempt: &&mut Attempt| attempt.endpoint == endpoint && attempt.status.is_some();
        if let Some(attempt) = self.made.iter_mut().rfind(answered) {
            attempt.fault = attempt.fault.or(code(fault));
        }
    }

    /// The one under way is over.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(attempt) = self.made.last_mut() {
            attempt.ended.get_or_insert(now);
        }
    }

    /// The answer of that endpoint goes on; those of all others are over.
    pub(super) fn end_all_but(&mut self, endpoint: EndpointId, now: Instant) {
        for attempt in self.made.iter_mut().filter(|attempt| attempt.endpoint != endpoint) {
            attempt.ended.get_or_insert(now);
        }
    }

    /// Those of a leg were made for this exchange.
    pub(super) fn join(&mut self, leg: Self) {
        self.made.extend(leg.made);
        self.waits.extend(leg.waits);
    }
}

/// What is told of a fault to whoever is there to be told: the client's own are none of the attempt.
pub(super) fn code(fault: &Fault) -> Option<&'static str> {
    (fault.side != Side::Downstream).then(|| reply::of_fault(fault).code)
}

/// A span that is no other's: chance would be drawn from a lane, which an attempt does not know.
fn next_span(trace: &TraceContext) -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    hash64(&[&trace.as_bytes()[3..52], &number.to_be_bytes()].concat()) | 1
}
