//! `/metrics`: the merged view as Prometheus or OpenMetrics text.

use std::collections::BTreeMap;
use std::time::Instant;

use super::state::Control;
use super::traces::SPAN_RESULTS;
use crate::base::choice::Words;
use crate::base::ids::EndpointId;
use crate::base::say;
use crate::base::summary::TOKEN_KINDS;
use crate::metrics::names;
use crate::metrics::names::Metric;
use crate::metrics::recorder::{
    CACHE_RESULTS, ClusterCounts, EndpointCounts, LIMITED_KINDS, MIRROR_RESULTS, RETRY_REASONS, RouteCounts,
};
use crate::metrics::snapshot::Snapshot;
use crate::metrics::text::{Exposition, ExpositionFormat};
use crate::metrics::times::Times;
use crate::plan::{ClusterPlan, EndpointPlan, Plan};
use crate::retry::RetryOn;

const _: () = assert!(RetryOn::WORDS.len() == RETRY_REASONS, "each reason is counted apart");

const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "499"];

impl Control {
    /// The text of `/metrics`; collect first. Labels come from the configuration only.
    pub(super) fn exposition(&self, format: ExpositionFormat) -> String {
        let mut out = Exposition::new(format);
        let snapshot = self.collected.snapshot.borrow();
        let plan = self.plan();
        out.gauge(names::UPTIME, [(vec![], self.started.elapsed().as_secs_f64())]);
        out.gauge(names::GENERATION, [(vec![], plan.generation as f64)]);
        let lanes: Vec<_> =
            self.connections().into_iter().enumerate().map(|(lane, n)| (lane.to_string(), n)).collect();
        out.gauge(
            names::CONNECTIONS,
            lanes.iter().map(|(lane, n)| (vec![("lane", lane.as_str())], *n as f64)),
        );
        out.counter(names::ACCEPTED, [(vec![], snapshot.lane.accepted)]);
        out.counter(names::HANDED_OVER, [(vec![], snapshot.lane.handed_over)]);
        out.counter(names::UNROUTED, [(vec![], snapshot.lane.unrouted)]);
        out.counter(names::PANICS, [(vec![], snapshot.lane.panics + self.panics.get())]);
        out.counter(names::LOG_DROPPED, [(vec![], snapshot.lane.log_dropped)]);
        out.counter(names::MESSAGES_LOST, [(vec![], say::lost())]);
        out.counter(names::LOG_LOST, [(vec![], self.log.borrow().lost())]);
        let spans = SPAN_RESULTS.into_iter().zip(self.traces.borrow().counts());
        out.counter(names::SPANS, spans.map(|(result, count)| (vec![("result", result)], count)));

        self.lanes(&mut out);
        refusals(&plan, &snapshot, &mut out);
        routes(&snapshot, &mut out);
        keys(&snapshot, &mut out);
        endpoints(&snapshot, &mut out);
        self.state_of_endpoints(&plan, &mut out);
        queues(&plan, &mut out);
        sharing(&plan, &snapshot, &mut out);
        out.finish()
    }

    /// How the work is spread over lanes.
    fn lanes(&self, out: &mut Exposition) {
        let by_lane = |values: Vec<f64>| -> Vec<(String, f64)> {
            values.into_iter().enumerate().map(|(lane, value)| (lane.to_string(), value)).collect()
        };
        let ended = by_lane(self.collected.ended().into_iter().map(|ended| ended as f64).collect());
        fn labels(lane: &str) -> Vec<(&'static str, &str)> {
            vec![("lane", lane)]
        }
        out.counter(names::LANE_REQUESTS, ended.iter().map(|(lane, ended)| (labels(lane), *ended as u64)));
        let busy = by_lane(self.busy.borrow().ratios());
        out.gauge(names::LANE_BUSY, busy.iter().map(|(lane, ratio)| (labels(lane), *ratio)));
    }

    /// What endpoints are now, beside what was counted of them.
    fn state_of_endpoints(&self, plan: &Plan, out: &mut Exposition) {
        let now = Instant::now();
        fn labels<'p>(plan: &'p Plan, endpoint: &'p EndpointPlan) -> Vec<(&'static str, &'p str)> {
            vec![("cluster", &plan.clusters[endpoint.cluster].name), ("endpoint", &endpoint.url)]
        }
        let mut gauge = |metric, value: &dyn Fn(EndpointId, &EndpointPlan) -> f64| {
            let series =
                plan.endpoints.pairs().map(|(id, endpoint)| (labels(plan, endpoint), value(id, endpoint)));
            out.gauge(metric, series);
        };
        gauge(names::ENDPOINT_IN_FLIGHT, &|_, endpoint| endpoint.load.in_flight() as f64);
        gauge(names::ENDPOINT_ADMITTED, &|_, endpoint| {
            f64::from(u8::from(endpoint.verdict().is_admitted(now)))
        });
        let lanes = |id| self.collected.gauges(id);
        gauge(names::ENDPOINT_IDLE, &|id, _| lanes(id).idle as f64);
        gauge(names::ENDPOINT_KEEP_ALIVE, &|id, _| lanes(id).keep_alive.as_secs_f64());
        let ejections =
            plan.endpoints.iter().map(|endpoint| (labels(plan, endpoint), endpoint.verdict().ejections()));
        out.counter(names::EJECTIONS, ejections);
    }
}

