//! Threads, pinning, one event loop each.

use std::io;
use std::thread::{self, JoinHandle};

use super::inbox::Report;
use super::{LaneSetup, run};
use crate::base::choice::IoDriver;
use crate::base::ids::Id;
use crate::net::driver::block_on;

/// Starts a lane on a thread of its own, pinned to `core` if one is given.
///
/// A lane that cannot run reports why; its thread ends when it is told to stop.
pub fn spawn(setup: LaneSetup, driver: IoDriver, core: Option<usize>) -> io::Result<JoinHandle<()>> {
    let (lane, reports) = (setup.lane, setup.reports.clone());
    thread::Builder::new().name(format!("lane-{}", lane.position())).spawn(move || {
        if let Some(id) = core
            && !(usable_cores().contains(&id) && core_affinity::set_for_current(core_affinity::CoreId { id }))
        {
            return reports.send(Report::Failed(lane, format!("core {id} cannot be used by this process")));
        }
        match block_on(driver, run(setup)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => reports.send(Report::Failed(lane, error.to_string())),
        }
    })
}

/// The cores this process may run on.
pub fn usable_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}
