//! A lane from its start to its stop: what it is started with, the tasks it runs, the commands it hears.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::flag::Flag;
use super::inbox::{Command, Inbox, LaneHandle, Queue, Report, Reporter};
use super::running::Lane;
use super::{accept, adopt, probe, tick};
use crate::base::ids::{LaneId, ListenerId};
use crate::base::rng::Rng;
use crate::board::granted::Granted;
use crate::board::lanes::LaneLoads;
use crate::board::spans::SpanSender;
use crate::net::doorbell::Bell;
use crate::net::hangup::Hangups;
use crate::net::listen::{ListenSocket, Listener};
use crate::plan::Plan;
use crate::proxy::spans::Traced;
use crate::proxy::state::{LaneState, LogSender, Tellers};
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
    /// Where what is told of traced exchanges goes.
    pub spans: SpanSender<Traced>,
    /// Where chance starts.
    pub seed: u64,
}

/// Runs a lane on this thread's event loop until it is told to stop.
pub async fn run(setup: LaneSetup) -> std::io::Result<()> {
    let LaneSetup { lane, plan, listeners, inbox, lanes, loads, reports, log, spans, seed } = setup;
    let mut rng = Rng::new(seed);
    let first = adopt::start(plan, lane, &mut rng);
    let (commands, bell_socket, bell) = inbox.open();
    let ring = Arc::clone(&bell);
    let hangups = Hangups::new()?;
    let turns = Turns::new(Granted::new(move || ring.ring()));
    let tellers = Tellers { turns, hangups: Rc::clone(&hangups) };
    let running = Rc::new(Lane {
        state: Rc::new(LaneState::new(lane, first, rng, (log, spans), tellers)),
        lanes,
        loads,
        reports,
        closing: Flag::default(),
        queue: Cell::new(Queue::Emptied),
        probes: Default::default(),
    });
    let mut hearing = Bell::adopt(bell_socket)?;
    for (socket, id) in listeners {
        let listener = Listener::adopt(socket)?;
        monoio::spawn(accept::run(listener, id, Rc::clone(&running)));
    }
    monoio::spawn(tick::run(Rc::clone(&running)));
    monoio::spawn(probe::run(Rc::clone(&running)));
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
                Command::MakeRoom => drop(running.give_room(Instant::now())),
                Command::Adopt(plan) => running.adopt(plan),
                Command::Collect(spare) => running.collect(*spare),
                Command::Drain(queue) => running.drain(queue),
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
