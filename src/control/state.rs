//! What the control thread carries.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::access_log::AccessLog;
use super::busy::Busy;
use super::collected::Collected;
use super::descriptors::Descriptors;
use super::failure::{RunError, failed};
use super::files::Files;
use super::follow::Follower;
use super::key_sets::KeySets;
use super::load::Origin;
use super::lookups::Lookups;
use super::marks::Marks;
use super::named::Named;
use super::notify::Notify;
use super::places::Places;
use super::traces::Traces;
use crate::base::choice::IoDriver;
use crate::board::lanes::LaneLoads;
use crate::lane::flag::Flag;
use crate::lane::inbox::LaneHandle;
use crate::plan::Plan;

/// A time that a thread of its own may put off.
pub(super) type Until = Arc<Mutex<Option<Instant>>>;

/// What the control thread carries.
pub(super) struct Control {
    pub(super) origin: Origin,
    pub(super) plan: RefCell<Arc<Plan>>,
    /// How busy lanes are.
    pub(super) busy: RefCell<Busy>,
    /// What happened to endpoints and to the plan.
    pub(super) marks: RefCell<Marks>,
    /// What the things of this plan and the last ones are called.
    pub(super) named: RefCell<Named>,
    pub(super) driver: IoDriver,
    pub(super) lanes: Vec<LaneHandle>,
    pub(super) loads: Arc<LaneLoads>,
    pub(super) started: Instant,
    pub(super) collected: Collected,
    /// The generation that each lane was told of, and the one that it runs.
    pub(super) told: RefCell<Vec<u64>>,
    pub(super) adopted: RefCell<Vec<u64>>,
    pub(super) adoption: Flag,
    /// A reload is under way; raised when it ends.
    pub(super) reloading: Cell<bool>,
    pub(super) reloaded: Flag,
    /// Lanes that accept.
    pub(super) ready: Cell<usize>,
    /// Lanes that run no more.
    pub(super) gone: RefCell<Vec<bool>>,
    /// A lane that cannot run, and why.
    pub(super) broken: RefCell<Option<String>>,
    pub(super) changed: Flag,
    pub(super) log: RefCell<AccessLog>,
    /// Tells collectors of traced exchanges.
    pub(super) traces: RefCell<Traces>,
    pub(super) descriptors: RefCell<Descriptors>,
    /// Accepting is to end, and nobody else goes on.
    pub(super) draining: Cell<bool>,
    /// Signals to stop so far.
    pub(super) stops: Cell<u32>,
    /// Panics on this thread.
    pub(super) panics: Cell<u64>,
    /// Files of Unix sockets that this process made.
    pub(super) files: Rc<Files>,
    /// A descriptor of each listening socket and its name, to be handed over; none once accepting stops, which they would keep up.
    pub(super) heritage: RefCell<Vec<(OwnedFd, &'static str)>>,
    /// The file that this program came from, as it was at the start.
    pub(super) program: Option<PathBuf>,
    /// The supervisor.
    pub(super) notify: Notify,
    /// Connections to the admin API.
    pub(super) places: Rc<Places>,
    /// Follows files that the configuration names.
    pub(super) follower: Follower,
    /// Fetches the keys of issuers.
    pub(super) key_sets: KeySets,
    /// Asks endpoints what they serve.
    pub(super) lookups: Lookups,
    /// A successor accepts.
    pub(super) replaced: Flag,
    /// Until when no more slow exchanges are written down.
    pub(super) dumped: Until,
}

impl Control {
    /// Something without which the gateway cannot go on is gone.
    pub(super) fn end_with(&self, why: String) {
        self.broken.replace(Some(why));
        self.changed.set();
    }

    /// What keeps the gateway from going on, if anything does: a part of it that does nothing any more.
    pub(super) fn fail_if_broken(&self) -> Result<(), RunError> {
        match self.broken.take() {
            Some(why) => {
                let fix = "start it again, as a supervisor does, and report this";
                Err(failed("the gateway cannot go on, and drains", why, fix))
            }
            None => Ok(()),
        }
    }

    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.borrow())
    }
}
