//! One line for each exchange, handed to the writer without waiting: a full channel drops and counts.

use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::decide;
use super::notes::Notes;
use super::request::Request;
use super::state::{LanePlan, LaneState};
use crate::base::limits::LOG_PROMPT_MARGIN_BYTES;
use crate::base::time::micros;
use crate::codec::forwarded::Sender;
use crate::codec::reply::LocalReply;
use crate::filter;
use crate::metrics::access::Line;
use crate::metrics::record::Record;
use crate::plan::{AccessLogPlan, ObservePlan};

/// Logs a finished exchange, if it is to be.
pub(super) fn exchange(
    request: &Request,
    (notes, heard): (&Notes, (Option<&str>, Option<&str>)),
    lane: &LaneState,
    (record, now): (&Record, Instant),
) {
    let plan = &request.plan.plan;
    let Some(log) = wanted(&request.plan, lane) else { return };
    let head = &request.head;
    let endpoint = record.endpoint.map(|id| &plan.endpoints[id]);
    let holder = filter::holder_of(&plan.filters, &request.found).map(|(_, holder)| holder);
    let listener = &plan.listeners[request.listener];
    let (model, prompt) = heard;
    let prompt = prompt.map(|prompt| shown(request, prompt, log.prompt));
    let batch = notes.batch.as_deref().and_then(|batch| batch.carried.as_ref());
    let line = Line {
        time: Some(UNIX_EPOCH + Duration::from_micros(lane.wall_us(now))),
        request_id: request.id.as_str(),
        upstream_request_id: notes.upstream_id.as_deref().unwrap_or_default(),
        trace_id: request.trace.id(),
        client: request.sender.client(head.head(), &listener.trusted).address(),
        method: head.method_bytes(),
        host: head.authority(),
        path: head.path(),
        route: record.route.map(|id| plan.routes[id].name.as_str()),
        key: holder.map(|holder| &*holder.name),
        class: holder.and_then(|holder| holder.class.as_deref()),
        model: model.or(request.found.model()),
        prompt: prompt.as_deref(),
        guard: request.found.flagged().map(|id| plan.filters[id].0.as_str()),
        cluster: endpoint.map(|endpoint| plan.clusters[endpoint.cluster].name.as_str()),
        endpoint: endpoint.map(|endpoint| endpoint.url.as_str()),
        batch_id: batch.and_then(|(id, _)| std::str::from_utf8(id).ok()),
        batch_size: batch.map(|(_, size)| *size as u64),
        record,
    };
    write(log, &line, &request.plan, lane);
}

/// How much of a prompt is listened to, beside the model, where an exchange is logged or traced: more than is told, so that a
/// secret at the end of that is found as a whole.
#[inline(always)] // each exchange asks
pub(super) fn heard(observe: &ObservePlan, is_traced: bool) -> Option<usize> {
    match &observe.access_log {
        Some(log) if log.prompt > 0 => Some(log.prompt + LOG_PROMPT_MARGIN_BYTES),
        None if !is_traced => None,
        Some(_) | None => Some(0),
    }
}

/// The beginning of a prompt as it may be told: without what guards take out of it.
fn shown(request: &Request, prompt: &str, most: usize) -> String {
    let plan = &request.plan.plan;
    let chains = decide::chains(plan, request.listener, request.route);
    // What is behind that was heard for the sake of what is in front of it, and may end within a secret.
    let mut text = filter::redacted(&plan.filters, chains, prompt, whole_within(prompt, most));
    text.truncate(whole_within(&text, most));
    text
}

/// How many of the first `most` bytes are whole characters.
fn whole_within(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

/// Logs a request that was refused before its head was understood.
pub(super) fn refused(
    sender: &Sender,
    lane: &LaneState,
    request_id: &str,
    (reply, code): (&LocalReply, &'static str),
    began: Instant,
) {
    let plan = lane.plan();
    let Some(log) = wanted(&plan, lane) else { return };
    let now = Instant::now();
    let record = Record {
        status: reply.status,
        code: Some(code),
        bytes_out: reply.body.len() as u64,
        total_us: micros(began, now),
        ..Record::default()
    };
    let line = Line {
        time: Some(UNIX_EPOCH + Duration::from_micros(lane.wall_us(now))),
        request_id,
        client: sender.address,
        record: &record,
        ..Line::default()
    };
    write(log, &line, &plan, lane);
}

fn wanted<'p>(plan: &'p Rc<LanePlan>, lane: &LaneState) -> Option<&'p AccessLogPlan> {
    let log = plan.plan.observe.access_log.as_ref()?;
    (log.sample >= 1.0 || lane.rng.borrow_mut().unit() < log.sample).then_some(log)
}

fn write(log: &AccessLogPlan, line: &Line<'_>, plan: &LanePlan, lane: &LaneState) {
    let mut text = Vec::with_capacity(512);
    log.format.write(line, &mut text);
    if lane.log.try_send(text).is_err() {
        plan.recorder.borrow_mut().lane.log_dropped += 1;
    }
}
