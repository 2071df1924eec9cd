//! The control thread: starts lanes, supervises them, answers the admin API, reloads, drains; knows nothing of what
//! happens inside an exchange.

mod access_log;
mod admin;
mod agent;
mod asking;
mod busy;
mod collect;
mod collected;
mod descriptors;
mod drain;
mod dump;
mod ending;
pub mod explained;
mod exposition;
pub mod failure;
mod files;
mod follow;
mod guarded;
mod hear;
mod key_sets;
mod live;
pub mod load;
mod lookups;
mod marks;
mod named;
mod notify;
mod opened;
pub mod otlp;
mod page;
mod permission;
mod places;
mod reload;
mod replace;
mod serve;
mod signal;
mod slow;
mod state;
mod stats;
mod told_spans;
mod traces;
mod understood;
mod whole_lines;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use crate::base::address::Address;
use crate::base::choice::IoDriver;
use crate::base::limits::{LANE_END_LOOKS, LANE_END_PAUSE, TICK};
use crate::base::say::{hear, hear_panics, settle, warn};
use crate::lane::flag::Flag;
use crate::lane::inbox::Command;
use crate::net::driver;
use crate::net::handed::Handed;
use crate::net::listen::{ListenSocket, Listener};
use crate::plan::Plan;
use busy::Busy;
use collected::Collected;
use descriptors::Descriptors;
use failure::{RunError, failed};
use files::Files;
use follow::Follower;
use key_sets::KeySets;
use load::Origin;
use lookups::Lookups;
use notify::Notify;
use opened::Opened;
use places::Places;
use state::Control;

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

/// Runs the gateway until it is told to end, on sockets of its own and those that were `handed` over. `started` is called
/// once it accepts.
pub fn run(origin: Origin, handed: Handed, started: impl FnOnce(&Started)) -> Result<(), RunError> {
    hear_panics();
    let files = Rc::new(Files::default());
    let outcome = open_and_supervise(origin, handed, started, &files);
    // Mostly a drain has removed them already. A start that fails leaves nothing behind either.
    files.remove_all();
    outcome
}

fn open_and_supervise(
    origin: Origin,
    mut handed: Handed,
    started: impl FnOnce(&Started),
    files: &Rc<Files>,
) -> Result<(), RunError> {
    let mut plan = load::load(&origin, None).map_err(RunError::Problems)?;
    hear(plan.observe.log, SystemTime::now);
    let driver = choose_driver(&plan)?;
    let mut descriptors = Descriptors::raise();
    let clamped = descriptors.clamp(&mut plan);
    let opened = Opened::open(Arc::new(plan), driver, files, &mut handed)?;
    clamped.iter().for_each(warn);
    opened.plan.warnings.iter().for_each(reload::warn);
    let started = |said: &Started| {
        started(said);
        // Whoever reads both sees `ready` first.
        settle();
        handed.tell_ready();
    };
    let supervised = supervise(origin, descriptors, opened, Rc::clone(files), started);
    let outcome = driver::block_on(IoDriver::Epoll, supervised);
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

async fn supervise(
    origin: Origin,
    descriptors: Descriptors,
    opened: Opened,
    files: Rc<Files>,
    started: impl FnOnce(&Started),
) -> Result<(), RunError> {
    let Opened { plan, driver, listening, heritage, admin, lanes, loads, reports, threads, log, traces } =
        opened;
    let signals = signal::Signals::listen()
        .map_err(|error| failed("signals cannot be received", error, "raise the limit of open files"))?;
    let said = Started {
        listening,
        admin: admin.as_ref().map(|socket| socket.address().clone()),
        lanes: plan.lanes,
        driver,
        cores: plan.server.core_list().to_vec(),
    };
    let (follower, changed) = Follower::start(&plan.files)?;
    let control = Rc::new(Control {
        origin,
        driver,
        collected: Collected::new(plan.lanes),
        told: RefCell::new(vec![plan.generation; plan.lanes]),
        adopted: RefCell::new(vec![plan.generation; plan.lanes]),
        reloading: Cell::new(false),
        reloaded: Flag::default(),
        adoption: Flag::default(),
        named: RefCell::default(),
        marks: RefCell::default(),
        busy: RefCell::default(),
        plan: RefCell::new(plan),
        lanes,
        loads,
        started: Instant::now(),
        ready: Cell::new(0),
        gone: RefCell::new(vec![false; said.lanes]),
        broken: RefCell::default(),
        changed: Flag::default(),
        log: RefCell::new(log),
        traces: RefCell::new(traces),
        draining: Cell::new(false),
        stops: Cell::new(0),
        panics: Cell::new(0),
        files,
        heritage: RefCell::new(heritage),
        program: std::env::current_exe().ok(),
        notify: Notify::of_environment(),
        places: Places::new(descriptors.admin_connections()),
        descriptors: RefCell::new(descriptors),
        follower,
        key_sets: KeySets::start()?,
        lookups: Lookups::default(),
        replaced: Flag::default(),
        dumped: state::Until::default(),
    });
    control.named.borrow_mut().note(&control.plan());
    monoio::spawn(Rc::clone(&control).hear(reports));
    control.await_lanes().await?;
    control.busy.replace(Busy::of_lanes(said.lanes));
    admin.map_or(Ok(()), |socket| serve_admin(&control, socket))?;
    monoio::spawn(Rc::clone(&control).count_seconds());
    monoio::spawn(Rc::clone(&control).refresh_on(changed));
    started(&said);
    control.notify.ready();
    monoio::spawn(Rc::clone(&control).look_up());
    let outcome = control.run_until_told(signals).await;
    end(&control, &threads).await;
    outcome
}

/// Answers the admin API from now on.
fn serve_admin(control: &Rc<Control>, socket: ListenSocket) -> Result<(), RunError> {
    let listener = Listener::adopt(socket)
        .map_err(|error| failed("the admin API cannot accept", error, "raise the limit of open files"))?;
    let control = Rc::clone(control);
    monoio::spawn(async move {
        while control.guarded(serve::serve(&listener, &control)).await.is_none() {
            monoio::time::sleep(TICK).await;
        }
    });
    Ok(())
}

/// Ends lanes, then what is told by threads of their own: all of what lanes told.
async fn end(control: &Control, threads: &[JoinHandle<()>]) {
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
    control.traces.borrow_mut().end();
}
