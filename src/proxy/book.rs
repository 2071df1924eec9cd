//! An exchange is over: its limits are settled, it is counted, and its line is written.

use std::time::Instant;

use super::log;
use super::notes::BodyNotes;
use super::request::{Call, Request};
use super::state::LaneState;
use crate::filter;
use crate::metrics::records::Of;

/// Books a finished exchange, and tells when it was over.
#[inline(always)] // each exchange ends here
pub(super) fn book(request: &mut Request, call: &mut Call<'_>, lane: &LaneState) -> Instant {
    if let Some(prompt) = request.found.prompt_tokens() {
        let used = call.notes.tokens_used(prompt);
        filter::settle(&request.plan.plan.filters, &mut request.found, used, Instant::now());
    }
    let body = BodyNotes { received: call.body.received, waited: call.body.waited };
    let listeners = call.body.listeners.take();
    let notes = &call.notes;
    let now = notes.over.unwrap_or_else(Instant::now);
    let summary = notes.summary(request.route, body, notes.switched.unwrap_or(now));
    {
        let mut recorder = request.plan.recorder.borrow_mut();
        recorder.record(&summary);
        if let Some(code) = notes.code {
            *recorder.lane.refused.entry(code).or_default() += 1;
        }
    }
    let plan = &request.plan.plan;
    if plan.observe.tells_exchanges() {
        let record = notes.record(&summary, now);
        let of = Of {
            at_us: lane.wall_us(now),
            generation: plan.generation,
            request_id: request.id.as_bytes(),
            trace_id: request.trace.id(),
        };
        plan.records.keep(lane.lane, &record, of);
        log::exchange(request, (notes, listeners), lane, (&record, now));
    }
    now
}
