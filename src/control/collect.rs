//! Swaps recorders with lanes and keeps the merged view of all of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::Control;
use crate::base::ids::{Id, LaneId};
use crate::lane::flag::Flag;
use crate::lane::inbox::{Command, Gauges};
use crate::metrics::recorder::Recorder;
use crate::metrics::snapshot::Snapshot;
use crate::plan::Plan;

/// How long lanes may take to hand over what they counted; a busy lane answers within one turn of its loop.
const COLLECT_TIME: Duration = Duration::from_millis(500);

/// What lanes counted.
pub(super) struct Collected {
    pub(super) snapshot: RefCell<Snapshot>,
    /// By lane, then by endpoint of the plan in force.
    pub(super) gauges: RefCell<Vec<Vec<Gauges>>>,
    /// Emptied recorders that travel to lanes again.
    spares: RefCell<Vec<Recorder>>,
    outstanding: RefCell<Vec<bool>>,
    under_way: Cell<bool>,
    done: Flag,
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
        }
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
        );
        let Some(gauges) = gauges else { return };
        self.gauges.borrow_mut()[lane.position()] = gauges;
        recorder.clear();
        self.spares.borrow_mut().push(recorder);
        self.outstanding.borrow_mut()[lane.position()] = false;
        if !self.outstanding.borrow().contains(&true) {
            self.done.set();
        }
    }
}

impl Control {
    /// Brings the merged view up to date. Callers that come while this is under way share its result.
    pub(super) async fn collect(&self) {
        let collected = &self.collected;
        if !collected.under_way.replace(true) {
            collected.done.clear();
            collected.outstanding.borrow_mut().fill(true);
            for (position, lane) in self.lanes.iter().enumerate() {
                let spare = collected.spares.borrow_mut().pop().unwrap_or_default();
                if lane.tell(Command::Collect(Box::new(spare))).is_err() {
                    collected.outstanding.borrow_mut()[position] = false;
                }
            }
        }
        // A lane that does not answer in time is shown as it was; its report is added when it comes.
        let _ = monoio::time::timeout(COLLECT_TIME, collected.done.wait()).await;
        collected.under_way.set(false);
    }

    /// Notes once a second where the counters stand.
    pub(super) async fn count_seconds(self: Rc<Self>) {
        loop {
            monoio::time::sleep(Duration::from_secs(1)).await;
            self.guarded(async {
                self.collect().await;
                self.collected.snapshot.borrow_mut().second_passed();
                // A lane whose inbox was full at a reload.
                self.publish();
            })
            .await;
        }
    }
}
