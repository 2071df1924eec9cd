//! Read, compile, publish; or keep the old plan and say why.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use super::access_log::{LOG_FIX, log_target};
use super::load::{self, Anew};
use super::state::Control;
use crate::base::problem::{Place, Placed, Problem};
use crate::base::say;
use crate::lane::inbox::Command;
use crate::net::doorbell::{Bell, doorbell};
use crate::plan::Plan;

/// What is read again.
#[derive(Clone, Copy)]
enum What {
    Configuration,
    NamedFiles,
}

/// Tells of what works, though hardly as it was meant.
pub(super) fn warn(problem: &Problem) {
    say::warn(format_args!("warning: {problem}"));
}

/// A reload's turn, which ends when it is dropped.
struct Turn(Rc<Control>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.reloading.set(false);
        self.0.reloaded.set();
    }
}

/// How long lanes may take to adopt a plan before the answer goes out all the same.
const ADOPTION_TIME: Duration = Duration::from_secs(2);
/// Pause before a command is sent again to a lane whose inbox is full.
const INBOX_PAUSE: Duration = Duration::from_millis(1);

impl Control {
    /// Loads the configuration anew and puts it in force on all lanes; returns the new generation.
    pub(super) async fn reload(self: &Rc<Self>) -> Result<u64, Vec<Problem>> {
        let _turn = self.turn().await;
        self.notify.reloading();
        let reloaded = self.reload_now(What::Configuration).await;
        self.notify.ready();
        reloaded
    }

    /// A file that the configuration names holds something else: it is read again, and all else stays.
    async fn refresh(self: &Rc<Self>) {
        let _turn = self.turn().await;
        match self.reload_now(What::NamedFiles).await {
            Ok(generation) => say::info(format_args!(
                "reloaded generation={generation}: a file changed that the configuration names"
            )),
            Err(problems) => {
                problems.iter().for_each(say::error);
                say::error(
                    "a file changed that the configuration names, and is not in force: what stood in it before stays so",
                );
            }
        }
    }

    /// Follows the files that configurations name, and fetches the key sets.
    pub(super) async fn refresh_on(self: Rc<Self>, mut bell: Bell) {
        self.key_sets.follow(&self.plan());
        while bell.wait().await.is_ok() {
            self.follower.heard();
            self.guarded(self.refresh()).await;
        }
    }

    async fn reload_now(self: &Rc<Self>, what: What) -> Result<u64, Vec<Problem>> {
        let mut plan = self.load_aside(what).await?;
        self.descriptors.borrow_mut().clamp(&mut plan).iter().for_each(say::warn);
        let plan = Arc::new(plan);
        let generation = plan.generation;
        self.traces.borrow_mut().follow(&plan);
        self.log.borrow_mut().aim(log_target(&plan)).map_err(|error| {
            let place = Place::option("observe.access_log");
            vec![Placed { value: (), place }.problem(
                "the access log cannot be written",
                error.to_string(),
                LOG_FIX,
            )]
        })?;
        say::hear(plan.observe.log, SystemTime::now);
        self.named.borrow_mut().note(&plan);
        self.plan.replace(Arc::clone(&plan));
        self.follower.follow(&plan.files);
        self.key_sets.follow(&plan);
        // What was read while it was compiled is in force there too.
        plan.relist();
        self.lookups.changed.set();
        plan.warnings.iter().for_each(warn);
        // Whoever asked may send a request next: it must meet the new plan.
        let adopted = monoio::time::timeout(ADOPTION_TIME, async {
            while !self.publish() {
                monoio::time::sleep(INBOX_PAUSE).await;
            }
            while !self.is_adopted(generation) {
                self.adoption.wait().await;
                self.adoption.clear();
            }
        });
        if adopted.await.is_err() {
            say::warn(format_args!(
                "not all lanes run generation {generation} yet\n  why: one of them did not answer in time\n  fix: nothing, unless it stays so: it is told again"
            ));
        }
        Ok(generation)
    }

    /// Tells each lane of the plan in force that was not told yet; whether all were.
    pub(super) fn publish(&self) -> bool {
        let plan = self.plan();
        let mut told = self.told.borrow_mut();
        for (lane, told) in self.lanes.iter().zip(told.iter_mut()) {
            if *told < plan.generation && lane.tell(Command::Adopt(Arc::clone(&plan))).is_ok() {
                *told = plan.generation;
            }
        }
        told.iter().enumerate().all(|(lane, told)| *told >= plan.generation || self.is_gone(lane))
    }

    fn is_adopted(&self, generation: u64) -> bool {
        let adopted = self.adopted.borrow();
        adopted.iter().enumerate().all(|(lane, adopted)| *adopted >= generation || self.is_gone(lane))
    }

    /// Waits for the reloads that came before: two at once could leave a lane on the older plan.
    async fn turn(self: &Rc<Self>) -> Turn {
        while self.reloading.replace(true) {
            self.reloaded.clear();
            self.reloaded.wait().await;
        }
        Turn(Rc::clone(self))
    }

    /// Loads on a thread of its own: files and names may take seconds, and probes are answered meanwhile.
    async fn load_aside(&self, what: What) -> Result<Plan, Vec<Problem>> {
        let (origin, previous) = (self.origin.clone(), self.plan());
        let loaded = Arc::new(Mutex::new(None));
        let aside = |error: io::Error| {
            let place = Place::option("reload");
            vec![Placed { value: (), place }.problem(
                "the configuration cannot be loaded",
                error.to_string(),
                "raise the limits of open files and threads",
            )]
        };
        let (done, socket) = doorbell().map_err(aside)?;
        let mut hearing = Bell::adopt(socket).map_err(aside)?;
        let slot = Arc::clone(&loaded);
        let load = move || {
            let anew = match what {
                What::Configuration => Anew::Configuration(&previous),
                What::NamedFiles => Anew::NamedFiles(&previous),
            };
            let plan = load::load(&origin, Some(anew));
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan);
            done.ring();
        };
        thread::Builder::new().name("load".to_owned()).spawn(load).map_err(aside)?;
        let rung = hearing.wait().await;
        let loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner).take();
        loaded.unwrap_or_else(|| Err(aside(rung.err().unwrap_or(io::ErrorKind::Other.into()))))
    }

    /// A reload by signal: its outcome goes to stderr.
    pub(super) async fn reload_by_signal(self: Rc<Self>) {
        match self.reload().await {
            Ok(generation) => say::info(format_args!("reloaded generation={generation}")),
            Err(problems) => {
                problems.iter().for_each(say::error);
                say::error("not reloaded: the old configuration stays in force");
            }
        }
    }
}
