//! One line for each exchange, handed to the writer without waiting: a full channel drops and counts.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::downstream::Client;
use super::exchange::Exchange;
use super::state::{LanePlan, LaneState};
use crate::base::summary::{Ended, Summary};
use crate::base::time::micros;
use crate::codec::reply::LocalReply;
use crate::metrics::access::Line;
use crate::plan::AccessLogPlan;

/// Logs a finished exchange, if it is to be.
pub(super) fn exchange(
    exchange: &Exchange,
    client: &Client,
    lane: &LaneState,
    summary: &Summary,
    now: Instant,
) {
    let plan = &exchange.plan.plan;
    let Some(log) = wanted(&exchange.plan, lane) else { return };
    let head = &exchange.head;
    let tally = &exchange.tally;
    let endpoint = summary.endpoint.map(|id| &plan.endpoints[id]);
    let listener = &plan.listeners[client.listener];
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let fault = tally.fault.filter(|_| summary.ended != Ended::Well);
    let line = Line {
        time: Some(SystemTime::now()),
        request_id: exchange.request_id.as_str(),
        trace_id: exchange.trace.id(),
        client: client.sender.client(head.head(), &listener.trusted),
        method: head.method_bytes(),
        host: head.authority(),
        path: head.path(),
        status: summary.status,
        code: tally.code,
        route: summary.route.map(|id| plan.routes[id].name.as_str()),
        cluster: endpoint.map(|endpoint| plan.clusters[endpoint.cluster].name.as_str()),
        endpoint: endpoint.map(|endpoint| endpoint.url.as_str()),
        attempts: tally.attempts.into(),
        reused: tally.reused,
        bytes_in: summary.bytes_in,
        bytes_out: summary.bytes_out,
        tokens: summary.tokens,
        total_us: summary.total_us,
        head_us: micros(tally.arrival.began, tally.arrival.complete),
        hold_us: us(tally.phases.hold),
        connect_us: us(tally.phases.connect),
        send_us: us(tally.phases.send),
        wait_us: us(tally.phases.wait),
        relay_us: tally.answered.map_or(0, |answered| micros(answered, now)),
        ttft_us: summary.ttft_us,
        fault: fault.map(|fault| fault.kind.name()),
        stage: fault.map(|fault| fault.stage.name()),
        ended: summary.ended.name(),
    };
    write(log, &line, &exchange.plan, lane);
}

/// Logs a request that was refused before its head was understood.
pub(super) fn refused(
    client: &Client,
    lane: &LaneState,
    request_id: &str,
    (reply, code): (&LocalReply, &str),
    began: Instant,
) {
    let plan = lane.plan();
    let Some(log) = wanted(&plan, lane) else { return };
    let line = Line {
        time: Some(SystemTime::now()),
        request_id,
        client: client.sender.address,
        status: reply.status,
        code: Some(code),
        bytes_out: reply.body.len() as u64,
        total_us: micros(began, Instant::now()),
        ended: Ended::Well.name(),
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
