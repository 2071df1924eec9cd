//! Merged view of all lanes since the start, by name: what `/stats` and `/metrics` show.

use std::collections::BTreeMap;

use super::history::{History, Point};
use super::keyed::{KeyAt, Keyed};
use super::rates::Rates;
use super::recorder::{ClusterCounts, EndpointCounts, LIMITED_KINDS, LaneCounts, Recorder, RouteCounts};
use super::sums::add_each;
use super::window::{Window, is_turn};
use crate::base::ids::{ClusterId, EndpointId, FilterId, RouteId};
use crate::base::limits::WINDOW_SLOT_S;

/// Everything counted since the start. Names come from the configuration only, so their number is bounded.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// All lanes.
    pub lane: LaneCounts,
    /// All routes together.
    pub all: RouteTotals,
    /// By route name.
    pub routes: BTreeMap<String, RouteTotals>,
    /// By cluster name and endpoint URL.
    pub endpoints: BTreeMap<(String, String), EndpointTotals>,
    /// By cluster name.
    pub clusters: BTreeMap<String, ClusterTotals>,
    /// Requests that a filter refused for their number, by its name and by what it counts.
    pub limited: BTreeMap<String, [u64; LIMITED_KINDS.len()]>,
    /// Of those who showed a key.
    pub keys: Keyed,
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
    /// The last minutes, slot by slot.
    history: History,
}

impl RouteTotals {
    fn add(&mut self, counts: &RouteCounts) {
        self.counts.add(counts);
        self.total.add(&counts.total);
        self.overhead.add(&counts.overhead);
        self.ttft.add(&counts.ttft);
        self.itl.add(&counts.itl);
    }

    fn turn(&mut self) {
        self.history.turn(&self.counts, [&self.total, &self.ttft, &self.itl]);
        [&mut self.total, &mut self.overhead, &mut self.ttft, &mut self.itl]
            .into_iter()
            .for_each(Window::turn);
    }

    /// What happened in the slot that is filled now.
    pub fn now(&self) -> Point {
        self.history.now(&self.counts, [&self.total, &self.ttft, &self.itl])
    }

    /// What happened in the slots that are over, the oldest first.
    pub fn past(&self) -> impl ExactSizeIterator<Item = &Point> {
        self.history.past()
    }
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
        filter_name: impl Fn(FilterId) -> String,
        key_and_model: impl Fn(&KeyAt) -> (String, String),
    ) {
        for (at, counts) in &recorder.keys {
            let (key, model) = key_and_model(at);
            self.keys.add(&key, &model, counts);
        }
        for (id, counts) in &recorder.limited {
            let totals = self.limited.entry(filter_name(*id)).or_default();
            add_each(totals, *counts);
        }
        self.lane.add(&recorder.lane);
        for (id, counts) in recorder.routes.pairs() {
            self.routes.entry(route_name(id)).or_default().add(counts);
            self.all.add(counts);
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
            // With what went by itself where all that went is counted.
            let mut told = ClusterCounts::default();
            told.add(counts);
            totals.counts.add(&told);
            totals.members.add(&told.batch_members);
            totals.wait.add(&told.batch_wait);
        }
    }

    /// How many slots are over.
    pub fn slots(&self) -> u64 {
        self.seconds / WINDOW_SLOT_S
    }

    /// A second has passed: notes where the counters stand.
    pub fn second_passed(&mut self) {
        for totals in self.routes.values_mut().chain([&mut self.all]) {
            totals.rates.second_passed(&totals.counts);
        }
        self.seconds += 1;
        if !is_turn(self.seconds) {
            return;
        }
        self.routes.values_mut().chain([&mut self.all]).for_each(RouteTotals::turn);
        let endpoints = self.endpoints.values_mut();
        endpoints
            .flat_map(|totals| [&mut totals.total, &mut totals.ttft, &mut totals.itl])
            .for_each(Window::turn);
        let clusters = self.clusters.values_mut();
        clusters.flat_map(|totals| [&mut totals.members, &mut totals.wait]).for_each(Window::turn);
    }
}
