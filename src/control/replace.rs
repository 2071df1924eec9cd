//! SIGUSR2: the same program is started anew and takes the listening sockets over; once it accepts, this one drains.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::rc::Rc;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};

use super::load::Source;
use super::signal::Bytes;
use super::state::Control;
use crate::base::limits::{REPLACE_TIME, SAID_TIME};
use crate::base::say;
use crate::net::handed::LINE_NAME;

/// How often it is looked whether the successor is ready.
const LOOK: Duration = Duration::from_millis(10);
/// The first descriptor that is handed over (sd_listen_fds(3)).
const FIRST: i32 = 3;

/// Why the process is not replaced, and what to do.
struct Kept {
    why: String,
    fix: &'static str,
}

impl Control {
    /// Replaces the process each time it is asked for, until that works once.
    pub(super) async fn replace_on(self: Rc<Self>, mut signals: Bytes) {
        while signals.next().await.is_ok() {
            match self.replace().await {
                Ok(successor) => {
                    say::info(format_args!("replaced by process {successor}"));
                    self.notify.replaced(successor);
                    self.replaced.set();
                    return self.changed.set();
                }
                Err(Kept { why, fix }) => {
                    let goes_on = if self.is_ending() { "" } else { ": this process goes on" };
                    say::error(format_args!("not replaced{goes_on}\n  why: {why}\n  fix: {fix}"));
                }
            }
        }
    }

    /// Starts a successor and waits until it is ready; its number.
    async fn replace(&self) -> Result<u32, Kept> {
        self.is_replaceable()?;
        let cannot = |error: std::io::Error| Kept {
            why: format!("the new process cannot be started: {error}"),
            fix: "see that the program is where it was, and raise the limits of open files and processes",
        };
        let (mut line, theirs) = UnixStream::pair().map_err(cannot)?;
        line.set_nonblocking(true).map_err(cannot)?;
        let mut successor = Starting(Some(self.start(theirs.into()).map_err(cannot)?));
        let (by, generation) = (Instant::now() + REPLACE_TIME, self.plan().generation);
        loop {
            match line.read(&mut [0]) {
                // Which of two comes first decides: an end that was asked for is not taken back.
                Ok(1..) if !self.is_ending() => {
                    let is_outdated = self.reloading.get() || self.plan().generation != generation;
                    return Ok(successor.let_go(is_outdated));
                }
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) if self.is_ending() => {}
                Ok(0) | Err(_) => {
                    // It may still be telling why.
                    successor.ends(Instant::now() + SAID_TIME).await;
                    let (why, fix) = ("the new process ended before it was ready", "do as it said");
                    return Err(Kept { why: why.to_owned(), fix });
                }
            }
            if Instant::now() >= by {
                let why = format!(
                    "the new process was not ready within {} s, and was ended",
                    REPLACE_TIME.as_secs()
                );
                return Err(Kept { why, fix: "start it by hand, and look at what it waits for" });
            }
            if self.is_ending() {
                // It may have accepted already: what it has it finishes, as this process does.
                successor.tell_to_end();
                let why = "the gateway was told to end meanwhile".to_owned();
                return Err(Kept { why, fix: "start it again" });
            }
            monoio::time::sleep(LOOK).await;
        }
    }

    fn is_ending(&self) -> bool {
        self.stops.get() > 0 || self.draining.get()
    }

    fn is_replaceable(&self) -> Result<(), Kept> {
        if matches!(self.origin.source, Source::Text(..)) {
            let why = "it runs inside another program".to_owned();
            return Err(Kept { why, fix: "use `corelane run`" });
        }
        if std::process::id() == 1 {
            let why = "it is process 1, with which its container would end".to_owned();
            return Err(Kept { why, fix: "start a new container, or run an init process in this one" });
        }
        Ok(())
    }

    /// The same program with the same arguments, the listening sockets, and a line to tell that it is ready. Whoever started
    /// this one may have called it by a name that leads nowhere; then the file that it came from is meant.
    fn start(&self, line: OwnedFd) -> std::io::Result<Child> {
        let called = std::env::args_os().next().unwrap_or_else(|| OsString::from("corelane"));
        match (self.start_as(&called, line.try_clone()?), &self.program) {
            (Err(error), Some(program)) if error.kind() == ErrorKind::NotFound => {
                self.start_as(program.as_os_str(), line)
            }
            (started, _) => started,
        }
    }

    fn start_as(&self, program: &OsStr, line: OwnedFd) -> std::io::Result<Child> {
        let heritage = self.heritage.borrow();
        let twins =
            heritage.iter().map(|(socket, _)| socket.try_clone()).collect::<std::io::Result<Vec<_>>>()?;
        let names = heritage.iter().map(|(_, name)| *name).chain([LINE_NAME]).collect::<Vec<_>>().join(":");
        let all: Vec<_> = (FIRST..).zip(twins.into_iter().chain([line])).collect();
        let mut command = Command::new(program);
        command
            .args(std::env::args_os().skip(1))
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS_FIRST_FD")
            .env("LISTEN_FDS", all.len().to_string())
            .env("LISTEN_FDNAMES", names)
            .fd_mappings(
                all.into_iter().map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect(),
            )
            .map_err(std::io::Error::other)?;
        command.spawn()
    }
}

/// A successor that is not ready; ended where it is given up.
struct Starting(Option<Child>);

impl Starting {
    /// Waits until it ended by itself.
    async fn ends(&mut self, by: Instant) {
        let has_ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        while Instant::now() < by && !self.0.as_mut().is_none_or(has_ended) {
            monoio::time::sleep(LOOK).await;
        }
    }

    /// Ends it in order; nobody waits for that.
    fn tell_to_end(&mut self) {
        if let Some(child) = self.0.take() {
            // One that ended already needs no telling.
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        }
    }

    /// It goes on by itself; where a reload came after it had read its configuration, it reads that again.
    fn let_go(&mut self, is_outdated: bool) -> u32 {
        let Some(child) = self.0.take() else { return 0 };
        if is_outdated {
            let _ = kill_process(Pid::from_child(&child), Signal::HUP);
        }
        child.id()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // One that ended already only waits to be seen off; the kernel ends the other at once.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
