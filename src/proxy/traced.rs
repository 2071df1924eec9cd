//! An exchange that was traced is over: what a collector is told of it is handed over.

use std::sync::Arc;
use std::time::Instant;

use super::decide;
use super::notes::Notes;
use super::request::Request;
use super::spans::Traced;
use super::state::LaneState;
use crate::base::limits::SPAN_TEXT_BYTES_MAX;
use crate::codec::operation::Operation;
use crate::filter;
use crate::metrics::record::Record;

/// Hands over what is told of an exchange that was over at `now`, and for which `model` was heard in its body.
#[cold]
pub(super) fn tell(
    (request, notes): (&Request, &mut Notes),
    (record, model): (&Record, Option<&str>),
    lane: &LaneState,
    now: Instant,
) {
    let Some(attempts) = notes.tried.take() else { return };
    let plan = &request.plan.plan;
    let named = notes.model.and_then(|at| plan.models.get(at as usize)).map(|name| &**name);
    let asked = request.found.model().or(named).or(model);
    let traced = Traced {
        plan: Arc::clone(plan),
        trace: request.trace,
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
        attempts: *attempts,
    };
    lane.spans.try_send(traced.spans(), traced);
}

/// The beginning of what a client says.
fn clipped(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(SPAN_TEXT_BYTES_MAX)]).into_owned()
}
