//! An exchange that was traced is over: what a collector is told of it is handed over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::decide;
use super::notes::{BodyNotes, Notes};
use super::request::Request;
use super::spans::{self, Traced};
use super::state::LaneState;
use crate::base::fault::Side;
use crate::base::limits::{SPAN_TEXT_BYTES_MAX, TRACE_STATE_BYTES};
use crate::base::summary::Ended;
use crate::codec::field::FieldName;
use crate::codec::operation::Operation;
use crate::filter;
use crate::metrics::record::Record;

/// Hands over what is told of an exchange that was over at `now`, and for which `model` was heard in its body.
#[cold]
pub(super) fn tell(
    (request, notes): (&Request, &mut Notes),
    (record, model, is_call): (&Record, Option<&str>, bool),
    lane: &LaneState,
    now: Instant,
) {
    let Some(mut attempts) = notes.tried.take() else { return };
    let fault = notes.fault.filter(|_| record.ended != Ended::Well);
    if let (Some(endpoint), Some(fault)) =
        (record.endpoint, fault.filter(|fault| fault.side == Side::Upstream))
    {
        attempts.broke(endpoint, &fault);
    }
    let plan = &request.plan.plan;
    let named = notes.model.and_then(|at| plan.models.get(at as usize)).map(|name| &**name);
    let asked = request.found.model().or(named).or(model);
    let traced = Traced {
        plan: Arc::clone(plan),
        trace: request.trace,
        state: state(request),
        is_call,
        method: clipped(request.head.method_bytes()),
        path: clipped(request.head.path()),
        operation: record
            .route
            .map_or(Operation::Other, |route| decide::operation(plan, route, &request.head)),
        models: [asked, notes.usage.as_ref().and_then(|usage| usage.model())]
            .map(|model| model.map(|model| clipped(model.as_bytes()).into())),
        key: filter::holder_of(&plan.filters, &request.found).map(|(_, holder)| holder.name.clone()),
        began: notes.arrival.began,
        over: now,
        over_us: lane.wall_us(now),
        record: record.clone(),
        error: notes.code.or(fault.as_ref().and_then(spans::code)),
        attempts: *attempts,
    };
    lane.spans.try_send(traced.spans(), traced);
}

/// The same of a call that was made for others, and was over at `now`.
#[cold]
pub(super) fn tell_call((request, notes): (&Request, &mut Notes), lane: &LaneState, now: Instant) {
    if notes.status == 0 {
        // Nobody was told anything: all for whom it was made have left, or need it no more.
        notes.ended = Ended::ClientLeft;
    }
    let usage = notes.told();
    let body = BodyNotes { received: 0, waited: Duration::ZERO };
    let summary = notes.summary(request.route, (body, &usage), now);
    let record = notes.record(&summary, &usage, now);
    tell((request, notes), (&record, None, true), lane, now);
}

/// What a trusted sender says of a trace that goes on here.
fn state(request: &Request) -> Option<String> {
    let said = || request.head.head().values(FieldName::Tracestate);
    let length: usize = said().map(|value| value.len() + 1).sum();
    let is_passed = request.trace.is_continued && !request.is_carried;
    let is_short = (1..=TRACE_STATE_BYTES + 1).contains(&length);
    (is_passed && is_short).then(|| said().map(String::from_utf8_lossy).collect::<Vec<_>>().join(","))
}

/// The beginning of what a client says.
fn clipped(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(SPAN_TEXT_BYTES_MAX)]).into_owned()
}
