//! Sockets and threads, opened before the event loop of the control thread runs.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::access_log::{AccessLog, LOG_FIX, log_target};
use super::failure::{RunError, failed};
use super::files::{FileOf, Files};
use super::traces::Traces;
use crate::base::address::Address;
use crate::base::choice::IoDriver;
use crate::base::ids::{Id, LaneId};
use crate::base::problem::{Place, Placed};
use crate::base::rng::{Rng, entropy};
use crate::board::lanes::LaneLoads;
use crate::lane::event_loop::LaneSetup;
use crate::lane::inbox::{Inbox, LaneHandle, Reports, inbox, reports};
use crate::lane::spawn::spawn;
use crate::net::handed::{ADMIN_NAME, Handed};
use crate::net::listen::{ListenSocket, listen};
use crate::plan::Plan;

/// Sockets and threads before the event loop of the control thread runs.
pub(super) struct Opened {
    pub(super) plan: Arc<Plan>,
    pub(super) driver: IoDriver,
    pub(super) listening: Vec<Address>,
    /// A descriptor of each listening socket and its name, to be handed over.
    pub(super) heritage: Vec<(OwnedFd, &'static str)>,
    pub(super) admin: Option<ListenSocket>,
    pub(super) lanes: Vec<LaneHandle>,
    pub(super) loads: Arc<LaneLoads>,
    pub(super) reports: Reports,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) log: AccessLog,
    pub(super) traces: Traces,
}

impl Opened {
    /// Opens all of it, but for the sockets that were `handed` over, and notes which `files` it made.
    pub(super) fn open(
        plan: Arc<Plan>,
        driver: IoDriver,
        files: &Files,
        handed: &mut Handed,
    ) -> Result<Self, RunError> {
        let count = plan.lanes;
        let wiring =
            |error: io::Error| failed("lanes cannot be wired up", error, "raise the limit of open files");
        let addresses: Vec<_> = plan.listeners.iter().map(|listener| &listener.address.value).collect();
        let (dealt, admins) = handed.deal(&addresses, plan.server.admin.value.as_ref());
        refuse_strays(handed, &plan, admins.len())?;
        let mut dealt = dealt.into_iter();
        let mut heritage = Vec::new();
        let mut open = |address: &Address, count: usize, handed, name| {
            let sockets = listen(address, count, handed).map_err(|error| cannot_listen(address, error))?;
            for socket in &sockets {
                heritage.push((socket.twin().map_err(wiring)?, name));
            }
            Ok(sockets)
        };
        let mut sockets: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        let mut listening = Vec::new();
        for (id, listener) in plan.listeners.pairs() {
            let own = dealt.next().unwrap_or_default();
            let opened = open(&listener.address.value, count, own, "")?;
            listening.extend(opened.first().map(|socket| socket.address().clone()));
            files.made(FileOf::Listener, opened.first().and_then(ListenSocket::file));
            for (position, socket) in opened.into_iter().enumerate() {
                sockets[position % count].push((socket, id));
            }
        }
        let admin = match &plan.server.admin.value {
            Some(address) => open(address, 1, admins, ADMIN_NAME)?.pop(),
            None => None,
        };
        files.made(FileOf::Admin, admin.as_ref().and_then(ListenSocket::file));
        let (reporter, reports) = reports().map_err(wiring)?;
        let ends = (0..count).map(|_| inbox()).collect::<io::Result<Vec<_>>>().map_err(wiring)?;
        let (lanes, inboxes): (Vec<LaneHandle>, Vec<Inbox>) = ends.into_iter().unzip();
        let loads = Arc::new(LaneLoads::new(count, Instant::now()));
        let (mut log, log_sender) = AccessLog::new();
        log.aim(log_target(&plan))
            .map_err(|error| failed("the access log cannot be written", error, LOG_FIX))?;
        let (mut traces, span_sender) = Traces::new();
        traces.follow(&plan);
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
                spans: span_sender.clone(),
                seed: seeds.next_u64(),
            };
            let core = plan.server.core_list().get(position).copied();
            threads.push(spawn(setup, driver, core).map_err(|error| {
                failed("a lane's thread cannot be started", error, "raise the limit of threads")
            })?);
        }
        Ok(Self { plan, driver, listening, heritage, admin, lanes, loads, reports, threads, log, traces })
    }
}

/// A socket that was handed over and that nobody accepts from would let its clients wait for ever.
fn refuse_strays(handed: &Handed, plan: &Plan, admins: usize) -> Result<(), RunError> {
    let problem = |what: String, fix: String| {
        let place = Placed { value: (), place: Place::option("LISTEN_FDS") };
        place.problem(what, "its clients would wait for ever", fix)
    };
    let mut problems: Vec<_> = handed
        .left()
        .into_iter()
        .map(|address| {
            problem(
                format!("a socket that listens on {address} was handed over, and there is no such listener"),
                "add a listener or an admin API with this address, or start anew without the socket"
                    .to_owned(),
            )
        })
        .collect();
    if let (Some(address), 2..) = (&plan.server.admin.value, admins) {
        problems.push(problem(
            format!("{admins} sockets that listen on {address} were handed over, and the admin API accepts from one"),
            "hand over one of them, or start anew without them".to_owned(),
        ));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(RunError::Problems(problems)),
    }
}

fn cannot_listen(address: &Address, error: io::Error) -> RunError {
    let fix = match error.kind() {
        io::ErrorKind::AlreadyExists => "choose another path, or remove what lies there",
        _ => "choose another address, or end the process that has this one",
    };
    failed(format!("cannot listen on {address}"), error, fix)
}
