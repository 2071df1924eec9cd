//! What lanes counted, merged.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::base::ids::{EndpointId, Id, LaneId};
use crate::filter;
use crate::lane::flag::Flag;
use crate::lane::inbox::{Command, Gauges, LaneHandle};
use crate::metrics::keyed::OTHER;
use crate::metrics::recorder::Recorder;
use crate::metrics::snapshot::Snapshot;
use crate::plan::Plan;

/// How long lanes may take to hand over what they counted; a busy lane answers within one turn of its loop.
const COLLECT_TIME: Duration = Duration::from_millis(500);

/// What lanes counted.
pub(super) struct Collected {
    pub(super) snapshot: RefCell<Snapshot>,
    /// By lane, then by endpoint of the plan in force.
    gauges: RefCell<Vec<Vec<Gauges>>>,
    /// Emptied recorders that travel to lanes again.
    spares: RefCell<Vec<Recorder>>,
    outstanding: RefCell<Vec<bool>>,
    under_way: Cell<bool>,
    done: Flag,
    /// Exchanges that ended, by lane.
    ended: RefCell<Vec<u64>>,
}

impl Collected {
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            snapshot: RefCell::default(),
            gauges: RefCell::new(vec![Vec::new(); lanes]),
            spares: RefCell::default(),
            outstanding: RefCell::new(vec![false; lanes]),
            under_way: Cell::new(false),
            done: Flag::default(),
            ended: RefCell::new(vec![0; lanes]),
        }
    }

    /// How an endpoint stands over all lanes: idle connections together, and the least idle limit.
    pub(super) fn gauges(&self, endpoint: EndpointId) -> Gauges {
        let lanes = self.gauges.borrow();
        let of_lanes = || lanes.iter().filter_map(|lane| lane.get(endpoint.position()));
        Gauges {
            idle: of_lanes().map(|gauge| gauge.idle).sum(),
            keep_alive: of_lanes().map(|gauge| gauge.keep_alive).min().unwrap_or_default(),
        }
    }

    /// Exchanges that ended, by lane.
    pub(super) fn ended(&self) -> Vec<u64> {
        self.ended.borrow().clone()
    }

    /// Adds a lane's report.
    pub(super) fn add(&self, lane: LaneId, plan: &Plan, mut recorder: Recorder, gauges: Option<Vec<Gauges>>) {
        self.snapshot.borrow_mut().add(
            &recorder,
            |route| plan.routes[route].name.clone(),
            |endpoint| {
                let endpoint = &plan.endpoints[endpoint];
                (plan.clusters[endpoint.cluster].name.clone(), endpoint.url.clone())
            },
            |cluster| plan.clusters[cluster].name.clone(),
            |filter| plan.filters[filter].0.clone(),
            |(key, model)| {
                let key = key.and_then(|(id, position)| filter::key_name(&plan.filters, id, position));
                let model = model.and_then(|at| plan.models.get(at as usize));
                let named = |name: Option<&str>| name.unwrap_or(OTHER).to_owned();
                (named(key), named(model.map(|name| &**name)))
            },
        );
        let ended: u64 = recorder.routes.iter().map(|counts| counts.requests).sum();
        self.ended.borrow_mut()[lane.position()] += ended + recorder.lane.unrouted;
        let Some(gauges) = gauges else { return };
        self.gauges.borrow_mut()[lane.position()] = gauges;
        recorder.clear();
        self.spares.borrow_mut().push(recorder);
        self.outstanding.borrow_mut()[lane.position()] = false;
        if !self.outstanding.borrow().contains(&true) {
            self.done.set();
        }
    }

    /// Asks all lanes for what they counted until now. Callers that come before they are asked share the result.
    pub(super) async fn ask(&self, lanes: &[LaneHandle]) {
        if self.under_way.get() {
            // They may have answered that before the caller came, who wants to know what happened since.
            let _ = monoio::time::timeout(COLLECT_TIME, self.done.wait()).await;
            self.under_way.set(false);
        }
        if !self.under_way.replace(true) {
            self.done.clear();
            self.outstanding.borrow_mut().fill(true);
            for (position, lane) in lanes.iter().enumerate() {
                let spare = self.spares.borrow_mut().pop().unwrap_or_default();
                if lane.tell(Command::Collect(Box::new(spare))).is_err() {
                    self.outstanding.borrow_mut()[position] = false;
                }
            }
        }
        // A lane that does not answer in time is shown as it was; its report is added when it comes.
        let _ = monoio::time::timeout(COLLECT_TIME, self.done.wait()).await;
        self.under_way.set(false);
    }
}
