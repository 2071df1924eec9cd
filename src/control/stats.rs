//! `/stats`: T, S, B, TTFT, ITL by route and endpoint, as JSON.

use std::time::{Instant, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::state::Control;
use crate::base::ids::Id;
use crate::metrics::recorder::{CACHE_RESULTS, MIRROR_RESULTS};
use crate::metrics::snapshot::{ClusterTotals, EndpointTotals, RouteTotals, Snapshot};
use crate::metrics::window::Window;
use crate::plan::Plan;

impl Control {
    /// The document of `/stats`; collect first.
    pub(super) fn stats(&self) -> Value {
        let plan = self.plan();
        let snapshot = self.collected.snapshot.borrow();
        let routes: Map<_, _> =
            snapshot.routes.iter().map(|(name, totals)| (name.clone(), route(totals))).collect();
        let mut endpoints: Map<String, Value> = Map::new();
        let (now, nothing) = (Instant::now(), EndpointTotals::default());
        for (id, endpoint) in plan.endpoints.pairs() {
            let cluster = &plan.clusters[endpoint.cluster].name;
            let totals = snapshot.endpoints.get(&(cluster.clone(), endpoint.url.clone())).unwrap_or(&nothing);
            let counts = &totals.counts;
            let gauges = self.collected.gauges(id);
            let document = json!({
                "admitted": endpoint.verdict().is_admitted(now),
                "state": endpoint.verdict().state(now),
                "in_flight": endpoint.load.in_flight(),
                "work": endpoint.load.work(),
                "queued": plan.clusters[endpoint.cluster].queue.waiting(),
                "requests": counts.requests,
                "faults": counts.faults,
                "idle": gauges.idle,
                "connects": counts.connects,
                "reused": counts.reused,
                "T_us": times(&totals.total),
                "ttft_us": times(&totals.ttft),
                "itl_us": times(&totals.itl),
                "keep_alive_ms": gauges.keep_alive.as_millis() as u64,
            });
            if let Value::Object(cluster) = endpoints.entry(cluster.clone()).or_insert_with(|| json!({})) {
                cluster.insert(endpoint.url.clone(), document);
            }
        }
        let loaded_at = plan.loaded_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        json!({
            "uptime_s": self.started.elapsed().as_secs_f64(),
            "lanes": self.lanes.len(),
            "io": self.driver.name(),
            "connections": self.connections(),
            "plan": { "generation": plan.generation, "loaded_at": loaded_at.as_secs() },
            "access_log": { "dropped": snapshot.lane.log_dropped, "lost": self.log.borrow().lost() },
            "all": route(&snapshot.all),
            "routes": routes,
            "endpoints": endpoints,
            "clusters": clusters(&plan, &snapshot),
        })
    }

    /// Open client connections by lane.
    pub(super) fn connections(&self) -> Vec<usize> {
        (0..self.lanes.len()).map(|lane| self.loads.of(Id::at(lane))).collect()
    }
}

/// What requests share of their answers, and what became of copies, of those clusters where there may be some.
fn clusters(plan: &Plan, snapshot: &Snapshot) -> Value {
    let nothing = ClusterTotals::default();
    let shown = plan.clusters.pairs().filter_map(|(id, cluster)| {
        let totals = snapshot.clusters.get(&cluster.name).unwrap_or(&nothing);
        let counts = &totals.counts;
        let mut shown = Map::new();
        if cluster.sharing.is_some() {
            shown.insert("shared".to_owned(), json!(counts.shared));
        }
        if cluster.settings.cache.is_some() {
            shown.insert("cache".to_owned(), results(&CACHE_RESULTS, &counts.cache));
        }
        if cluster.settings.batch.is_some() {
            let batch = json!({
                "calls": counts.batch_members.count(),
                "members": sizes(counts.batch_members.sum_us(), &totals.members),
                "pieces": counts.pieces,
                "wait_us": times(&totals.wait),
            });
            shown.insert("batch".to_owned(), batch);
        }
        if plan.is_mirror(id) {
            shown.insert("mirror".to_owned(), results(&MIRROR_RESULTS, &counts.mirror));
        }
        (!shown.is_empty()).then(|| (cluster.name.clone(), Value::Object(shown)))
    });
    Value::Object(shown.collect())
}

fn results(names: &[&str], counts: &[u64]) -> Value {
    names.iter().zip(counts).map(|(name, count)| ((*name).to_owned(), json!(count))).collect()
}

fn route(totals: &RouteTotals) -> Value {
    let counts = &totals.counts;
    let rates = totals.rates.per_second();
    json!({
        "requests": counts.requests,
        "success": counts.success,
        "client_closed": counts.client_closed,
        "in_flight": counts.started - counts.requests,
        "S": counts.success_rate(),
        "B": {
            "requests_per_s": rates.requests,
            "bytes_in_per_s": rates.bytes_in,
            "bytes_out_per_s": rates.bytes_out,
            "tokens_per_s": rates.tokens,
        },
        "T_us": times(&totals.total),
        "overhead_us": times(&totals.overhead),
        "ttft_us": times(&totals.ttft),
        "itl_us": times(&totals.itl),
    })
}

/// Times of the last minute.
fn times(window: &Window) -> Value {
    let told = window.quantiles();
    json!({
        "p50": told.p50,
        "p90": told.p90,
        "p99": told.p99,
        "p999": told.p999,
        "max": told.max,
        "mean": told.mean,
    })
}

/// How many requests calls carried: all of them since the start, and what calls of the last minute were like.
fn sizes(sum: u64, window: &Window) -> Value {
    let told = window.quantiles();
    json!({ "sum": sum, "p50": told.p50, "p99": told.p99, "max": told.max })
}
