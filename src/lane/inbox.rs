//! Command in, report out: the bounded channels between lanes and the control thread, each with a doorbell.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::base::ids::{LaneId, ListenerId};
use crate::base::limits::{INBOX_MAX, REPORTS_MAX};
use crate::metrics::recorder::Recorder;
use crate::net::doorbell::{BellSocket, Doorbell, doorbell};
use crate::net::listen::Peer;
use crate::net::stream::Socket;
use crate::plan::Plan;

/// What a lane is told.
pub enum Command {
    /// A connection is handed over; it is counted on the lane already.
    Take(Socket, Peer, ListenerId),
    /// A client waits elsewhere for the place of the one that has rested longest here.
    MakeRoom,
    /// A new plan is in force.
    Adopt(Arc<Plan>),
    /// Report the recorder and go on with this empty one.
    Collect(Box<Recorder>),
    /// Accept no more and let exchanges finish.
    Drain(Queue),
    /// End now.
    Stop,
}

/// What becomes of the clients that wait to be accepted when accepting ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// They are accepted: they were told "connected".
    Emptied,
    /// Another process that has the same sockets accepts them.
    Left,
}

/// What a lane tells the control thread.
pub enum Report {
    /// It accepts.
    Ready,
    /// It cannot run, or runs no more, and why.
    Failed(LaneId, String),
    /// It runs the plan of this generation.
    Adopted(LaneId, u64),
    /// What was counted under a plan since the last time.
    Counts {
        /// Who counted.
        lane: LaneId,
        /// Under which plan.
        plan: Arc<Plan>,
        /// What.
        recorder: Recorder,
        /// By endpoint; only with the plan in force, whose report comes last.
        gauges: Option<Vec<Gauges>>,
    },
}

/// How one endpoint stands on one lane.
#[derive(Debug, Clone, Copy)]
pub struct Gauges {
    /// Idle connections.
    pub idle: usize,
    /// The idle limit in force.
    pub keep_alive: Duration,
}

/// The sending end of a lane's inbox.
#[derive(Clone)]
pub struct LaneHandle {
    commands: Sender<Command>,
    bell: Arc<Doorbell>,
}

impl LaneHandle {
    /// Tells the lane something and wakes it; gives the command back where the inbox is full.
    pub fn tell(&self, command: Command) -> Result<(), Command> {
        match self.commands.try_send(command) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => Err(command),
        }
    }
}

/// The receiving end.
pub struct Inbox {
    commands: Receiver<Command>,
    socket: BellSocket,
    bell: Arc<Doorbell>,
}

impl Inbox {
    /// Its parts: the channel, the socket to wait at, the bell to quieten.
    pub fn open(self) -> (Receiver<Command>, BellSocket, Arc<Doorbell>) {
        (self.commands, self.socket, self.bell)
    }
}

/// An inbox and its handle.
pub fn inbox() -> io::Result<(LaneHandle, Inbox)> {
    let (sender, commands) = bounded(INBOX_MAX);
    let (bell, socket) = doorbell()?;
    let bell = Arc::new(bell);
    Ok((LaneHandle { commands: sender, bell: Arc::clone(&bell) }, Inbox { commands, socket, bell }))
}

/// A lane's end of the report channel.
#[derive(Clone)]
pub struct Reporter {
    reports: Sender<Report>,
    bell: Arc<Doorbell>,
}

impl Reporter {
    /// Reports and wakes the control thread. Where the channel is full the report is lost: control asks again.
    pub fn send(&self, report: Report) {
        if self.reports.try_send(report).is_ok() {
            self.bell.ring();
        }
    }

    /// Reports what control cannot ask for again, and waits for room: for a lane that does nothing else any more.
    pub fn insist(&self, report: Report) {
        if self.reports.send(report).is_ok() {
            self.bell.ring();
        }
    }
}

/// The control thread's end of the report channel.
pub struct Reports {
    /// What lanes reported.
    pub reports: Receiver<Report>,
    /// The socket to wait at.
    pub socket: BellSocket,
    /// The bell to quieten.
    pub bell: Arc<Doorbell>,
}

/// Both ends of the report channel.
pub fn reports() -> io::Result<(Reporter, Reports)> {
    let (sender, reports) = bounded(REPORTS_MAX);
    let (bell, socket) = doorbell()?;
    let bell = Arc::new(bell);
    Ok((Reporter { reports: sender, bell: Arc::clone(&bell) }, Reports { reports, socket, bell }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Id;

    #[test]
    fn past_their_bounds_a_command_comes_back_and_a_report_is_given_up() {
        let (lane, inbox) = inbox().unwrap();
        for _ in 0..INBOX_MAX {
            assert!(lane.tell(Command::MakeRoom).is_ok());
        }
        assert!(matches!(lane.tell(Command::Stop), Err(Command::Stop)), "whoever tells it keeps what it has");
        let (commands, ..) = inbox.open();
        assert_eq!(commands.try_iter().count(), INBOX_MAX);
        assert!(lane.tell(Command::Stop).is_ok());

        let (reporter, reports) = reports().unwrap();
        for _ in 0..REPORTS_MAX + 1 {
            // A lane never waits for the control thread.
            reporter.send(Report::Adopted(LaneId::at(0), 1));
        }
        assert_eq!(reports.reports.try_iter().count(), REPORTS_MAX);
    }
}
