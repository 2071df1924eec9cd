//! What is noted of the attempts of an exchange that is traced, and all that its spans say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::base::fault::Fault;
use crate::base::hash::hash64;
use crate::base::ids::EndpointId;
use crate::codec::operation::Operation;
use crate::codec::trace::TraceContext;
use crate::metrics::record::Record;
use crate::plan::Plan;

/// All that is told of one exchange. Times are microseconds since 1970.
#[derive(Debug)]
pub struct Traced {
    /// The plan that its positions are in.
    pub plan: Arc<Plan>,
    /// Its ids; the span is that of the exchange.
    pub trace: TraceContext,
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
    /// From when to when.
    pub times: (u64, u64),
    /// How it went.
    pub record: Record,
    /// Whom it asked.
    pub attempts: Vec<Tried>,
    /// Each wait for a place.
    pub waits: Vec<Waited>,
}

/// A wait. Times are microseconds since 1970.
#[derive(Debug)]
pub struct Waited {
    /// Its span.
    pub span: u64,
    /// From when to when.
    pub times: (u64, u64),
}

/// An attempt. Times are microseconds since 1970.
#[derive(Debug)]
pub struct Tried {
    /// Its span.
    pub span: u64,
    /// Who was asked.
    pub endpoint: EndpointId,
    /// From when to when.
    pub times: (u64, u64),
    /// The status of its answer, if there was one.
    pub status: Option<u16>,
    /// Why it failed.
    pub fault: Option<&'static str>,
}

/// Attempts as they are noted.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    made: Vec<Attempt>,
    /// Waits for a place.
    waits: Vec<(u64, Instant, Instant)>,
}

#[derive(Debug)]
struct Attempt {
    span: u64,
    endpoint: EndpointId,
    begun: Instant,
    ended: Option<Instant>,
    status: Option<u16>,
    fault: Option<&'static str>,
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
        self.waits.push((next_span(trace), from, until));
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
            (attempt.fault, attempt.ended) = (Some(fault.kind.name()), Some(now));
        }
    }

    /// The one under way is over.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(attempt) = self.made.last_mut() {
            attempt.ended.get_or_insert(now);
        }
    }

    /// Each, and each wait, with its times told by `at`; one that is not over is by `now`.
    pub(super) fn told(&self, at: impl Fn(Instant) -> u64, now: Instant) -> (Vec<Tried>, Vec<Waited>) {
        let tried = |attempt: &Attempt| Tried {
            span: attempt.span,
            endpoint: attempt.endpoint,
            times: (at(attempt.begun), at(attempt.ended.unwrap_or(now))),
            status: attempt.status,
            fault: attempt.fault,
        };
        let waited = |(span, from, until): &(u64, Instant, Instant)| Waited {
            span: *span,
            times: (at(*from), at(*until)),
        };
        (self.made.iter().map(tried).collect(), self.waits.iter().map(waited).collect())
    }

    /// Those of a leg were made for this exchange.
    pub(super) fn join(&mut self, leg: Self) {
        self.made.extend(leg.made);
        self.waits.extend(leg.waits);
    }
}

/// A span that is no other's: chance would be drawn from a lane, which an attempt does not know.
fn next_span(trace: &TraceContext) -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    hash64(&[&trace.as_bytes()[3..52], &number.to_be_bytes()].concat()) | 1
}
