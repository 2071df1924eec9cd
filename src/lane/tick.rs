//! The slow pulse: deadlines of clients, expiry of idle upstream connections.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use super::running::Lane;
use crate::base::limits::TICK;

/// Beats for the life of the lane. Ten wake-ups a second cost an idle gateway about 0.02 % of a core.
pub(super) async fn run(lane: Rc<Lane>) {
    loop {
        monoio::time::sleep(TICK).await;
        let now = Instant::now();
        lane.state.watchdogs.sweep(now);
        lane.look_for_room();
        lane.state.ticked(now, SystemTime::now());
        let plan = lane.state.plan();
        plan.clusters.iter().for_each(|cluster| cluster.fill(now));
        if plan.clusters.iter().filter(|cluster| cluster.has_changed(now)).count() > 0 {
            lane.state.turns.rouse();
        }
        for endpoint in plan.endpoints.iter() {
            let expired = endpoint.pool.borrow_mut().expire(now);
            drop(expired);
        }
    }
}
