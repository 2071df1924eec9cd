//! What is looked for in the body of an answer on its way: token-bearing events, or its first byte.

use std::time::Instant;

use crate::base::time::micros;
use crate::codec::framing::Framing;
use crate::codec::head::ResponseHead;
use crate::codec::sse::EventCounter;

/// Watches one body.
pub(super) struct Watch {
    looks_for: LooksFor,
    /// Token-bearing events in what is about to be written.
    fresh: u64,
    last: Option<Instant>,
}

enum LooksFor {
    /// Token-bearing events.
    Events(EventCounter),
    /// The first byte of a stream of another kind.
    FirstByte,
    /// Nothing: an answer of known length is no stream.
    Nothing,
}

/// Events that were handed over together.
pub(super) struct Events {
    /// How many of them are counted as tokens.
    pub(super) tokens: u64,
    /// How many have one before them, and the time since that; those that left together have no time between them.
    pub(super) gaps: u64,
    pub(super) gap_us: u64,
}

impl Watch {
    /// For the body behind `head`.
    pub(super) fn new(head: &ResponseHead, framing: Framing) -> Self {
        let looks_for = match framing {
            Framing::Empty => LooksFor::Nothing,
            _ if head.is_event_stream() => LooksFor::Events(EventCounter::new()),
            Framing::Length(_) => LooksFor::Nothing,
            Framing::Chunked | Framing::UntilClose => LooksFor::FirstByte,
        };
        Self { looks_for, fresh: 0, last: None }
    }

    /// Looks at a piece that is about to be written.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        match &mut self.looks_for {
            LooksFor::Events(counter) => self.fresh += counter.feed(piece),
            LooksFor::FirstByte => {
                self.fresh = 1;
                self.looks_for = LooksFor::Nothing;
            }
            LooksFor::Nothing => {}
        }
    }

    /// Whether the piece that was looked at last may say something beside its tokens.
    pub(super) fn says_more(&self) -> bool {
        match &self.looks_for {
            LooksFor::Events(counter) => counter.says_more(),
            LooksFor::FirstByte | LooksFor::Nothing => true,
        }
    }

    /// Whether something was found that was not taken yet.
    pub(super) fn has_fresh(&self) -> bool {
        self.fresh > 0
    }

    /// What was found was handed over at `now`.
    pub(super) fn take(&mut self, now: Instant) -> Option<Events> {
        let events = std::mem::take(&mut self.fresh);
        if events == 0 {
            return None;
        }
        let before = self.last.replace(now);
        Some(match self.looks_for {
            LooksFor::Events(_) => Events {
                tokens: events,
                gaps: if before.is_some() { events } else { events - 1 },
                gap_us: before.map_or(0, |before| micros(before, now)),
            },
            LooksFor::FirstByte | LooksFor::Nothing => Events { tokens: 0, gaps: 0, gap_us: 0 },
        })
    }
}
