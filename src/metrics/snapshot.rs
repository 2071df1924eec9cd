//! Merged view of all lanes since the start, by name: what `/stats` and `/metrics` show.

use std::collections::BTreeMap;

use super::rates::Rates;
use super::recorder::{ClusterCounts, EndpointCounts, LaneCounts, Recorder, RouteCounts};
use crate::base::ids::{ClusterId, EndpointId, RouteId};

/// Everything counted since the start. Names come from the configuration only, so their number is bounded.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// All lanes.
    pub lane: LaneCounts,
    /// By route name.
    pub routes: BTreeMap<String, RouteTotals>,
    /// By cluster name and endpoint URL.
    pub endpoints: BTreeMap<(String, String), EndpointCounts>,
    /// By cluster name.
    pub clusters: BTreeMap<String, ClusterCounts>,
}

/// A route's counts and its rates over the last seconds.
#[derive(Debug, Default)]
pub struct RouteTotals {
    /// Since the start.
    pub counts: RouteCounts,
    /// Over the last seconds.
    pub rates: Rates,
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
            self.routes.entry(route_name(id)).or_default().counts.add(counts);
        }
        for (id, counts) in recorder.endpoints.pairs() {
            self.endpoints.entry(endpoint_name(id)).or_default().add(counts);
        }
        for (id, counts) in recorder.clusters.pairs() {
            self.clusters.entry(cluster_name(id)).or_default().add(counts);
        }
    }

    /// A second has passed: notes where the counters stand.
    pub fn second_passed(&mut self) {
        for totals in self.routes.values_mut() {
            totals.rates.second_passed(&totals.counts);
        }
    }
}
