//! Merged view of all lanes since the start, by name: what `/stats` and `/metrics` show.

use std::collections::BTreeMap;

use super::rates::Rates;
use super::recorder::{ClusterCounts, EndpointCounts, LaneCounts, Recorder, RouteCounts};
use super::window::{Window, is_turn};
use crate::base::ids::{ClusterId, EndpointId, RouteId};

/// Everything counted since the start. Names come from the configuration only, so their number is bounded.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// All lanes.
    pub lane: LaneCounts,
    /// By route name.
    pub routes: BTreeMap<String, RouteTotals>,
    /// By cluster name and endpoint URL.
    pub endpoints: BTreeMap<(String, String), EndpointTotals>,
    /// By cluster name.
    pub clusters: BTreeMap<String, ClusterTotals>,
    /// Seconds that have passed.
    seconds: u64,
}

/// A route's counts and its rates over the last seconds.
#[derive(Debug, Default)]
pub struct RouteTotals {
    /// Since the start.
    pub counts: RouteCounts,
    /// Over the last seconds.
    pub rates: Rates,
    /// T of the last minute.
    pub total: Window,
    /// The gateway's share of T, of the last minute.
    pub overhead: Window,
    /// TTFT of the last minute.
    pub ttft: Window,
    /// ITL of the last minute.
    pub itl: Window,
}

/// An endpoint's counts, and its times of the last minute.
#[derive(Debug, Default)]
pub struct EndpointTotals {
    /// Since the start.
    pub counts: EndpointCounts,
    /// T.
    pub total: Window,
    /// TTFT.
    pub ttft: Window,
    /// ITL.
    pub itl: Window,
}

/// A cluster's counts, and what its batches were like in the last minute.
#[derive(Debug, Default)]
pub struct ClusterTotals {
    /// Since the start.
    pub counts: ClusterCounts,
    /// How many requests each call carried.
    pub members: Window,
    /// How long requests waited for others.
    pub wait: Window,
}

impl Snapshot {
    /// Adds what one lane counted, under the names its plan gives to ids.
    pub fn add(
        &mut self,
        recorder: &Recorder,
        route_name: impl Fn(RouteId) -> String,
        endpoint_name: impl Fn(EndpointId) -> (String, String),
        cluster_name: impl Fn(ClusterId) -> String,
    ) {
        self.lane.add(&recorder.lane);
        for (id, counts) in recorder.routes.pairs() {
            let totals = self.routes.entry(route_name(id)).or_default();
            totals.counts.add(counts);
            totals.total.add(&counts.total);
            totals.overhead.add(&counts.overhead);
            totals.ttft.add(&counts.ttft);
            totals.itl.add(&counts.itl);
        }
        for (id, counts) in recorder.endpoints.pairs() {
            let totals = self.endpoints.entry(endpoint_name(id)).or_default();
            totals.counts.add(counts);
            totals.total.add(&counts.total);
            totals.ttft.add(&counts.ttft);
            totals.itl.add(&counts.itl);
        }
        for (id, counts) in recorder.clusters.pairs() {
            let totals = self.clusters.entry(cluster_name(id)).or_default();
            totals.counts.add(counts);
            totals.members.add(&counts.batch_members);
            totals.wait.add(&counts.batch_wait);
        }
    }

    /// A second has passed: notes where the counters stand.
    pub fn second_passed(&mut self) {
        for totals in self.routes.values_mut() {
            totals.rates.second_passed(&totals.counts);
        }
        self.seconds += 1;
        if !is_turn(self.seconds) {
            return;
        }
        let routes = self
            .routes
            .values_mut()
            .flat_map(|totals| [&mut totals.total, &mut totals.overhead, &mut totals.ttft, &mut totals.itl]);
        routes.for_each(Window::turn);
        let endpoints = self.endpoints.values_mut();
        endpoints
            .flat_map(|totals| [&mut totals.total, &mut totals.ttft, &mut totals.itl])
            .for_each(Window::turn);
        let clusters = self.clusters.values_mut();
        clusters.flat_map(|totals| [&mut totals.members, &mut totals.wait]).for_each(Window::turn);
    }
}
