//! Runs the active probes that this lane was dealt: each endpoint is probed by one lane, and all see what it found.

use std::rc::Rc;
use std::time::Instant;

use super::running::Lane;
use crate::base::ids::{EndpointId, Id};
use crate::base::limits::TICK;
use crate::proxy::probe;
use crate::proxy::state::LanePlan;

/// Looks for endpoints that are due, for the life of the lane.
pub(super) async fn run(lane: Rc<Lane>) {
    loop {
        let plan = lane.state.plan();
        let (own, lanes, now) = (lane.state.lane.position(), plan.plan.lanes, Instant::now());
        for (id, _) in plan.plan.endpoints.pairs().filter(|(id, _)| id.position() % lanes == own) {
            let probing = &plan.endpoints[id].probing;
            let cluster = plan.plan.endpoints[id].cluster;
            let Some(probe) = &plan.plan.clusters[cluster].settings.health else { continue };
            // One at a time: the next is due an interval after the last began, and not before that ended.
            if probing.is_under_way.get() || probing.due.get().is_some_and(|due| now < due) {
                continue;
            }
            probing.due.set(Some(now + probe.interval));
            probing.is_under_way.set(true);
            monoio::spawn(ask(Rc::clone(&plan), id));
        }
        drop(plan);
        monoio::time::sleep(TICK).await;
    }
}

async fn ask(plan: Rc<LanePlan>, id: EndpointId) {
    let endpoint = &plan.plan.endpoints[id];
    let cluster = &plan.plan.clusters[endpoint.cluster];
    if let Some(settings) = &cluster.settings.health {
        let probed = probe::run(endpoint, settings).await;
        // An endpoint that left the configuration meanwhile, or is probed no more, has nothing to say.
        if let Some(probed) = probed.filter(|_| !plan.endpoints[id].retired.get()) {
            endpoint.health.note_probe(probed, &cluster.rules().health, Instant::now());
        }
    }
    plan.endpoints[id].probing.is_under_way.set(false);
}
