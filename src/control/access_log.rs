//! Writes the access log on a thread of its own, so that a slow disk or pipe holds up neither lanes nor control.
//!
//! It looks for lines every so often instead of being woken: a wake-up would cost each lane a system call a line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, bounded};

use crate::base::choice::LogTarget;
use crate::base::limits::{LOG_LINES_MAX, LOG_PAUSE};
use crate::base::say::say;
use crate::proxy::state::LogSender;

/// The writer's thread, and what it is told.
pub(super) struct AccessLog {
    told: Arc<Told>,
    lines: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Told {
    target: Mutex<Option<LogTarget>>,
    /// Open the target anew: it changed, or its file was moved away.
    reopen: AtomicBool,
    end: AtomicBool,
}

impl AccessLog {
    /// A log that writes nowhere yet, and the lanes' end of it.
    pub(super) fn new() -> (Self, LogSender) {
        let (sender, lines) = bounded(LOG_LINES_MAX);
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

    /// Writes what is left and ends; a target that takes nothing holds this up for a second at most.
    pub(super) fn end(&mut self) {
        self.told.end.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        for _ in 0..20 {
            if thread.is_finished() {
                let _ = thread.join();
                return;
            }
            thread::sleep(LOG_PAUSE);
        }
    }
}

fn write(told: &Told, lines: &Receiver<Vec<u8>>) {
    let mut out: Option<BufWriter<Box<dyn Write>>> = None;
    loop {
        // Seen before the lines are taken: what was sent before the end is written.
        let is_last = told.end.load(Ordering::Acquire);
        if told.reopen.swap(false, Ordering::AcqRel) {
            let target = told.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
            out = target.and_then(|target| match open(&target) {
                Ok(file) => Some(BufWriter::new(file)),
                Err(error) => {
                    say(format_args!("the access log {target} cannot be opened\n  why: {error}\n  fix: make its folder, or correct `observe.access_log.to`, and reload"));
                    None
                }
            });
        }
        for line in lines.try_iter() {
            // A full disk loses lines, not requests; the next look tries again.
            let _ = out.as_mut().map(|out| out.write_all(&line));
        }
        let _ = out.as_mut().map(Write::flush);
        if is_last {
            return;
        }
        thread::sleep(LOG_PAUSE);
    }
}

fn open(target: &LogTarget) -> io::Result<Box<dyn Write>> {
    Ok(match target {
        LogTarget::Stdout => Box::new(io::stdout()),
        LogTarget::Stderr => Box::new(io::stderr()),
        LogTarget::File(path) => Box::new(append(path)?),
    })
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
