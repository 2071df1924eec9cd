//! Event boundaries in a token stream, across any split of bytes, and which events carry a token.
//!
//! The observer only watches: the stream passes byte for byte whatever is found here, and no length of line or
//! event disturbs it.

use super::token::{carries_token, is_structural};
use super::usage_glance::tells_usage;
use crate::base::limits::EVENT_WINDOW_BYTES;

/// Counts token-bearing events of a `text/event-stream` body (WHATWG HTML §9.2).
#[derive(Debug, Default)]
pub struct EventCounter {
    /// The first bytes of a line that began in an earlier piece, up to the window.
    begun: Vec<u8>,
    /// Whether the current line began in an earlier piece, and with more than nothing.
    in_line: bool,
    /// A line of the current event carries a token.
    carries: bool,
    /// A line of the current event says that it carries none.
    structural: bool,
    /// The last byte was CR: a LF that follows belongs to the same line end.
    after_cr: bool,
    /// The last bytes held something beside data with tokens, or a part of a line.
    says_more: bool,
}

impl EventCounter {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next bytes and tells how many token-bearing events ended in them.
    pub fn feed(&mut self, mut bytes: &[u8]) -> u64 {
        let mut tokens = 0;
        self.says_more = self.in_line;
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let text = &bytes[..end.unwrap_or(bytes.len())];
            let Some(end) = end else {
                self.says_more = true;
                self.keep(text);
                break;
            };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if !self.in_line && text.is_empty() {
                let structural = std::mem::take(&mut self.structural);
                tokens += u64::from(std::mem::take(&mut self.carries) && !structural);
            } else if self.in_line {
                self.keep(text);
                let line = judge(&self.begun);
                self.note(line);
                self.begun.clear();
                self.in_line = false;
            } else {
                // Mostly a line comes in one piece, and is looked at where it lies.
                self.note(judge(&text[..text.len().min(EVENT_WINDOW_BYTES)]));
            }
        }
        tokens
    }

    /// Whether the bytes that were looked at last were more than lines that carry a token, and what stands between them.
    pub fn says_more(&self) -> bool {
        self.says_more
    }

    fn note(&mut self, line: Line) {
        match line {
            Line::Token => {
                self.carries = true;
                self.says_more |= self.structural;
            }
            Line::Both => (self.carries, self.says_more) = (true, true),
            // The data of its event may look like any other.
            Line::Structure => (self.structural, self.says_more) = (true, true),
            Line::Silent => self.says_more = true,
            Line::Aside => {}
        }
    }

    fn keep(&mut self, text: &[u8]) {
        self.in_line = true;
        let room = EVENT_WINDOW_BYTES - self.begun.len();
        self.begun.extend_from_slice(&text[..text.len().min(room)]);
    }
}

/// What one line makes of its event.
enum Line {
    /// It carries a token.
    Token,
    /// It carries one, and tells a usage.
    Both,
    /// Its event carries none, whatever else it holds.
    Structure,
    /// It is data that carries none.
    Silent,
    /// It is no data.
    Aside,
}

fn judge(line: &[u8]) -> Line {
    if let Some(data) = line.strip_prefix(b"data:") {
        return match carries_token(data.trim_ascii()) {
            true if tells_usage(data) => Line::Both,
            true => Line::Token,
            false => Line::Silent,
        };
    }
    match line.strip_prefix(b"event:") {
        Some(name) if is_structural(name.trim_ascii()) => Line::Structure,
        _ => Line::Aside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        ": comment\n\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n",
        "event: x\r\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\" \\\"you\"}}]}\r\n\r\n",
        "data: {\"choices\":[{\"delta\": {\"content\":null, \"tool_calls\":[{\"id\":1}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n",
        "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\r\r",
        "data: {\"choices\":[{\"text\":\"a\"}]}\r\r",
        "data: plain\n\n",
        "data: [DONE]\n\n",
    );

    #[test]
    fn only_events_that_say_something_count() {
        assert_eq!(EventCounter::new().feed(STREAM.as_bytes()), 5);
    }

    #[test]
    fn every_split_counts_the_same() {
        let bytes = STREAM.as_bytes();
        for at in 0..=bytes.len() {
            let mut counter = EventCounter::new();
            assert_eq!(counter.feed(&bytes[..at]) + counter.feed(&bytes[at..]), 5, "split at {at}");
        }
        let mut counter = EventCounter::new();
        assert_eq!(bytes.iter().map(|b| counter.feed(&[*b])).sum::<u64>(), 5);
    }

    #[test]
    fn an_endless_line_costs_no_memory() {
        let mut counter = EventCounter::new();
        counter.feed(b"data: ");
        for _ in 0..10_000 {
            counter.feed(&[b'x'; 1000]);
        }
        assert!(counter.begun.capacity() <= 2 * EVENT_WINDOW_BYTES);
        assert_eq!(counter.feed(b"\n\n"), 1);
    }
}
