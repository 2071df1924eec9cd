//! Read, compile, publish; or keep the old plan and say why.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Control, load};
use crate::base::problem::{Place, Placed, Problem};
use crate::base::say::say;
use crate::lane::inbox::Command;

/// How long lanes may take to adopt a plan before the answer goes out all the same.
const ADOPTION_TIME: Duration = Duration::from_secs(2);
/// Pause before a command is sent again to a lane whose inbox is full.
const INBOX_PAUSE: Duration = Duration::from_millis(1);

impl Control {
    /// Loads the configuration anew and puts it in force on all lanes; returns the new generation.
    pub(super) async fn reload(self: &Rc<Self>) -> Result<u64, Vec<Problem>> {
        let old = self.plan();
        let plan = load::load(&self.origin, Some(&old))?;
        let plan = Arc::new(plan);
        let generation = plan.generation;
        self.log.borrow_mut().aim(super::log_target(&plan)).map_err(|error| {
            let place = Place::option("observe.access_log");
            vec![Placed { value: (), place }.problem(
                "the access log cannot be written",
                error.to_string(),
                super::LOG_FIX,
            )]
        })?;
        self.plan.replace(Arc::clone(&plan));
        for lane in &self.lanes {
            let mut command = Command::Adopt(Arc::clone(&plan));
            while let Err(refused) = lane.tell(command) {
                command = refused;
                monoio::time::sleep(INBOX_PAUSE).await;
            }
        }
        // Whoever asked may send a request next: it must meet the new plan.
        let _ = monoio::time::timeout(ADOPTION_TIME, async {
            while self.adopted.borrow().iter().any(|adopted| *adopted < generation) {
                self.adoption.wait().await;
                self.adoption.clear();
            }
        })
        .await;
        Ok(generation)
    }

    /// A reload by signal: its outcome goes to stderr.
    pub(super) async fn reload_by_signal(self: Rc<Self>) {
        match self.reload().await {
            Ok(generation) => say(format_args!("reloaded generation={generation}")),
            Err(problems) => {
                problems.iter().for_each(say);
                say("not reloaded: the old configuration stays in force");
            }
        }
    }
}
