//! Sockets and threads, opened before the event loop of the control thread runs.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::access_log::{AccessLog, LOG_FIX, log_target};
use super::failure::{RunError, failed};
use crate::base::address::Address;
use crate::base::choice::IoDriver;
use crate::base::ids::{Id, LaneId};
use crate::base::rng::{Rng, entropy};
use crate::board::lanes::LaneLoads;
use crate::lane::event_loop::LaneSetup;
use crate::lane::inbox::{Inbox, LaneHandle, Reports, inbox, reports};
use crate::lane::spawn::spawn;
use crate::net::listen::{ListenSocket, SocketFile, listen};
use crate::plan::Plan;

/// Sockets and threads before the event loop of the control thread runs.
pub(super) struct Opened {
    pub(super) plan: Arc<Plan>,
    pub(super) driver: IoDriver,
    pub(super) listening: Vec<Address>,
    pub(super) files: Vec<SocketFile>,
    pub(super) admin: Option<ListenSocket>,
    pub(super) lanes: Vec<LaneHandle>,
    pub(super) loads: Arc<LaneLoads>,
    pub(super) reports: Reports,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) log: AccessLog,
}

impl Opened {
    /// Opens all of it, and notes which files it `made`.
    pub(super) fn open(plan: Arc<Plan>, driver: IoDriver, made: &mut Vec<SocketFile>) -> Result<Self, RunError> {
        let count = plan.lanes;
        let mut sockets: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        let mut listening = Vec::new();
        for (id, listener) in plan.listeners.pairs() {
            let opened = listen(&listener.address.value, count)
                .map_err(|error| cannot_listen(&listener.address.value, error))?;
            listening.extend(opened.first().map(|socket| socket.address().clone()));
            made.extend(opened.first().and_then(|socket| socket.file().cloned()));
            for (lane, socket) in sockets.iter_mut().zip(opened) {
                lane.push((socket, id));
            }
        }
        let files = made.clone();
        let admin = match &plan.server.admin.value {
            Some(address) => {
                let mut sockets = listen(address, 1).map_err(|error| cannot_listen(address, error))?;
                sockets.pop()
            }
            None => None,
        };
        made.extend(admin.as_ref().and_then(|socket| socket.file().cloned()));
        let wiring =
            |error: io::Error| failed("lanes cannot be wired up", error, "raise the limit of open files");
        let (reporter, reports) = reports().map_err(wiring)?;
        let ends = (0..count).map(|_| inbox()).collect::<io::Result<Vec<_>>>().map_err(wiring)?;
        let (lanes, inboxes): (Vec<LaneHandle>, Vec<Inbox>) = ends.into_iter().unzip();
        let loads = Arc::new(LaneLoads::new(count, Instant::now()));
        let (mut log, log_sender) = AccessLog::new();
        log.aim(log_target(&plan))
            .map_err(|error| failed("the access log cannot be written", error, LOG_FIX))?;
        let mut seeds = Rng::new(entropy());
        let mut threads = Vec::new();
        for (position, (inbox, listeners)) in inboxes.into_iter().zip(sockets).enumerate() {
            let setup = LaneSetup {
                lane: LaneId::at(position),
                plan: Arc::clone(&plan),
                listeners,
                inbox,
                lanes: lanes.clone(),
                loads: Arc::clone(&loads),
                reports: reporter.clone(),
                log: log_sender.clone(),
                seed: seeds.next_u64(),
            };
            let core = plan.server.core_list().get(position).copied();
            threads.push(spawn(setup, driver, core).map_err(|error| {
                failed("a lane's thread cannot be started", error, "raise the limit of threads")
            })?);
        }
        Ok(Self { plan, driver, listening, files, admin, lanes, loads, reports, threads, log })
    }
}

fn cannot_listen(address: &Address, error: io::Error) -> RunError {
    let fix = match error.kind() {
        io::ErrorKind::AlreadyExists => "choose another path, or remove what lies there",
        _ => "choose another address, or end the process that has this one",
    };
    failed(format!("cannot listen on {address}"), error, fix)
}
