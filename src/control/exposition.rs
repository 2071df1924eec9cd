//! `/metrics`: the merged view as Prometheus or OpenMetrics text.

use super::state::Control;
use crate::base::say;
use crate::metrics::names;
use crate::metrics::names::Metric;
use crate::metrics::recorder::{EndpointCounts, RouteCounts, Times};
use crate::metrics::text::{Exposition, ExpositionFormat};

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

        let routes = || snapshot.routes.iter().map(|(name, totals)| (name.as_str(), &totals.counts));
        out.counter(
            names::REQUESTS,
            routes().flat_map(|(name, counts)| {
                let class = move |class: usize| vec![("route", name), ("status", CLASSES[class])];
                (1..CLASSES.len()).map(move |at| (class(at), counts.statuses[at]))
            }),
        );
        let by_route = |metric: Metric, out: &mut Exposition, value: fn(&RouteCounts) -> u64| {
            out.counter(metric, routes().map(|(name, counts)| (vec![("route", name)], value(counts))));
        };
        by_route(names::BYTES_IN, &mut out, |counts| counts.bytes_in);
        by_route(names::BYTES_OUT, &mut out, |counts| counts.bytes_out);
        by_route(names::TOKENS, &mut out, |counts| counts.tokens);
        let times_of_route = |metric: Metric, out: &mut Exposition, value: fn(&RouteCounts) -> &Times| {
            out.histogram(metric, routes().map(|(name, counts)| (vec![("route", name)], value(counts))));
        };
        times_of_route(names::TOTAL, &mut out, |counts| &counts.total);
        times_of_route(names::OVERHEAD, &mut out, |counts| &counts.overhead);
        times_of_route(names::TTFT, &mut out, |counts| &counts.ttft);
        times_of_route(names::ITL, &mut out, |counts| &counts.itl);

        let labels = |cluster, url| vec![("cluster", cluster), ("endpoint", url)];
        let endpoints = || {
            snapshot.endpoints.iter().map(|((cluster, url), counts)| (cluster.as_str(), url.as_str(), counts))
        };
        let by_endpoint = |metric: Metric, out: &mut Exposition, value: fn(&EndpointCounts) -> u64| {
            out.counter(
                metric,
                endpoints().map(|(cluster, url, counts)| (labels(cluster, url), value(counts))),
            );
        };
        by_endpoint(names::ENDPOINT_REQUESTS, &mut out, |counts| counts.requests);
        by_endpoint(names::ENDPOINT_FAULTS, &mut out, |counts| counts.faults);
        by_endpoint(names::ENDPOINT_CONNECTS, &mut out, |counts| counts.connects);
        by_endpoint(names::ENDPOINT_REUSED, &mut out, |counts| counts.reused);
        let in_flight = plan.endpoints.iter().map(|endpoint| {
            let cluster = plan.clusters[endpoint.cluster].name.as_str();
            (labels(cluster, endpoint.url.as_str()), endpoint.load.in_flight() as f64)
        });
        out.gauge(names::ENDPOINT_IN_FLIGHT, in_flight);
        out.finish()
    }
}