/// Who was refused, and by which limit.
fn refusals(plan: &Plan, snapshot: &Snapshot, out: &mut Exposition) {
    out.counter(
        names::REFUSED,
        snapshot.lane.refused.iter().map(|(code, count)| (vec![("code", *code)], *count)),
    );
    let nothing = [0; LIMITED_KINDS.len()];
    let limiting = plan.filters.iter().filter(|(_, filter)| filter.limits());
    let limited = limiting.flat_map(|(name, _)| {
        let counts = snapshot.limited.get(name).unwrap_or(&nothing);
        let labels = move |kind| vec![("filter", name.as_str()), ("kind", kind)];
        LIMITED_KINDS.iter().zip(counts).map(move |(kind, count)| (labels(*kind), *count))
    });
    out.counter(names::LIMITED, limited);
}

/// What was counted of routes.
fn routes(snapshot: &Snapshot, out: &mut Exposition) {
    let routes = || snapshot.routes.iter().map(|(name, totals)| (name.as_str(), &totals.counts));
    out.counter(
        names::REQUESTS,
        routes().flat_map(|(name, counts)| {
            let class = move |class: usize| vec![("route", name), ("status", CLASSES[class])];
            (0..CLASSES.len()).map(move |at| (class(at), counts.statuses[at]))
        }),
    );
    let by_route = |metric: Metric, out: &mut Exposition, value: fn(&RouteCounts) -> u64| {
        out.counter(metric, routes().map(|(name, counts)| (vec![("route", name)], value(counts))));
    };
    by_route(names::BYTES_IN, out, |counts| counts.bytes_in);
    by_route(names::BYTES_OUT, out, |counts| counts.bytes_out);
    by_route(names::TOKENS, out, |counts| counts.tokens);
    let used = routes().flat_map(|(name, counts)| {
        let kind = move |kind| vec![("route", name), ("kind", kind)];
        TOKEN_KINDS.iter().zip(counts.usage).map(move |(of, count)| (kind(*of), count))
    });
    out.counter(names::USAGE_TOKENS, used);
    let times_of_route = |metric: Metric, out: &mut Exposition, value: fn(&RouteCounts) -> &Times| {
        out.histogram(metric, routes().map(|(name, counts)| (vec![("route", name)], value(counts))));
    };
    times_of_route(names::TOTAL, out, |counts| &counts.total);
    times_of_route(names::OVERHEAD, out, |counts| &counts.overhead);
    times_of_route(names::TTFT, out, |counts| &counts.ttft);
    times_of_route(names::ITL, out, |counts| &counts.itl);
    times_of_route(names::QUEUE_WAIT, out, |counts| &counts.queue);
    times_of_route(names::CANCEL, out, |counts| &counts.cancel);
}

/// What was counted of those who showed a key. A pair of key and model that nobody used has no series.
fn keys(snapshot: &Snapshot, out: &mut Exposition) {
    let labels = |key, model, name, value| vec![("key", key), ("model", model), (name, value)];
    let requests = snapshot.keys.iter().flat_map(|(key, model, counts)| {
        let class = move |at| labels(key, model, "status", CLASSES[at]);
        (0..CLASSES.len()).map(move |at| (class(at), counts.statuses[at]))
    });
    out.counter(names::KEY_REQUESTS, requests);
    let tokens = snapshot.keys.iter().flat_map(|(key, model, counts)| {
        let kind = move |kind| labels(key, model, "kind", kind);
        TOKEN_KINDS.iter().zip(counts.usage).map(move |(of, count)| (kind(*of), count))
    });
    out.counter(names::KEY_TOKENS, tokens);
}

