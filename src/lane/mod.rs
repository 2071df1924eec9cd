//! One core: its event loop, its listening sockets, and everything it owns; knows no file and no admin API.
//!
//! A lane runs these tasks: one acceptor a listener, the inbox, the tick, the evictor of closed pooled connections,
//! and one task a client connection. Each connection's task is caught on its own: a panic costs that connection.

mod accept;
pub mod adopt;
pub mod flag;
pub mod inbox;
pub mod spawn;
mod tick;

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use flag::Flag;
use inbox::{Command, Gauges, Inbox, LaneHandle, Report, Reporter};

use crate::base::ids::{EndpointId, Id, LaneId, ListenerId};
use crate::base::limits::{DRAIN_IDLE_GRACE, STOP_PAUSE, STOP_TIME};
use crate::base::rng::Rng;
use crate::board::buffered::Granted;
use crate::board::lanes::LaneLoads;
use crate::metrics::recorder::Recorder;
use crate::net::doorbell::Bell;
use crate::net::hangup::Hangups;
use crate::net::listen::{ListenSocket, Listener, Peer};
use crate::net::stream::{Socket, Whole};
use crate::plan::Plan;
use crate::proxy::downstream::serve;
use crate::proxy::state::{LanePlan, LaneState, LogSender, Tellers};
use crate::proxy::turns::Turns;

/// What a lane is started with.
pub struct LaneSetup {
    /// Which lane this is.
    pub lane: LaneId,
    /// The first plan.
    pub plan: Arc<Plan>,
    /// Its listening sockets, each with the listener it belongs to.
    pub listeners: Vec<(ListenSocket, ListenerId)>,
    /// What other threads send here.
    pub inbox: Inbox,
    /// All lanes, this one too, for handing connections over.
    pub lanes: Vec<LaneHandle>,
    /// Connection counts of all lanes.
    pub loads: Arc<LaneLoads>,
    /// Where reports go.
    pub reports: Reporter,
    /// Where lines of the access log go.
    pub log: LogSender,
    /// Where chance starts.
    pub seed: u64,
}

/// A running lane.
pub(crate) struct Lane {
    state: Rc<LaneState>,
    lanes: Vec<LaneHandle>,
    loads: Arc<LaneLoads>,
    reports: Reporter,
    /// Accept no more.
    closing: Flag,
    /// Plans that were replaced and that exchanges may still hold.
    retired: std::cell::RefCell<Vec<Rc<LanePlan>>>,
}

/// Runs a lane on this thread's event loop until it is told to stop.
pub async fn run(setup: LaneSetup) -> std::io::Result<()> {
    let LaneSetup { lane, plan, listeners, inbox, lanes, loads, reports, log, seed } = setup;
    let mut rng = Rng::new(seed);
    let first = adopt::start(plan, lane, &mut rng);
    let (commands, bell_socket, bell) = inbox.open();
    let ring = Arc::clone(&bell);
    let hangups = Hangups::new()?;
    let turns = Turns::new(Granted::new(move || ring.ring()));
    let tellers = Tellers { turns, hangups: Rc::clone(&hangups) };
    let running = Rc::new(Lane {
        state: Rc::new(LaneState::new(lane, first, rng, log, tellers)),
        lanes,
        loads,
        reports,
        closing: Flag::default(),
        retired: Default::default(),
    });
    let mut hearing = Bell::adopt(bell_socket)?;
    for (socket, id) in listeners {
        let listener = Listener::adopt(socket)?;
        monoio::spawn(accept::run(listener, id, Rc::clone(&running)));
    }
    monoio::spawn(tick::run(Rc::clone(&running)));
    monoio::spawn(evict(Rc::clone(&running.state)));
    monoio::spawn(async move { hangups.run().await });
    running.reports.send(Report::Ready);
    loop {
        hearing.wait().await?;
        bell.heard();
        running.state.turns.look();
        for command in commands.try_iter() {
            match command {
                Command::Take(socket, peer, id) => running.welcome(socket, peer, id),
                Command::Adopt(plan) => running.adopt(plan),
                Command::Collect(spare) => running.collect(*spare),
                Command::Drain => running.drain(),
                Command::Stop => return running.stop().await,
            }
        }
    }
}

/// Wakes whenever a pooled connection's read ends, and drops what was closed.
async fn evict(state: Rc<LaneState>) {
    poll_fn(|cx| {
        state.evict_closed(Instant::now(), cx);
        Poll::<()>::Pending
    })
    .await;
}

