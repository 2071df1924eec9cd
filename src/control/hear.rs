//! What lanes report, and what comes of it.

use std::rc::Rc;

use super::failure::{RunError, failed};
use super::state::Control;
use crate::base::ids::Id;
use crate::lane::inbox::{Report, Reports};
use crate::net::doorbell::Bell;

impl Control {
    /// Hears what lanes report, for the life of the process.
    pub(super) async fn hear(self: Rc<Self>, reports: Reports) {
        let mut bell = match Bell::adopt(reports.socket) {
            Ok(bell) => bell,
            Err(error) => return self.end_with(format!("lanes cannot be heard: {error}")),
        };
        while bell.wait().await.is_ok() {
            reports.bell.heard();
            for report in reports.reports.try_iter() {
                self.guarded(async { self.note(report) }).await;
            }
            self.changed.set();
        }
        self.end_with("lanes cannot be heard any more".to_owned());
    }

    fn note(&self, report: Report) {
        match report {
            Report::Ready => self.ready.set(self.ready.get() + 1),
            Report::Failed(lane, why) => {
                self.gone.borrow_mut()[lane.position()] = true;
                self.adoption.set();
                self.broken.replace(Some(format!("lane {} cannot run: {why}", lane.position())));
            }
            Report::Adopted(lane, generation) => {
                self.adopted.borrow_mut()[lane.position()] = generation;
                self.adoption.set();
            }
            Report::Counts { lane, plan, recorder, gauges } => {
                self.collected.add(lane, &plan, recorder, gauges);
            }
        }
    }

    pub(super) async fn await_lanes(&self) -> Result<(), RunError> {
        while self.ready.get() < self.lanes.len() {
            if let Some(why) = self.broken.take() {
                return Err(failed("the gateway cannot start", why, "correct `cores`, or leave it out"));
            }
            self.changed.wait().await;
            self.changed.clear();
        }
        Ok(())
    }
}
