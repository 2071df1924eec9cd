//! One lane's counters and histograms: plain integers, written by one thread, swapped out whole.

use std::collections::BTreeMap;
use std::time::Duration;

use super::keyed::{KeyAt, KeyCounts};
use super::sums::add_each;
use super::times::Times;
use crate::base::ids::{ClusterId, EndpointId, FilterId, Id, IdVec, RouteId};
use crate::base::summary::{Ended, Summary, TOKEN_KINDS};
use crate::base::time::whole_micros;

/// What is counted of one route.
#[derive(Debug, Clone, Default)]
pub struct RouteCounts {
    /// Exchanges that began; those that have not ended yet are in flight.
    pub started: u64,
    /// Exchanges that ended.
    pub requests: u64,
    /// Of them, those that ended as intended.
    pub success: u64,
    /// Of them, those whose client left early.
    pub client_closed: u64,
    /// Answers by class of status: 1xx (tunnels that ended), 2xx, 3xx, 4xx, 5xx, and 499.
    pub statuses: [u64; 6],
    /// Body bytes from clients.
    pub bytes_in: u64,
    /// Body bytes to clients.
    pub bytes_out: u64,
    /// Token-bearing events.
    pub tokens: u64,
    /// Tokens that answers told of, by kind.
    pub usage: [u64; TOKEN_KINDS.len()],
    /// T.
    pub total: Times,
    /// The gateway's share of T.
    pub overhead: Times,
    /// TTFT.
    pub ttft: Times,
    /// ITL.
    pub itl: Times,
    /// How long those waited who found their cluster full.
    pub queue: Times,
    /// From a client's leaving being noticed to its connection upstream being closed.
    pub cancel: Times,
}

/// Reasons for which a request is tried again (`retry.on`).
pub const RETRY_REASONS: usize = 4;

/// What is counted of one endpoint.
#[derive(Debug, Clone, Default)]
pub struct EndpointCounts {
    /// Exchanges that ended here.
    pub requests: u64,
    /// Attempts that it is to blame for.
    pub faults: u64,
    /// Connections begun, those that it refused included.
    pub connects: u64,
    /// Attempts on a pooled connection.
    pub reused: u64,
    /// Attempts here after another one that failed or was refused, by the reasons of `retry.on`.
    pub retries: [u64; RETRY_REASONS],
    /// T.
    pub total: Times,
    /// TTFT.
    pub ttft: Times,
    /// ITL.
    pub itl: Times,
    /// How long connections took that came to stand.
    pub connect: Times,
}

/// What became of requests in a cluster's cache: `hit`, `miss`, `bypass`.
pub const CACHE_RESULTS: [&str; 3] = ["hit", "miss", "bypass"];

/// What became of a copy of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mirrored {
    /// It was answered to the end, whatever that said.
    Sent,
    /// It was not made, for one of its bounds or because the request did not go upstream whole.
    Skipped,
    /// It was made, and was not answered to the end.
    Failed,
}

/// The names of these, in their order.
pub const MIRROR_RESULTS: [&str; 3] = ["sent", "skipped", "failed"];

/// What is counted of one cluster beside what its endpoints did.
#[derive(Debug, Clone, Default)]
pub struct ClusterCounts {
    /// Requests that were told the answer to somebody else's call.
    pub shared: u64,
    /// How many requests each call carried that somebody waited for.
    pub batch_members: Times,
    /// Calls that carried one which waited for nobody: most of them, where nobody else is there. They are among the others
    /// once they are added up.
    pub alone: u64,
    /// Pieces of requests that have more items than one call takes.
    pub pieces: u64,
    /// How long requests waited for others, in microseconds.
    pub batch_wait: Times,
    /// Requests by what became of them in the cache.
    pub cache: [u64; CACHE_RESULTS.len()],
    /// Copies for it, by what became of them.
    pub mirror: [u64; MIRROR_RESULTS.len()],
}

/// What is counted of a lane as a whole.
#[derive(Debug, Clone, Default)]
pub struct LaneCounts {
    /// Connections accepted.
    pub accepted: u64,
    /// Of them, those handed to another lane.
    pub handed_over: u64,
    /// Requests refused before a route was found.
    pub unrouted: u64,
    /// Panics that cost a connection.
    pub panics: u64,
    /// Lines of the access log that found its channel full.
    pub log_dropped: u64,
    /// Answers of our own that say what went wrong, by their codes.
    pub refused: BTreeMap<&'static str, u64>,
}

/// What a limit counts; who has too many under way has too many requests.
pub const LIMITED_KINDS: [&str; 2] = ["requests", "tokens"];