/// What was counted of endpoints.
fn endpoints(snapshot: &Snapshot, out: &mut Exposition) {
    let labels = |cluster, url| vec![("cluster", cluster), ("endpoint", url)];
    let endpoints = || {
        snapshot
            .endpoints
            .iter()
            .map(|((cluster, url), totals)| (cluster.as_str(), url.as_str(), &totals.counts))
    };
    let by_endpoint = |metric: Metric, out: &mut Exposition, value: fn(&EndpointCounts) -> u64| {
        out.counter(metric, endpoints().map(|(cluster, url, counts)| (labels(cluster, url), value(counts))));
    };
    by_endpoint(names::ENDPOINT_REQUESTS, out, |counts| counts.requests);
    by_endpoint(names::ENDPOINT_FAULTS, out, |counts| counts.faults);
    by_endpoint(names::ENDPOINT_CONNECTS, out, |counts| counts.connects);
    by_endpoint(names::ENDPOINT_REUSED, out, |counts| counts.reused);
    let times_of_endpoint = |metric: Metric, out: &mut Exposition, value: fn(&EndpointCounts) -> &Times| {
        out.histogram(
            metric,
            endpoints().map(|(cluster, url, counts)| (labels(cluster, url), value(counts))),
        );
    };
    times_of_endpoint(names::ENDPOINT_TOTAL, out, |counts| &counts.total);
    times_of_endpoint(names::ENDPOINT_CONNECT, out, |counts| &counts.connect);
    times_of_endpoint(names::ENDPOINT_TTFT, out, |counts| &counts.ttft);
    times_of_endpoint(names::ENDPOINT_ITL, out, |counts| &counts.itl);
    let mut retries: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (cluster, _, counts) in endpoints() {
        for (reason, count) in RetryOn::WORDS.iter().zip(counts.retries) {
            *retries.entry((cluster, reason)).or_default() += count;
        }
    }
    let by_reason = |((cluster, reason), count)| (vec![("cluster", cluster), ("reason", reason)], count);
    out.counter(names::RETRIES, retries.into_iter().map(by_reason));
}

/// Who waits for a place, by class, of those clusters that have a queue.
fn queues(plan: &Plan, out: &mut Exposition) {
    let depths = plan.clusters.iter().filter_map(|cluster| {
        let classes = &cluster.settings.queue.as_ref()?.value.classes;
        let waiting = cluster.queue.waiting_in(classes.len());
        Some(classes.iter().zip(waiting).map(|(class, waiting)| {
            (vec![("cluster", cluster.name.as_str()), ("class", class.as_str())], waiting as f64)
        }))
    });
    out.gauge(names::QUEUE_DEPTH, depths.flatten());
}

/// What requests share of their answers, of those clusters where they may share some, and what copies of them became.
fn sharing(plan: &Plan, snapshot: &Snapshot, out: &mut Exposition) {
    let nothing = ClusterCounts::default();
    let counts = |name: &str| snapshot.clusters.get(name).map_or(&nothing, |totals| &totals.counts);
    let sharing = |cluster: &&ClusterPlan| cluster.sharing.is_some();
    let shared = plan
        .clusters
        .iter()
        .filter(sharing)
        .map(|cluster| (vec![("cluster", cluster.name.as_str())], counts(&cluster.name).shared));
    out.counter(names::SHARED, shared);
    let batching = || plan.clusters.iter().filter(|cluster| cluster.settings.batch.is_some());
    let named = |cluster: &'_ ClusterPlan| counts(&cluster.name);
    out.sizes(
        names::BATCH_MEMBERS,
        batching().map(|cluster| (vec![("cluster", cluster.name.as_str())], &named(cluster).batch_members)),
    );
    out.counter(
        names::BATCH_PIECES,
        batching().map(|cluster| (vec![("cluster", cluster.name.as_str())], named(cluster).pieces)),
    );
    out.histogram(
        names::BATCH_WAIT,
        batching().map(|cluster| (vec![("cluster", cluster.name.as_str())], &named(cluster).batch_wait)),
    );
    let keeping = |cluster: &&ClusterPlan| cluster.settings.cache.is_some();
    let kept = plan.clusters.iter().filter(keeping).flat_map(|cluster| {
        let labels = move |result| vec![("cluster", cluster.name.as_str()), ("result", result)];
        CACHE_RESULTS
            .iter()
            .zip(counts(&cluster.name).cache)
            .map(move |(result, count)| (labels(*result), count))
    });
    out.counter(names::CACHE, kept);
    let copied = plan.clusters.pairs().filter(|(id, _)| plan.is_mirror(*id)).flat_map(|(_, cluster)| {
        let labels = move |result| vec![("cluster", cluster.name.as_str()), ("result", result)];
        let results = MIRROR_RESULTS.iter().zip(counts(&cluster.name).mirror);
        results.map(move |(result, count)| (labels(*result), count))
    });
    out.counter(names::MIRROR, copied);
}
