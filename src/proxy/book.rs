//! An exchange is over: its limits are settled, it is counted, and its line is written.

use std::time::Instant;

use super::log;
use super::notes::{BodyNotes, Notes};
use super::overheard::Overheard;
use super::request::{Call, Request};
use super::state::LaneState;
use super::traced;
use crate::filter;
use crate::metrics::keyed::KeyAt;
use crate::metrics::records::Of;

/// Whose request it is and for which model, where its sender showed something.
pub(super) fn keyed(request: &Request, notes: &Notes) -> Option<KeyAt> {
    let key = request.found.key()?;
    let named = |model: &str| request.plan.plan.model_at(model.as_bytes());
    let set = || request.plan.plan.routes[request.route?].model_set.as_deref();
    let model = notes.model.or_else(|| request.found.model().or_else(set).and_then(named));
    Some((key, model))
}

/// Books a finished exchange, and tells when it was over.
#[inline(always)] // each exchange ends here
pub(super) fn book(request: &mut Request, call: &mut Call<'_>, lane: &LaneState) -> Instant {
    if let Some(prompt) = request.found.prompt_tokens() {
        let used = call.notes.tokens_used(prompt);
        filter::settle(&request.plan.plan.filters, &mut request.found, used, Instant::now());
    }
    let body = BodyNotes { received: call.body.received, waited: call.body.waited };
    let listeners = call.body.listeners.take();
    let notes = &mut call.notes;
    let now = notes.over.unwrap_or_else(Instant::now);
    let usage = notes.told();
    let until = notes.switched.unwrap_or(now);
    let summary = notes.summary(request.route, (body, &usage), until);
    {
        let mut recorder = request.plan.recorder.borrow_mut();
        recorder.record(&summary);
        if let Some(code) = notes.code {
            *recorder.lane.refused.entry(code).or_default() += 1;
        }
        if let (Some(route), Some(after)) = (request.route, notes.cancelled) {
            recorder.record_cancelled(route, after);
        }
        if let Some(at) = keyed(request, notes) {
            recorder.keys.entry(at).or_default().record(&summary);
        }
    }
    let plan = &request.plan.plan;
    if plan.observe.tells_exchanges() || notes.tried.is_some() {
        let record = notes.record(&summary, &usage, until);
        let of = Of {
            at_us: lane.wall_us(now),
            generation: plan.generation,
            request_id: request.id.as_bytes(),
            trace_id: request.trace.id(),
        };
        plan.records.keep(lane.lane, &record, of);
        let heard = listeners.and_then(|listeners| listeners.log);
        let (model, prompt) = heard.map_or((None, None), Overheard::told);
        log::exchange(request, (notes, (model.as_deref(), prompt.as_deref())), lane, (&record, now));
        if notes.tried.is_some() {
            traced::tell((request, notes), (&record, model.as_deref(), false), lane, now);
        }
    }
    now
}