/// All that one lane counts under one plan.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    /// The lane itself.
    pub lane: LaneCounts,
    /// By route.
    pub routes: IdVec<RouteId, RouteCounts>,
    /// By endpoint.
    pub endpoints: IdVec<EndpointId, EndpointCounts>,
    /// By cluster.
    pub clusters: IdVec<ClusterId, ClusterCounts>,
    /// Requests that a filter refused for their number, by what it counts.
    pub limited: BTreeMap<FilterId, [u64; LIMITED_KINDS.len()]>,
    /// Of those who showed a key.
    pub keys: BTreeMap<KeyAt, KeyCounts>,
}

impl Recorder {
    /// An empty recorder for a plan with this many routes, endpoints and clusters.
    pub fn new(routes: usize, endpoints: usize, clusters: usize) -> Self {
        Self {
            lane: LaneCounts::default(),
            routes: (0..routes).map(|_| RouteCounts::default()).collect(),
            endpoints: (0..endpoints).map(|_| EndpointCounts::default()).collect(),
            clusters: (0..clusters).map(|_| ClusterCounts::default()).collect(),
            limited: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    /// Counts a finished exchange.
    #[inline(always)] // as below
    pub fn record(&mut self, summary: &Summary) {
        let Some(route) = summary.route else {
            self.lane.unrouted += 1;
            return;
        };
        let counts = &mut self.routes[route];
        counts.requests += 1;
        counts.success += u64::from(summary.ended == Ended::Well);
        counts.client_closed += u64::from(summary.ended == Ended::ClientLeft);
        counts.statuses[summary.class()] += 1;
        counts.bytes_in += summary.bytes_in;
        counts.bytes_out += summary.bytes_out;
        counts.tokens += summary.tokens;
        counts.use_up(summary.usage);
        counts.total.record(summary.total_us);
        counts.overhead.record(summary.overhead_us);
        if summary.queue_us > 0 {
            counts.queue.record(summary.queue_us);
        }
        if let Some(ttft) = summary.ttft_us {
            counts.ttft.record(ttft);
        }
        if let Some(endpoint) = summary.endpoint {
            self.record_at(endpoint, summary.total_us, summary.ttft_us);
        }
    }

    /// Counts what an endpoint did for an exchange: all of one, or a leg of it.
    #[inline(always)] // each exchange ends here
    pub fn record_at(&mut self, endpoint: EndpointId, total_us: u64, ttft_us: Option<u64>) {
        let counts = &mut self.endpoints[endpoint];
        counts.requests += 1;
        counts.total.record(total_us);
        if let Some(ttft) = ttft_us {
            counts.ttft.record(ttft);
        }
    }

    /// Counts a client that left, and that its connection upstream was closed so long after that was noticed.
    pub fn record_cancelled(&mut self, route: RouteId, after: Duration) {
        self.routes[route].cancel.record(whole_micros(after));
    }

    /// Counts gaps between token-bearing events: the first of `events` came after `us`, the others with it.
    pub fn record_gap(&mut self, route: RouteId, endpoint: EndpointId, us: u64, events: u64) {
        for times in [&mut self.routes[route].itl, &mut self.endpoints[endpoint].itl] {
            times.record(us);
            if events > 1 {
                times.record_n(0, events - 1);
            }
        }
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.lane = LaneCounts::default();
        self.limited.clear();
        self.keys.clear();
        for position in 0..self.routes.len() {
            let counts = &mut self.routes[RouteId::at(position)];
            let (mut total, mut overhead) =
                (std::mem::take(&mut counts.total), std::mem::take(&mut counts.overhead));
            let (mut ttft, mut itl) = (std::mem::take(&mut counts.ttft), std::mem::take(&mut counts.itl));
            let (mut queue, mut cancel) =
                (std::mem::take(&mut counts.queue), std::mem::take(&mut counts.cancel));
            let all = [&mut total, &mut overhead, &mut ttft, &mut itl, &mut queue, &mut cancel];
            all.into_iter().for_each(Times::clear);
            *counts = RouteCounts { total, overhead, ttft, itl, queue, cancel, ..RouteCounts::default() };
        }
        for position in 0..self.endpoints.len() {
            let counts = &mut self.endpoints[EndpointId::at(position)];
            let mut total = std::mem::take(&mut counts.total);
            let (mut ttft, mut itl) = (std::mem::take(&mut counts.ttft), std::mem::take(&mut counts.itl));
            let mut connect = std::mem::take(&mut counts.connect);
            [&mut total, &mut ttft, &mut itl, &mut connect].into_iter().for_each(Times::clear);
            *counts = EndpointCounts { total, ttft, itl, connect, ..EndpointCounts::default() };
        }
        for position in 0..self.clusters.len() {
            let counts = &mut self.clusters[ClusterId::at(position)];
            let mut members = std::mem::take(&mut counts.batch_members);
            let mut wait = std::mem::take(&mut counts.batch_wait);
            [&mut members, &mut wait].into_iter().for_each(Times::clear);
            *counts = ClusterCounts { batch_members: members, batch_wait: wait, ..ClusterCounts::default() };
        }
    }
}

impl RouteCounts {
    /// Adds another lane's counts.
    pub fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.requests += other.requests;
        self.success += other.success;
        self.client_closed += other.client_closed;
        add_each(&mut self.statuses, other.statuses);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.tokens += other.tokens;
        self.use_up(other.usage);
        self.total.add(&other.total);
        self.overhead.add(&other.overhead);
        self.ttft.add(&other.ttft);
        self.itl.add(&other.itl);
        self.queue.add(&other.queue);
        self.cancel.add(&other.cancel);
    }

    /// Counts tokens that an answer told of.
    pub fn use_up(&mut self, usage: [u64; TOKEN_KINDS.len()]) {
        add_each(&mut self.usage, usage);
    }

    /// S: successes out of all exchanges but those whose client left; 1 while there is none.
    pub fn success_rate(&self) -> f64 {
        match self.requests - self.client_closed {
            0 => 1.0,
            counted => self.success as f64 / counted as f64,
        }
    }
}

impl EndpointCounts {
    /// Adds another lane's counts.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.faults += other.faults;
        self.connects += other.connects;
        self.reused += other.reused;
        add_each(&mut self.retries, other.retries);
        self.total.add(&other.total);
        self.ttft.add(&other.ttft);
        self.itl.add(&other.itl);
        self.connect.add(&other.connect);
    }
}

