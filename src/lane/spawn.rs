//! Threads, pinning, one event loop each.

use std::io;
use std::thread::{self, JoinHandle};

use super::event_loop::{LaneSetup, run};
use super::inbox::{Report, Reporter};
use crate::base::choice::IoDriver;
use crate::base::ids::{Id, LaneId};
use crate::net::driver::block_on;

/// Starts a lane on a thread of its own, pinned to `core` if one is given.
///
/// A lane that cannot run, or that ends without being told to, reports why: its clients are cut by then, and only a
/// process that ends is started anew.
pub fn spawn(setup: LaneSetup, driver: IoDriver, core: Option<usize>) -> io::Result<JoinHandle<()>> {
    let (lane, reports) = (setup.lane, setup.reports.clone());
    thread::Builder::new().name(format!("lane-{}", lane.position())).spawn(move || {
        live(lane, reports, move || {
            if let Some(id) = core
                && !(usable_cores().contains(&id)
                    && core_affinity::set_for_current(core_affinity::CoreId { id }))
            {
                return Err(format!("core {id} cannot be used by this process"));
            }
            match block_on(driver, run(setup)) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) | Err(error) => Err(error.to_string()),
            }
        });
    })
}

/// Lives a lane's life, and reports its end unless it was told to end; a panic outside a connection's task too.
fn live(lane: LaneId, reports: Reporter, life: impl FnOnce() -> Result<(), String>) {
    let mut obituary = Obituary { lane, reports, why: Some("its thread panicked".to_owned()) };
    obituary.why = life().err();
}

/// Reports a lane's end when it is dropped, by whatever it is.
struct Obituary {
    lane: LaneId,
    reports: Reporter,
    why: Option<String>,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        if let Some(why) = self.why.take() {
            self.reports.insist(Report::Failed(self.lane, why));
        }
    }
}

/// The cores this process may run on.
pub fn usable_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::inbox::reports;

    #[test]
    fn a_lane_that_ends_by_itself_is_reported_whatever_ended_it() {
        let (reporter, heard) = reports().unwrap();
        let lane = LaneId::at(3);
        let ends: [fn() -> Result<(), String>; 3] =
            [|| Ok(()), || Err("no ring".to_owned()), || panic!("a lane panics, on purpose")];
        for end in ends {
            let reporter = reporter.clone();
            let _ = thread::spawn(move || live(lane, reporter, end)).join();
        }
        let told = heard.reports.try_iter().map(|report| match report {
            Report::Failed(lane, why) => (lane.position(), why),
            _ => panic!("it failed, and no more is told"),
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [(3, "no ring".to_owned()), (3, "its thread panicked".to_owned())]
        );
    }
}
