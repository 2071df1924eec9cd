//! The program's own words on stderr: handed to a thread of their own, so that nobody who speaks ever waits or fails.
//!
//! A pipe that nobody reads, or that nobody holds any more, costs words and nothing else; what was lost is counted, and
//! told once somebody reads again. Floors below `proxy` return values instead of speaking.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::limits::{SAID_BYTES_MAX, SAID_MAX, SAID_PAUSE, SAID_TIME};

/// Says one message, a line or more, without a line end. Never waits, never fails.
pub fn say(words: impl Display) {
    voice().say(words.to_string());
}

/// Messages that were lost since the start: nobody reads stderr, or not as fast as they come.
pub fn lost() -> u64 {
    voice().lost.load(Ordering::Relaxed)
}

/// Waits until everything said is written, within [`SAID_TIME`]: for the end of the process.
pub fn settle() {
    let steps = SAID_TIME.as_millis() / SAID_PAUSE.as_millis();
    for _ in 0..steps {
        if voice().waiting.load(Ordering::Acquire) == 0 {
            return;
        }
        thread::sleep(SAID_PAUSE);
    }
}

/// Settles when it is dropped, by a panic too.
#[derive(Debug)]
pub struct Settled;

impl Drop for Settled {
    fn drop(&mut self) {
        settle();
    }
}

/// Panics are said from now on: the standard hook waits for stderr, and would hold up a lane for as long as nobody reads.
pub fn hear_panics() {
    std::panic::set_hook(Box::new(|panic| say(told(panic))));
}

fn told(panic: &PanicHookInfo<'_>) -> String {
    let current = thread::current();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let payload = panic.payload();
    let why = payload.downcast_ref::<&str>().copied();
    let why = why.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let why = why.unwrap_or("no reason is given");
    let trace = std::backtrace::Backtrace::capture();
    let name = current.name().unwrap_or("unnamed");
    let told = format!(
        "the thread {name} panicked at {place}\n  why: {why}\n  fix: report this, it is a mistake in corelane"
    );
    match trace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("{told}\n{trace}"),
        _ => told,
    }
}

struct Voice {
    /// None where the thread could not be started: then everything is lost.
    messages: Option<SyncSender<String>>,
    /// Said and not written yet.
    waiting: AtomicUsize,
    lost: AtomicU64,
}

fn voice() -> &'static Voice {
    static VOICE: OnceLock<Voice> = OnceLock::new();
    VOICE.get_or_init(|| {
        let (sender, messages) = sync_channel(SAID_MAX);
        let spawned = thread::Builder::new().name("stderr".to_owned()).spawn(move || write(&messages));
        Voice {
            messages: spawned.is_ok().then_some(sender),
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        }
    })
}

impl Voice {
    fn say(&self, mut message: String) {
        if message.len() > SAID_BYTES_MAX {
            let end = (0..=SAID_BYTES_MAX).rev().find(|end| message.is_char_boundary(*end));
            message.truncate(end.unwrap_or(0));
            message.push('…');
        }
        message.push('\n');
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if self.messages.as_ref().is_none_or(|messages| messages.try_send(message).is_err()) {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes for the life of the process. This thread may wait for whoever reads.
fn write(messages: &Receiver<String>) {
    let mut told = 0;
    for message in messages {
        if write_all(message.as_bytes()).is_err() {
            voice().lost.fetch_add(1, Ordering::Relaxed);
        } else if lost() > told {
            let lost = lost();
            let gap = format!("{} messages were lost: stderr was not read\n", lost - told);
            told = if write_all(gap.as_bytes()).is_ok() { lost } else { told };
        }
        voice().waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whoever shares the description may have made it non-blocking: then there is waited all the same.
fn write_all(mut text: &[u8]) -> io::Result<()> {
    let mut stderr = io::stderr();
    while !text.is_empty() {
        match stderr.write(text) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => text = &text[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(SAID_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_nobody_waits() {
        let (sender, messages) = sync_channel(1);
        let voice = Voice { messages: Some(sender), waiting: AtomicUsize::new(0), lost: AtomicU64::new(0) };
        (0..3).for_each(|number| voice.say(format!("{number}")));
        assert_eq!((voice.waiting.load(Ordering::Relaxed), voice.lost.load(Ordering::Relaxed)), (1, 2));
        assert_eq!(messages.recv().unwrap(), "0\n");
        voice.say("ü".repeat(SAID_BYTES_MAX));
        assert!(messages.recv().unwrap().len() <= SAID_BYTES_MAX + "…\n".len());
    }
}
