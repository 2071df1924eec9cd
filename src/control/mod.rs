//! The control thread: starts lanes, supervises them, answers the admin API, reloads, drains; knows nothing of what
//! happens inside an exchange.

mod access_log;
mod admin;
mod collect;
mod descriptors;
mod drain;
mod exposition;
mod guarded;
pub mod load;
mod permission;
mod reload;
mod serve;
mod signal;
mod stats;
mod understood;
mod whole_lines;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::base::address::Address;
use crate::base::choice::{IoDriver, LogTarget};
use crate::base::ids::{Id, LaneId};
use crate::base::limits::{LANE_END_LOOKS, LANE_END_PAUSE, TICK};
use crate::base::problem::Problem;
use crate::base::rng::Rng;
use crate::base::say::{hear_panics, say};
use crate::board::lanes::LaneLoads;
use crate::lane::LaneSetup;
use crate::lane::flag::Flag;
use crate::lane::inbox::{Command, Inbox, LaneHandle, Report, Reports, inbox, reports};
use crate::lane::spawn::spawn;
use crate::net::doorbell::Bell;
use crate::net::driver;
use crate::net::listen::{ListenSocket, Listener, SocketFile, listen};
use crate::plan::Plan;
use access_log::AccessLog;
use collect::Collected;
use descriptors::Descriptors;
use load::Origin;

