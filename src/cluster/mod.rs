//! Balancing, and what may be repeated, as one decision of one cluster on one lane; knows no socket and no body.

pub mod dispatch;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use crate::balance::{Balancer, BalancerKind, Candidate, Candidates};
use crate::base::fault::Fault;
use crate::base::ids::{ClusterId, LaneId};
use crate::base::rng::Rng;
use crate::retry::{Budget, Rules};

/// One cluster as one lane carries it; its tickets share it.
#[derive(Debug)]
pub struct Cluster {
    id: ClusterId,
    lane: LaneId,
    candidates: Vec<Candidate>,
    rules: Rules,
    /// Borrowed for one decision, and let go before anything is waited for.
    picking: RefCell<Picking>,
}

#[derive(Debug)]
struct Picking {
    balancer: Balancer,
    rng: Rng,
    budget: Budget,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered whole, with this status.
    Served(u16),
    /// It failed.
    Failed(Fault),
    /// Nobody waits for it any more: the endpoint's figures are untouched.
    Cancelled,
}

/// A reservation made by a pick, settled once; dropped without a word, it is cancelled.
#[derive(Debug)]
#[must_use = "an endpoint is loaded by it until it is dropped"]
pub struct Ticket {
    cluster: Rc<Cluster>,
    position: usize,
    /// Until it is settled.
    is_open: bool,
}

impl Cluster {
    /// A fresh cluster on one lane.
    pub fn start(
        (id, lane): (ClusterId, LaneId),
        kind: BalancerKind,
        candidates: Vec<Candidate>,
        rules: Rules,
        mut rng: Rng,
    ) -> Rc<Self> {
        let balancer = Balancer::start(kind, candidates.len(), &mut rng);
        let budget = Budget::new(rules.share);
        Rc::new(Self { id, lane, candidates, rules, picking: RefCell::new(Picking { balancer, rng, budget }) })
    }

    /// What may be tried again.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A request is made: what may be repeated grows by its share.
    fn earn(&self) {
        self.picking.borrow_mut().budget.earn();
    }

    /// One repeat, if there is one left.
    fn spend(&self, now: Instant) -> bool {
        self.picking.borrow_mut().budget.spend(now)
    }

    /// Reserves the endpoint to try next; none if each that is admitted was `tried`. No balancer there is looks at `_now`.
    pub fn pick(self: &Rc<Self>, tried: &[usize], _now: Instant) -> Option<Ticket> {
        let Picking { balancer, rng, .. } = &mut *self.picking.borrow_mut();
        let position = balancer.pick(Candidates { all: &self.candidates, tried }, rng)?;
        Some(self.reserve(position))
    }

    /// Reserves the endpoint at `position` once more: it is tried again on another connection.
    pub fn again(self: &Rc<Self>, position: usize) -> Ticket {
        self.reserve(position)
    }

    fn reserve(self: &Rc<Self>, position: usize) -> Ticket {
        self.candidates[position].load.add(self.lane);
        Ticket { cluster: Rc::clone(self), position, is_open: true }
    }

    /// An attempt ended at `_now`, none where nobody looked: its reservation is over. Who learns from outcomes is told
    /// here; no balancer there is does.
    fn on_end(&self, position: usize, _outcome: Outcome, _now: Option<Instant>) {
        self.candidates[position].load.remove(self.lane);
    }
}

impl Ticket {
    /// The cluster it was made in.
    pub fn cluster(&self) -> ClusterId {
        self.cluster.id
    }

    /// The endpoint's position in the cluster.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The attempt ended like this.
    pub fn settle(mut self, outcome: Outcome, now: Instant) {
        self.is_open = false;
        self.cluster.on_end(self.position, outcome, Some(now));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_open {
            self.cluster.on_end(self.position, Outcome::Cancelled, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::fault::{FaultKind, Sent, Stage};
    use crate::base::ids::Id;
    use crate::board::loads::EndpointLoad;

    #[test]
    fn an_endpoint_is_loaded_from_the_pick_to_the_end_on_every_path() {
        let load = Arc::new(EndpointLoad::new(1));
        let candidate = Candidate { weight: 1, load: Arc::clone(&load), verdict: Arc::default() };
        let ids = (ClusterId::at(0), LaneId::at(0));
        let rules = Rules { attempts: 2, on: Vec::new(), share: 0.1 };
        let cluster = Cluster::start(ids, BalancerKind::LeastWork, vec![candidate], rules, Rng::new(1));
        let now = Instant::now();
        let pick = || cluster.pick(&[], now).unwrap();
        let (served, failed, dropped, again) = (pick(), pick(), pick(), cluster.again(0));
        assert_eq!(load.in_flight(), 4);
        served.settle(Outcome::Served(200), now);
        failed.settle(Outcome::Failed(Fault::upstream(Stage::Wait, FaultKind::Reset, Sent::Wholly)), now);
        drop(dropped);
        assert_eq!(load.in_flight(), 1);
        again.settle(Outcome::Cancelled, now);
        assert_eq!(load.in_flight(), 0);
        assert!(cluster.pick(&[0], now).is_none());
    }
}
