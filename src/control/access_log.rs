//! Writes the access log on a thread of its own, so that a slow disk or pipe holds up neither lanes nor control.
//!
//! It looks for lines every so often instead of being woken: a wake-up would cost each lane a system call a line.
//! A line that cannot be written is lost and counted, and its beginning is finished before the next one: no reader ever
//! sees half a line before a whole one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::ending::wait_for;
use super::whole_lines::{Lost, WholeLines};
use crate::base::choice::LogTarget;
use crate::base::limits::{KIB, LOG_BYTES_MAX, LOG_LINES_MAX, LOG_PAUSE, LOG_REOPEN_PAUSE, LOG_TOLD_PAUSE};
use crate::base::say;
use crate::board::lines::{LogReceiver, LogSender, lines};
use crate::plan::Plan;

/// What to do about an access log that cannot be written.
pub(super) const LOG_FIX: &str = "name a file that may be written, or raise the limit of threads";

/// The writer's thread, and what it is told.
pub(super) struct AccessLog {
    told: Arc<Told>,
    lines: LogReceiver,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Told {
    target: Mutex<Option<LogTarget>>,
    /// Open the target anew: it changed, or its file was moved away.
    reopen: AtomicBool,
    end: AtomicBool,
    /// Lines that could not be written.
    lost: AtomicU64,
}

impl AccessLog {
    /// A log that writes nowhere yet, and the lanes' end of it.
    pub(super) fn new() -> (Self, LogSender) {
        let (sender, lines) = lines(LOG_LINES_MAX, LOG_BYTES_MAX);
        (Self { told: Arc::default(), lines, thread: None }, sender)
    }

    /// Writes to `target` from now on; none stops writing. The thread begins with the first target. A target that cannot
    /// be opened changes nothing.
    pub(super) fn aim(&mut self, target: Option<&LogTarget>) -> io::Result<()> {
        let mut current = self.told.target.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref() == target {
            return Ok(());
        }
        if let Some(LogTarget::File(path)) = target {
            writable(path)?;
            if !path.exists() {
                append(path)?;
            }
        }
        *current = target.cloned();
        drop(current);
        self.reopen();
        if self.thread.is_none() {
            let (told, lines) = (Arc::clone(&self.told), self.lines.clone());
            let builder = thread::Builder::new().name("access-log".to_owned());
            self.thread = Some(builder.spawn(move || write(&told, &lines))?);
        }
        Ok(())
    }

    /// Opens the file anew: it was moved away.
    pub(super) fn reopen(&self) {
        self.told.reopen.store(true, Ordering::Release);
    }

    /// Lines that could not be written so far.
    pub(super) fn lost(&self) -> u64 {
        self.told.lost.load(Ordering::Relaxed)
    }

    /// Writes what is left and ends; a target that takes nothing holds this up for a second at most.
    pub(super) fn end(&mut self) {
        self.told.end.store(true, Ordering::Release);
        wait_for(self.thread.take());
    }
}

fn write(told: &Told, lines: &LogReceiver) {
    let mut pen =
        Pen { told, out: None, target: None, rest: WholeLines::default(), open_at: None, complain_at: None };
    loop {
        // Seen before the lines are taken: what was sent before the end is written.
        let is_last = told.end.load(Ordering::Acquire);
        if told.reopen.swap(false, Ordering::AcqRel) {
            pen.target = told.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
            pen.open_at = Some(Instant::now());
        }
        pen.reopen();
        let mut text = Vec::new();
        let mut ends = Vec::new();
        while let Some(line) = lines.try_next() {
            text.extend_from_slice(&line);
            ends.push(text.len());
            if text.len() >= LOG_STEP_BYTES {
                pen.write(&text, &ends);
                text.clear();
                ends.clear();
            }
        }
        pen.write(&text, &ends);
        if is_last {
            return;
        }
        thread::sleep(LOG_PAUSE);
    }
}

/// Written in one call: few calls a second where many lines come.
const LOG_STEP_BYTES: usize = 64 * KIB;

/// What writes, and what went wrong with it.
struct Pen<'t> {
    told: &'t Told,
    out: Option<File>,
    target: Option<LogTarget>,
    rest: WholeLines,
    /// When the target is to be opened; none while it is open.
    open_at: Option<Instant>,
    /// When the next trouble may be told.
    complain_at: Option<Instant>,
}

impl Pen<'_> {
    /// Opens the target if it is time to. Where that fails it is tried again and again; until then lines go where they
    /// went, which is the file that was moved away.
    fn reopen(&mut self) {
        if self.open_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        let Some(target) = &self.target else {
            (self.out, self.open_at) = (None, None);
            return;
        };
        match open(target) {
            Ok(file) => {
                let same = self.out.as_ref().is_some_and(|out| is_same(out, &file));
                if !same {
                    let lost = self.rest.leave(self.out.as_mut());
                    self.told.lost.fetch_add(lost, Ordering::Relaxed);
                }
                (self.out, self.open_at) = (Some(file), None);
            }
            Err(error) => {
                // A file that was removed takes lines that nobody will ever read.
                self.out.take_if(|out| out.metadata().is_ok_and(|found| found.nlink() == 0));
                self.open_at = Some(Instant::now() + LOG_REOPEN_PAUSE);
                self.complain(
                    "cannot be opened",
                    &error,
                    "make its folder, or correct `observe.access_log.to`, and reload",
                );
            }
        }
    }

    /// Writes `text`, whose lines end at `ends`. Lines that cannot be written are lost.
    fn write(&mut self, text: &[u8], ends: &[usize]) {
        let Some(mut out) = self.out.as_ref() else {
            // Without a target nobody asked for them.
            let lost = if self.target.is_some() { ends.len() as u64 } else { 0 };
            self.told.lost.fetch_add(lost, Ordering::Relaxed);
            return;
        };
        if let Err(Lost { lines, why }) = self.rest.write(&mut out, text, ends, &self.told.end) {
            self.told.lost.fetch_add(lines, Ordering::Relaxed);
            self.complain(
                "cannot be written",
                &why,
                "make room, or correct `observe.access_log.to`, and reload",
            );
        }
    }

    /// Tells of trouble, once in a while.
    fn complain(&mut self, what: &str, error: &io::Error, fix: &str) {
        let now = Instant::now();
        if self.complain_at.is_some_and(|at| now < at) {
            return;
        }
        self.complain_at = Some(now + LOG_TOLD_PAUSE);
        let Some(target) = &self.target else { return };
        let lost = self.told.lost.load(Ordering::Relaxed);
        say::error(format_args!(
            "the access log {target} {what}, {lost} lines are lost so far\n  why: {error}\n  fix: {fix}"
        ));
    }
}

fn is_same(one: &File, other: &File) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// The target, unbuffered: what is written is written.
fn open(target: &LogTarget) -> io::Result<File> {
    match target {
        LogTarget::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        LogTarget::Stderr => io::stderr().as_fd().try_clone_to_owned().map(File::from),
        LogTarget::File(path) => append(path),
    }
}

/// Whether lines can be written to the end of `path`. Nothing is made, and a pipe that nobody reads yet is not waited
/// for.
pub(super) fn writable(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => Ok(()),
        Ok(_) => append(path).map(drop),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) => match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) if !folder.is_dir() => {
                Err(io::Error::other(format!("there is no folder \"{}\"", folder.display())))
            }
            _ => Ok(()),
        },
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Where the plan's access log goes.
pub(super) fn log_target(plan: &Plan) -> Option<&LogTarget> {
    plan.observe.access_log.as_ref().map(|log| &log.to.value)
}