impl ClusterCounts {
    /// Adds another lane's counts.
    pub fn add(&mut self, other: &Self) {
        self.shared += other.shared;
        self.batch_members.add(&other.batch_members);
        if other.alone > 0 {
            self.batch_members.record_n(1, other.alone);
            self.batch_wait.record_n(0, other.alone);
        }
        self.pieces += other.pieces;
        self.batch_wait.add(&other.batch_wait);
        add_each(&mut self.cache, other.cache);
        add_each(&mut self.mirror, other.mirror);
    }
}

impl LaneCounts {
    /// Adds another lane's counts.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.handed_over += other.handed_over;
        self.unrouted += other.unrouted;
        self.panics += other.panics;
        self.log_dropped += other.log_dropped;
        for (code, count) in &other.refused {
            *self.refused.entry(code).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(status: u16, ended: Ended) -> Summary {
        Summary {
            route: Some(RouteId::at(0)),
            endpoint: Some(EndpointId::at(0)),
            ended,
            status,
            total_us: 1000,
            overhead_us: 10,
            queue_us: 0,
            ttft_us: None,
            bytes_in: 1,
            bytes_out: 2,
            tokens: 0,
            usage: [0; TOKEN_KINDS.len()],
        }
    }

    #[test]
    fn a_client_that_leaves_early_lowers_no_success_rate() {
        let mut recorder = Recorder::new(1, 1, 1);
        recorder.record(&summary(200, Ended::Well));
        recorder.record(&summary(499, Ended::ClientLeft));
        let counts = &recorder.routes[RouteId::at(0)];
        assert_eq!((counts.requests, counts.client_closed, counts.success_rate()), (2, 1, 1.0));
        recorder.record(&summary(502, Ended::Badly));
        assert_eq!(recorder.routes[RouteId::at(0)].success_rate(), 0.5);
        // Faults are counted as attempts end, not as exchanges do.
        assert_eq!(recorder.endpoints[EndpointId::at(0)].faults, 0);
        assert_eq!(recorder.routes[RouteId::at(0)].statuses, [0, 1, 0, 0, 1, 1]);
    }

    #[test]
    fn an_upstreams_own_499_is_no_client_that_left() {
        let mut recorder = Recorder::new(1, 1, 1);
        recorder.record(&summary(499, Ended::Well));
        recorder.record(&summary(499, Ended::ClientLeft));
        let counts = &recorder.routes[RouteId::at(0)];
        assert_eq!((counts.success, counts.client_closed), (1, 1));
        assert_eq!(counts.statuses, [0, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn a_cleared_recorder_counts_from_zero() {
        let mut recorder = Recorder::new(1, 1, 1);
        recorder.record(&summary(200, Ended::Well));
        recorder.clear();
        assert_eq!(recorder.routes[RouteId::at(0)].requests, 0);
        assert_eq!(recorder.routes[RouteId::at(0)].total.count(), 0);
    }
}
