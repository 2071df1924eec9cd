//! The program's own words on stderr: handed to a thread of their own, so that nobody who speaks ever waits or fails.
//!
//! A pipe that nobody reads, or that nobody holds any more, costs words and nothing else; what was lost is counted, and
//! told once somebody reads again. Floors below `proxy` return values instead of speaking.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::choice::{Level, Words};
use super::limits::{SAID_BYTES_MAX, SAID_MAX, SAID_PAUSE, SAID_TIME};

/// What is heard: everything up to this level.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As people read them.
    Words,
    /// As programs do: one JSON object a line.
    Json,
}

impl Form {
    /// People read at a terminal.
    fn of_stderr() -> Self {
        static FORM: OnceLock<Form> = OnceLock::new();
        *FORM.get_or_init(|| if io::stderr().is_terminal() { Self::Words } else { Self::Json })
    }
}

/// What a clock shows that programs are told; none while nobody has said which, and everything is said in words.
static CLOCK: OnceLock<fn() -> SystemTime> = OnceLock::new();

/// From now on everything up to `level` is said, at the time that `clock` shows.
pub fn hear(level: Level, clock: fn() -> SystemTime) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    let _ = CLOCK.set(clock);
}

/// Says one message, a line or more, without a line end, as it is: start lines, and lines that have a form of their own.
/// Never waits, never fails.
pub fn say(words: impl Display) {
    voice().say(words.to_string());
}

/// Says that something does not work; lines that begin with `why:` and `fix:` are told as such.
pub fn error(words: impl Display) {
    tell(Level::Error, words);
}

/// Says that something works, though hardly as it was meant.
pub fn warn(words: impl Display) {
    tell(Level::Warn, words);
}

/// Says that something changed.
pub fn info(words: impl Display) {
    tell(Level::Info, words);
}

/// Says what went on, for whoever looks for a reason.
pub fn debug(words: impl Display) {
    tell(Level::Debug, words);
}

fn tell(level: Level, words: impl Display) {
    if level as u8 <= LEVEL.load(Ordering::Relaxed) {
        voice().say(stamped(level, &words.to_string()));
    }
}

fn stamped(level: Level, words: &str) -> String {
    match (Form::of_stderr(), CLOCK.get()) {
        (Form::Json, Some(clock)) => written(level, words, clock()),
        _ => words.to_owned(),
    }
}

/// A message as programs read it, without its line end.
fn written(level: Level, words: &str, now: SystemTime) -> String {
    let mut line = Map::new();
    let time = humantime::format_rfc3339_millis(now).to_string();
    line.insert("time".to_owned(), time.into());
    line.insert("level".to_owned(), level.word().into());
    let (mut message, mut name) = (String::new(), "message");
    for part in words.strip_prefix("warning: ").unwrap_or(words).lines() {
        let told = ["why", "fix"]
            .into_iter()
            .find_map(|name| Some((name, part.trim_start().strip_prefix(name)?.strip_prefix(": ")?)));
        match told {
            Some((next, text)) => {
                line.insert(name.to_owned(), std::mem::take(&mut message).into());
                (message, name) = (text.to_owned(), next);
            }
            None if message.is_empty() => message.push_str(part),
            None => message = format!("{message}\n{part}"),
        }
    }
    line.insert(name.to_owned(), message.into());
    Value::Object(line).to_string()
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
    std::panic::set_hook(Box::new(|panic| error(told(panic))));
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
            let gap = format!("{} messages were lost: stderr was not read", lost - told);
            let gap = stamped(Level::Warn, &gap) + "\n";
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
    fn programs_read_an_object_a_line() {
        let words = "it fails\n  why: no\nroom \"x\"\n  fix: make some";
        let now = SystemTime::UNIX_EPOCH;
        let line = written(Level::Error, words, now);
        assert!(!line.contains('\n'), "{line}");
        let told: Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "time": "1970-01-01T00:00:00.000Z", "level": "error", "message": "it fails", "why": "no\nroom \"x\"", "fix": "make some",
        });
        assert_eq!(told, expected);
        let told: Value = serde_json::from_str(&written(Level::Info, "draining", now)).unwrap();
        assert_eq!((&told["level"], &told["message"]), (&"info".into(), &"draining".into()));
        assert!(told["why"].is_null());
    }

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
