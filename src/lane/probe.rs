//! Runs the active probes that this lane was dealt: each endpoint is probed by one lane, and all see what it found.

use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use super::running::Lane;
use crate::base::ids::{EndpointId, Id};
use crate::base::limits::TICK;
use crate::proxy::probe;
use crate::proxy::state::{EndpointOnLane, LanePlan};

/// Looks for endpoints that are due, until the lane accepts no more.
pub(super) async fn run(lane: Rc<Lane>) {
    while !lane.closing.is_set() {
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
            probing.due.set(Some(now + probe.value.interval));
            probing.is_under_way.set(true);
            lane.probes.set(lane.probes.get() + 1);
            monoio::spawn(ask(Rc::clone(&lane), Rc::clone(&plan), id));
        }
        drop(plan);
        monoio::time::sleep(TICK).await;
    }
}

async fn ask(lane: Rc<Lane>, plan: Rc<LanePlan>, id: EndpointId) {
    let (endpoint, on_lane) = (&plan.plan.endpoints[id], &plan.endpoints[id]);
    let cluster = &plan.plan.clusters[endpoint.cluster];
    if let Some(settings) = &cluster.settings.health {
        let mut probe = pin!(probe::run(endpoint, cluster, settings.value.timeout));
        let probed = loop {
            match monoio::time::timeout(TICK, probe.as_mut()).await {
                Ok(probed) => break probed,
                // The lane may not be left while the kernel reads into its buffer.
                Err(_) if lane.closing.is_set() => break None,
                Err(_) => {}
            }
        };
        if let Some(probed) = probed.filter(|_| is_probed(&lane.state.plan(), on_lane)) {
            endpoint.health.note_probe(probed, &cluster.health_rules(), Instant::now());
        }
    }
    on_lane.probing.is_under_way.set(false);
    lane.probes.set(lane.probes.get() - 1);
}

/// Whether the plan in force has the endpoint, and has it probed: a reload may have come while it was asked, and nobody
/// would ever take back what was found then.
fn is_probed(plan: &LanePlan, endpoint: &Rc<EndpointOnLane>) -> bool {
    plan.endpoints.pairs().any(|(id, known)| {
        let cluster = plan.plan.endpoints[id].cluster;
        Rc::ptr_eq(known, endpoint) && plan.plan.clusters[cluster].settings.health.is_some()
    })
}