/// Why the gateway ended, or never began.
#[derive(Debug)]
pub enum RunError {
    /// The configuration is wrong: exit code 2.
    Problems(Vec<Problem>),
    /// Something failed while starting or running: exit code 1. What, why, and what to do.
    Failed(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => {
                for (position, problem) in problems.iter().enumerate() {
                    write!(f, "{}{problem}", if position == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
            Self::Failed(message) => f.write_str(message),
        }
    }
}

fn failed(what: impl fmt::Display, error: impl fmt::Display, fix: &str) -> RunError {
    RunError::Failed(format!("{what}\n  why: {error}\n  fix: {fix}"))
}

/// What the control thread carries.
struct Control {
    origin: Origin,
    plan: RefCell<Arc<Plan>>,
    driver: IoDriver,
    lanes: Vec<LaneHandle>,
    loads: Arc<LaneLoads>,
    started: Instant,
    collected: Collected,
    /// The generation that each lane was told of, and the one that it runs.
    told: RefCell<Vec<u64>>,
    adopted: RefCell<Vec<u64>>,
    adoption: Flag,
    /// A reload is under way; raised when it ends.
    reloading: Cell<bool>,
    reloaded: Flag,
    /// Lanes that accept.
    ready: Cell<usize>,
    /// Lanes that run no more.
    gone: RefCell<Vec<bool>>,
    /// A lane that cannot run, and why.
    broken: RefCell<Option<String>>,
    changed: Flag,
    log: RefCell<AccessLog>,
    descriptors: RefCell<Descriptors>,
    draining: Cell<bool>,
    /// Signals to stop so far.
    stops: Cell<u32>,
    /// Panics on this thread.
    panics: Cell<u64>,
    /// Files of the listeners, removed when accepting stops.
    files: Cell<Vec<SocketFile>>,
}

/// What is told once the gateway accepts.
#[derive(Debug, Clone)]
pub struct Started {
    /// Where clients are accepted.
    pub listening: Vec<Address>,
    /// Where the admin API listens.
    pub admin: Option<Address>,
    /// How many lanes there are.
    pub lanes: usize,
    /// Which driver runs them.
    pub driver: IoDriver,
    /// The cores they are pinned to; empty where they are not.
    pub cores: Vec<usize>,
}

/// Runs the gateway until it is told to end. `started` is called once it accepts.
pub fn run(origin: Origin, started: impl FnOnce(&Started)) -> Result<(), RunError> {
    hear_panics();
    let mut made = Vec::new();
    let outcome = open_and_supervise(origin, started, &mut made);
    // Mostly a drain has removed them already. A start that fails leaves nothing behind either.
    made.iter().for_each(SocketFile::unlink);
    outcome
}

fn open_and_supervise(
    origin: Origin,
    started: impl FnOnce(&Started),
    made: &mut Vec<SocketFile>,
) -> Result<(), RunError> {
    let mut plan = load::load(&origin, None).map_err(RunError::Problems)?;
    let driver = choose_driver(&plan)?;
    let mut descriptors = Descriptors::raise();
    let clamped = descriptors.clamp(&mut plan);
    let opened = Opened::open(Arc::new(plan), driver, made)?;
    clamped.iter().for_each(say);
    let outcome = driver::block_on(IoDriver::Epoll, supervise(origin, descriptors, opened, started));
    outcome.map_err(|error| failed("the control thread cannot run", error, "allow epoll to this process"))?
}

fn choose_driver(plan: &Plan) -> Result<IoDriver, RunError> {
    let Some(asked) = plan.server.io.value else { return Ok(driver::choose()) };
    match driver::probe(asked) {
        Ok(()) => Ok(asked),
        Err(error) => Err(failed(
            format!("the driver {} cannot run here", asked.name()),
            error,
            "use --io epoll, or allow io_uring to this process (container runtimes forbid it by default)",
        )),
    }
}

/// Sockets and threads before the event loop of the control thread runs.
struct Opened {
    plan: Arc<Plan>,
    driver: IoDriver,
    listening: Vec<Address>,
    files: Vec<SocketFile>,
    admin: Option<ListenSocket>,
    lanes: Vec<LaneHandle>,
    loads: Arc<LaneLoads>,
    reports: Reports,
    threads: Vec<JoinHandle<()>>,
    log: AccessLog,
}

/// What to do about an access log that cannot be written.
const LOG_FIX: &str = "name a file that may be written, or raise the limit of threads";

/// Where the plan's access log goes.
fn log_target(plan: &Plan) -> Option<&LogTarget> {
    plan.observe.access_log.as_ref().map(|log| &log.to.value)
}

impl Opened {
    /// Opens all of it, and notes which files it `made`.
    fn open(plan: Arc<Plan>, driver: IoDriver, made: &mut Vec<SocketFile>) -> Result<Self, RunError> {
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
        let loads = Arc::new(LaneLoads::new(count));
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

/// A seed that differs from start to start; the standard library's hasher is seeded by the system.
fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

async fn supervise(
    origin: Origin,
    descriptors: Descriptors,
    opened: Opened,
    started: impl FnOnce(&Started),
) -> Result<(), RunError> {
    let Opened { plan, driver, listening, files, admin, lanes, loads, reports, threads, log } = opened;
    let signals = signal::Signals::listen()
        .map_err(|error| failed("signals cannot be received", error, "raise the limit of open files"))?;
    let said = Started {
        listening,
        admin: admin.as_ref().map(|socket| socket.address().clone()),
        lanes: plan.lanes,
        driver,
        cores: plan.server.core_list().to_vec(),
    };
    let lane_count = plan.lanes;
    let control = Rc::new(Control {
        origin,
        driver,
        collected: Collected::new(plan.lanes),
        told: RefCell::new(vec![plan.generation; plan.lanes]),
        adopted: RefCell::new(vec![plan.generation; plan.lanes]),
        reloading: Cell::new(false),
        reloaded: Flag::default(),
        adoption: Flag::default(),
        plan: RefCell::new(plan),
        lanes,
        loads,
        started: Instant::now(),
        ready: Cell::new(0),
        gone: RefCell::new(vec![false; lane_count]),
        broken: RefCell::default(),
        changed: Flag::default(),
        log: RefCell::new(log),
        descriptors: RefCell::new(descriptors),
        draining: Cell::new(false),
        stops: Cell::new(0),
        panics: Cell::new(0),
        files: Cell::new(files),
    });
    monoio::spawn(Rc::clone(&control).hear(reports));
    control.await_lanes().await?;
    if let Some(socket) = admin {
        let listener = Listener::adopt(socket)
            .map_err(|error| failed("the admin API cannot accept", error, "raise the limit of open files"))?;
        let control = Rc::clone(&control);
        monoio::spawn(async move {
            while control.guarded(serve::serve(&listener, &control)).await.is_none() {
                monoio::time::sleep(TICK).await;
            }
        });
    }
    monoio::spawn(Rc::clone(&control).count_seconds());
    started(&said);
    let outcome = control.run_until_told(signals).await;
    for lane in &control.lanes {
        // A lane that is gone already needs no telling.
        let _ = lane.tell(Command::Stop);
    }
    // A lane that hangs must not hold up the end; whatever it does ends with the process.
    for _ in 0..LANE_END_LOOKS {
        if threads.iter().all(JoinHandle::is_finished) {
            break;
        }
        monoio::time::sleep(LANE_END_PAUSE).await;
    }
    control.log.borrow_mut().end();
    outcome
}

impl Control {
    /// Hears what lanes report, for the life of the process.
    async fn hear(self: Rc<Self>, reports: Reports) {
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

    /// Something without which the gateway cannot go on is gone.
    fn end_with(&self, why: String) {
        self.broken.replace(Some(why));
        self.changed.set();
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

    async fn await_lanes(&self) -> Result<(), RunError> {
        while self.ready.get() < self.lanes.len() {
            if let Some(why) = self.broken.take() {
                return Err(failed("the gateway cannot start", why, "correct `cores`, or leave it out"));
            }
            self.changed.wait().await;
            self.changed.clear();
        }
        Ok(())
    }

    /// What keeps the gateway from going on, if anything does: a part of it that does nothing any more.
    fn fail_if_broken(&self) -> Result<(), RunError> {
        match self.broken.take() {
            Some(why) => {
                let fix = "start it again, as a supervisor does, and report this";
                Err(failed("the gateway cannot go on, and drains", why, fix))
            }
            None => Ok(()),
        }
    }

    /// Removes the files of the listeners, once.
    fn remove_files(&self) {
        self.files.take().iter().for_each(SocketFile::unlink);
    }

    fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.borrow())
    }
}
