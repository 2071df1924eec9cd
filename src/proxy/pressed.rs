//! What an engine says of its load with an answer weighs in the next pick, as what its metrics say does.

use std::time::Instant;

use super::request::Request;
use crate::base::ids::EndpointId;
use crate::board::pressure::EVEN;
use crate::codec::head::ResponseHead;
use crate::discovery::load_header::{self, Told};
use crate::discovery::signals::gauges;

/// Takes in what the head of an answer says of its endpoint's load, where that is an engine that has a word for it.
#[inline(always)] // each answer comes here, and mostly nobody asks
pub(super) fn hear(request: &Request, id: EndpointId, head: &ResponseHead, now: Instant) {
    let plan = &request.plan.plan;
    let endpoint = &plan.endpoints[id];
    if gauges(plan.clusters[endpoint.cluster].settings.engine).is_some() {
        take_in(request, id, head, now);
    }
}

#[inline(never)]
fn take_in(request: &Request, id: EndpointId, head: &ResponseHead, now: Instant) {
    let value = head.head().values_of(load_header::FIELD).next();
    let Some(Told { signal, is_of_waiting }) = value.and_then(load_header::read) else { return };
    let pressure = request.plan.plan.endpoints[id].load.pressure();
    let level = (signal.pressure() * EVEN as f64) as u64;
    // Who does not say how many wait takes nothing back of what the metrics said of that.
    if is_of_waiting || level + EVEN > pressure.bias(now) {
        pressure.note(level, now);
    }
}
