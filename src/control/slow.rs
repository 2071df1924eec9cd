//! `/slow`: the slowest exchanges that the flight recorder keeps, phase by phase.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::named::PlanNames;
use super::state::Control;
use crate::base::time::whole_micros;
use crate::config::units::show_instant;
use crate::metrics::record::Kept;

/// What is asked for.
pub(super) struct Asked {
    /// Only those of this route.
    pub(super) route: Option<String>,
    /// Only those that this endpoint answered, or was tried last for.
    pub(super) endpoint: Option<String>,
    /// Only those that ended so long ago at most.
    pub(super) last: Duration,
    /// So many of them.
    pub(super) limit: usize,
}

impl Control {
    /// The slowest exchanges that fit, longest T first; what is wrong with the question.
    pub(super) fn slow(&self, asked: &Asked, now: SystemTime) -> Result<Value, String> {
        let named = self.named.borrow();
        named.has(asked.route.as_ref(), asked.endpoint.as_ref())?;
        let since = now.checked_sub(asked.last).and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        let since_us = whole_micros(since.unwrap_or_default());
        let plan = self.plan();
        // The fastest of the slow ones is on top, to give way.
        let mut slowest = BinaryHeap::new();
        for (order, kept) in plan.records.since(since_us).enumerate() {
            let names = named.of(kept.generation);
            let fits = |wanted: &Option<String>, is: Option<&str>| {
                wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
            };
            let route = names.and_then(|names| names.route(kept.record.route));
            let endpoint = names.and_then(|names| names.endpoint(kept.record.endpoint));
            if !fits(&asked.route, route) || !fits(&asked.endpoint, endpoint.map(|(_, url)| url)) {
                continue;
            }
            let total = kept.record.total_us;
            if slowest.len() < asked.limit {
                slowest.push((Reverse(total), order, Held(kept)));
            } else if slowest.peek().is_some_and(|(Reverse(least), ..)| *least < total) {
                slowest.pop();
                slowest.push((Reverse(total), order, Held(kept)));
            }
        }
        let told = slowest.into_sorted_vec().into_iter();
        let exchanges: Vec<_> =
            told.map(|(.., Held(kept))| document(&kept, named.of(kept.generation))).collect();
        Ok(json!({ "exchanges": exchanges }))
    }
}

/// A record that takes no part in comparisons.
struct Held(Kept);

impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// One exchange, under the names of the access log.
fn document(kept: &Kept, names: Option<&PlanNames>) -> Value {
    let record = &kept.record;
    let endpoint = names.and_then(|names| names.endpoint(record.endpoint));
    let time = UNIX_EPOCH + Duration::from_micros(kept.at_us);
    json!({
        "time": show_instant(time),
        "request_id": String::from_utf8_lossy(&kept.request_id),
        "trace_id": String::from_utf8_lossy(&kept.trace_id),
        "status": record.status,
        "code": record.code,
        "route": names.and_then(|names| names.route(record.route)),
        "cluster": endpoint.map(|(cluster, _)| cluster),
        "endpoint": endpoint.map(|(_, url)| url),
        "attempts": record.attempts,
        "reused": record.reused,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "tokens": record.tokens,
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "cached_tokens": record.cached_tokens,
        "T_us": record.total_us,
        "head_us": record.head_us,
        "hold_us": record.hold_us,
        "queue_us": record.queue_us,
        "connect_us": record.connect_us,
        "send_us": record.send_us,
        "wait_us": record.wait_us,
        "relay_us": record.relay_us,
        "ttft_us": record.ttft_us,
        "itl_p50_us": record.itl_p50_us,
        "itl_max_us": record.itl_max_us,
        "fault": record.fault,
        "stage": record.stage,
        "ended": record.ended.name(),
    })
}
