//! A running lane: what it owns, and what it does at each command.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::adopt;
use super::flag::Flag;
use super::inbox::{Gauges, LaneHandle, Queue, Report, Reporter};
use crate::base::ids::{EndpointId, Id, LaneId, ListenerId};
use crate::base::limits::{DRAIN_IDLE_GRACE, STOP_PAUSE, STOP_TIME};
use crate::board::lanes::LaneLoads;
use crate::metrics::recorder::Recorder;
use crate::net::listen::Peer;
use crate::net::stream::{Socket, Whole};
use crate::plan::Plan;
use crate::proxy::caught::caught;
use crate::proxy::downstream::serve;
use crate::proxy::state::LaneState;

/// A running lane.
pub(super) struct Lane {
    pub(super) state: Rc<LaneState>,
    pub(super) lanes: Vec<LaneHandle>,
    pub(super) loads: Arc<LaneLoads>,
    pub(super) reports: Reporter,
    /// Accept no more.
    pub(super) closing: Flag,
    /// Who accepts those that wait then.
    pub(super) queue: Cell<Queue>,
    /// Probes under way.
    pub(super) probes: Cell<usize>,
}

/// Counts a connection out when its task ends, however it ends.
struct Counted {
    loads: Arc<LaneLoads>,
    lane: LaneId,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.loads.leave(self.lane);
    }
}

impl Lane {
    /// Starts serving a connection that is already counted on this lane.
    pub(super) fn welcome(self: &Rc<Self>, socket: Socket, peer: Peer, id: ListenerId) {
        let counted = Counted { loads: Arc::clone(&self.loads), lane: self.state.lane };
        // A socket that cannot be adopted was reset in the meantime; dropping it is all there is to do.
        let Ok(socket) = Whole::adopt(socket) else { return };
        let state = Rc::clone(&self.state);
        monoio::spawn(async move {
            let _counted = counted;
            // Pinned here: handed over by value, it would lie in this task twice.
            if caught(pin!(serve(socket, peer, id, Rc::clone(&state)))).await.is_err() {
                state.plan().recorder.borrow_mut().lane.panics += 1;
            }
        });
    }

    pub(super) fn adopt(&self, plan: Arc<Plan>) {
        let generation = plan.generation;
        let mut rng = self.state.rng.borrow().clone();
        let next = adopt::adopt(&self.state.plan(), plan, self.state.lane, &mut rng);
        self.state.rng.replace(rng);
        self.state.replace(next, Instant::now());
        self.reports.send(Report::Adopted(self.state.lane, generation));
    }

    /// Swaps the recorder for an empty one and reports the full one, and those of replaced plans.
    pub(super) fn collect(&self, spare: Recorder) {
        let plan = self.state.plan();
        let fits = spare.routes.len() == plan.plan.routes.len()
            && spare.endpoints.len() == plan.plan.endpoints.len();
        let empty = if fits { spare } else { adopt::recorder(&plan.plan) };
        let recorder = plan.recorder.replace(empty);
        let gauges = (0..plan.plan.endpoints.len())
            .map(|position| {
                let pool = plan.endpoints[EndpointId::at(position)].pool.borrow();
                Gauges { idle: pool.len(), keep_alive: pool.limit() }
            })
            .collect();
        let lane = self.state.lane;
        self.state.tell_replaced(Instant::now(), |old| {
            let recorder = old.recorder.replace(adopt::recorder(&old.plan));
            self.reports.send(Report::Counts { lane, plan: Arc::clone(&old.plan), recorder, gauges: None });
        });
        let plan = Arc::clone(&plan.plan);
        self.reports.send(Report::Counts { lane, plan, recorder, gauges: Some(gauges) });
    }

    /// Ends every connection, each the way a cut one ends, every probe and every copy for a mirror. The loop is left only then: what an operation in the kernel
    /// still points at must not be freed under it.
    pub(super) async fn stop(&self) -> std::io::Result<()> {
        self.closing.set();
        self.state.watchdogs.end_all();
        let by = Instant::now() + STOP_TIME;
        let is_busy =
            || self.loads.of(self.state.lane) > 0 || self.probes.get() > 0 || self.state.copies.get() > 0;
        while is_busy() && Instant::now() < by {
            monoio::time::sleep(STOP_PAUSE).await;
        }
        Ok(())
    }

    /// Accepts no more, lets exchanges finish, closes what is idle.
    pub(super) fn drain(&self, queue: Queue) {
        self.queue.set(queue);
        let grace = Instant::now() + DRAIN_IDLE_GRACE;
        self.state.draining.set(Some(grace));
        self.closing.set();
        self.state.watchdogs.hurry_idle(grace);
        for endpoint in self.state.plan().endpoints.iter() {
            let idle = endpoint.pool.borrow_mut().drain();
            drop(idle);
        }
    }
}