/// Counts a connection out when its task ends, however it ends.
struct Counted {
    loads: Arc<LaneLoads>,
    lane: LaneId,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.loads.leave(self.lane);
    }
}

impl Lane {
    /// Starts serving a connection that is already counted on this lane.
    fn welcome(self: &Rc<Self>, socket: Socket, peer: Peer, id: ListenerId) {
        let counted = Counted { loads: Arc::clone(&self.loads), lane: self.state.lane };
        // A socket that cannot be adopted was reset in the meantime; dropping it is all there is to do.
        let Ok(socket) = Whole::adopt(socket) else { return };
        let state = Rc::clone(&self.state);
        monoio::spawn(async move {
            let _counted = counted;
            // Pinned here: handed over by value, it would lie in this task twice.
            if caught(pin!(serve(socket, peer, id, Rc::clone(&state)))).await.is_err() {
                state.plan().recorder.borrow_mut().lane.panics += 1;
            }
        });
    }

    fn adopt(&self, plan: Arc<Plan>) {
        let generation = plan.generation;
        let mut rng = self.state.rng.borrow().clone();
        let next = adopt::adopt(&self.state.plan(), plan, self.state.lane, &mut rng);
        self.state.rng.replace(rng);
        let old = self.state.replace(next);
        self.retired.borrow_mut().push(old);
        self.reports.send(Report::Adopted(self.state.lane, generation));
    }

    /// Swaps the recorder for an empty one and reports the full one, and those of replaced plans.
    fn collect(&self, spare: Recorder) {
        let plan = self.state.plan();
        let fits = spare.routes.len() == plan.plan.routes.len()
            && spare.endpoints.len() == plan.plan.endpoints.len();
        let empty = if fits { spare } else { adopt::recorder(&plan.plan) };
        let recorder = plan.recorder.replace(empty);
        let gauges = (0..plan.plan.endpoints.len())
            .map(|position| {
                let pool = plan.endpoints[EndpointId::at(position)].pool.borrow();
                Gauges { idle: pool.len(), keep_alive: pool.limit() }
            })
            .collect();
        let lane = self.state.lane;
        self.retired.borrow_mut().retain(|old| {
            let recorder = old.recorder.replace(adopt::recorder(&old.plan));
            self.reports.send(Report::Counts { lane, plan: Arc::clone(&old.plan), recorder, gauges: None });
            // Nobody else holds it: its last exchange is over and reported.
            Rc::strong_count(old) > 1
        });
        let plan = Arc::clone(&plan.plan);
        self.reports.send(Report::Counts { lane, plan, recorder, gauges: Some(gauges) });
    }

    /// Ends every connection, each the way a cut one ends. The loop is left only then: what an operation in the kernel
    /// still points at must not be freed under it.
    async fn stop(&self) -> std::io::Result<()> {
        self.closing.set();
        self.state.watchdogs.end_all();
        let by = Instant::now() + STOP_TIME;
        while self.loads.of(self.state.lane) > 0 && Instant::now() < by {
            monoio::time::sleep(STOP_PAUSE).await;
        }
        Ok(())
    }

    /// Accepts no more, lets exchanges finish, closes what is idle.
    fn drain(&self) {
        self.state.draining.set(true);
        self.closing.set();
        self.state.watchdogs.hurry_idle(Instant::now() + DRAIN_IDLE_GRACE);
        for endpoint in self.state.plan().endpoints.iter() {
            let idle = endpoint.pool.borrow_mut().drain();
            drop(idle);
        }
    }
}

/// Runs a task, such as a connection's; a panic inside ends it and nothing else.
pub async fn caught<T>(mut task: Pin<&mut impl Future<Output = T>>) -> Result<T, Panicked> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// A task panicked; what it said is told already.
#[derive(Debug, PartialEq, Eq)]
pub struct Panicked;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::choice::IoDriver;
    use crate::net::driver::{block_on, choose};

    #[test]
    fn a_panic_ends_its_own_task_only() {
        for driver in [IoDriver::Epoll, choose()] {
            let results = block_on(driver, async {
                let bad = monoio::spawn(async {
                    caught(pin!(async { panic!("a connection's task panics, on purpose") })).await
                });
                let good = monoio::spawn(async { caught(pin!(async {})).await });
                (bad.await, good.await)
            });
            assert_eq!(results.unwrap(), (Err(Panicked), Ok(())));
        }
    }
}
