//! A plan to a lane's own part of it; what was learned of endpoints that stay is kept.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::balance::Candidate;
use crate::base::ids::LaneId;
use crate::base::rng::Rng;
use crate::board::published::Seen;
use crate::cluster::Cluster;
use crate::filter::FilterPlan;
use crate::metrics::recorder::Recorder;
use crate::plan::{ClusterPlan, EndpointPlan, Plan};
use crate::pool::Pool;
use crate::proxy::service::Service;
use crate::proxy::state::{EndpointOnLane, LanePlan, Probing};

/// A lane's part of its first plan.
pub fn start(plan: Arc<Plan>, lane: LaneId, rng: &mut Rng) -> LanePlan {
    build(plan, lane, rng, |_| None)
}

/// A lane's part of the next plan. An endpoint that stays, known by its cells on the board, keeps its idle
/// connections and what was learned of it; one that goes has them closed.
pub fn adopt(old: &LanePlan, plan: Arc<Plan>, lane: LaneId, rng: &mut Rng) -> LanePlan {
    let new = build(plan, lane, rng, |endpoint| {
        old.endpoints.iter().find(|known| Arc::ptr_eq(&known.load, &endpoint.load)).cloned()
    });
    for (_, endpoint) in new.plan.endpoints.pairs() {
        if !old.endpoints.iter().any(|known| Arc::ptr_eq(&known.load, &endpoint.load)) {
            let slow_start = new.plan.clusters[endpoint.cluster].settings.slow_start;
            endpoint.verdict().grow(Instant::now(), slow_start);
        }
        if new.plan.clusters[endpoint.cluster].settings.health.is_none() {
            endpoint.health.forget_probes();
        }
    }
    for known in old.endpoints.iter() {
        if !new.endpoints.iter().any(|kept| Rc::ptr_eq(kept, known)) {
            known.retired.set(true);
            let idle = known.pool.borrow_mut().drain();
            drop(idle);
        }
    }
    new
}

fn build(
    plan: Arc<Plan>,
    lane: LaneId,
    rng: &mut Rng,
    known: impl Fn(&EndpointPlan) -> Option<Rc<EndpointOnLane>>,
) -> LanePlan {
    let lanes = plan.lanes;
    let idle_max = |cluster: &ClusterPlan| cluster.settings.keep_alive.max_idle.div_ceil(lanes);
    let endpoints = plan
        .endpoints
        .iter()
        .map(|endpoint| {
            let cluster = &plan.clusters[endpoint.cluster];
            match known(endpoint) {
                Some(kept) => {
                    let surplus =
                        kept.pool.borrow_mut().adopt(idle_max(cluster), cluster.settings.keep_alive.idle);
                    drop(surplus);
                    kept
                }
                None => Rc::new(EndpointOnLane {
                    pool: RefCell::new(Pool::new(idle_max(cluster), cluster.settings.keep_alive.idle)),
                    load: Arc::clone(&endpoint.load),
                    retired: Cell::new(false),
                    probing: Probing::default(),
                    habits: Cell::default(),
                }),
            }
        })
        .collect();
    let clusters = plan
        .clusters
        .pairs()
        .map(|(id, cluster)| {
            let candidate = |id: &_| {
                let endpoint = &plan.endpoints[*id];
                // Who waits under the plan before is let in by this one's ceiling.
                endpoint.load.set_most(endpoint.max_in_flight);
                let candidate = Candidate {
                    weight: endpoint.weight,
                    load: Arc::clone(&endpoint.load),
                    verdict: Arc::clone(endpoint.verdict()),
                };
                (candidate, Arc::clone(&endpoint.health))
            };
            let endpoints = cluster.endpoints.iter().map(candidate).unzip();
            let rng = Rng::new(rng.next_u64());
            let shared = (Arc::clone(&cluster.ward), Arc::clone(&cluster.queue));
            let listings = cluster.settings.discover.map(|_| Seen::of(&cluster.listings));
            Cluster::start((id, lane), endpoints, shared, cluster.rules(), listings, (rng, Instant::now()))
        })
        .collect();
    let asks = plan.filters.pairs().filter(|(_, (_, filter))| matches!(filter, FilterPlan::Ask(_)));
    let services = asks.map(|(id, _)| (id, Service::default())).collect();
    let catalog = plan.catalog.as_ref().map(Seen::of);
    LanePlan { recorder: RefCell::new(recorder(&plan)), clusters, endpoints, catalog, services, plan }
}

/// An empty recorder for `plan`.
pub fn recorder(plan: &Plan) -> Recorder {
    Recorder::new(plan.routes.len(), plan.endpoints.len(), plan.clusters.len())
}
