//! Faults that a request asks for with `x-sim`.

use std::time::Duration;

use crate::codec::head::RequestHead;

/// What goes wrong on purpose.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Faults {
    /// Answer with this status and nothing else.
    pub(super) status: Option<u16>,
    /// `retry-after` beside that status, seconds.
    pub(super) retry_after: Option<u32>,
    /// Wait before doing anything.
    pub(super) delay: Option<Duration>,
    /// How the answer breaks.
    pub(super) broken: Broken,
    /// Where it pauses.
    pub(super) pauses: Pauses,
}

/// Pauses inside an answer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pauses {
    /// Of a stream, between its head and the first token.
    pub(super) first: Duration,
    /// Of a stream of several, before the last token.
    pub(super) token: Duration,
    /// Inside the body, but between no tokens.
    pub(super) body: Duration,
}

/// How an answer breaks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// It does not.
    #[default]
    No,
    /// The connection is reset before the first byte.
    ResetHead,
    /// The connection is reset inside the body.
    ResetBody,
    /// The connection is closed inside the body.
    Truncate,
    /// The answer stops inside the body and the connection stays.
    Stall,
}

impl Faults {
    /// Reads `status=503`, `retry-after=2`, `delay=200ms`, `first=5ms`, `token=5ms`, `body=5ms`, `reset=head`, `reset=body`,
    /// `truncate`, `stall`, separated by commas; the error is what was not understood.
    pub(super) fn of(head: &RequestHead) -> Result<Self, String> {
        let mut faults = Self::default();
        for value in head.head().values_of(b"x-sim") {
            for wish in crate::codec::field::list(value) {
                let wish = String::from_utf8_lossy(wish);
                let (name, value) = wish.split_once('=').unwrap_or((&wish, ""));
                let understood = match (name.trim(), value.trim()) {
                    ("status", status) => {
                        faults.status = status.parse().ok().filter(|status| (200..=599).contains(status));
                        faults.status.is_some()
                    }
                    ("retry-after", seconds) => {
                        faults.retry_after = seconds.parse().ok();
                        faults.retry_after.is_some()
                    }
                    ("delay", delay) => {
                        faults.delay = milliseconds(delay);
                        faults.delay.is_some()
                    }
                    ("first", pause) => set(&mut faults.pauses.first, pause),
                    ("token", pause) => set(&mut faults.pauses.token, pause),
                    ("body", pause) => set(&mut faults.pauses.body, pause),
                    ("reset", "head") => faults.breaks(Broken::ResetHead),
                    ("reset", "body") => faults.breaks(Broken::ResetBody),
                    ("truncate", "") => faults.breaks(Broken::Truncate),
                    ("stall", "") => faults.breaks(Broken::Stall),
                    _ => false,
                };
                if !understood {
                    return Err(format!("x-sim: {wish:?} is not understood"));
                }
            }
        }
        Ok(faults)
    }

    fn breaks(&mut self, how: Broken) -> bool {
        self.broken = how;
        true
    }
}

fn set(pause: &mut Duration, text: &str) -> bool {
    milliseconds(text).map(|time| *pause = time).is_some()
}

fn milliseconds(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().ok().map(Duration::from_millis),
        None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
    }
}
