//! Event boundaries in a token stream, across any split of bytes, and which events carry a token.
//!
//! The observer only watches: the stream passes byte for byte whatever is found here, and no length of line or
//! event disturbs it.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::base::limits::EVENT_WINDOW_BYTES;

/// Counts token-bearing events of a `text/event-stream` body (WHATWG HTML §9.2).
#[derive(Debug, Default)]
pub struct EventCounter {
    /// The first bytes of a line that began in an earlier piece, up to the window.
    begun: Vec<u8>,
    /// Whether the current line began in an earlier piece, and with more than nothing.
    in_line: bool,
    /// A line of the current event says something.
    says: bool,
    /// The last byte was CR: a LF that follows belongs to the same line end.
    after_cr: bool,
}

impl EventCounter {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next bytes and tells how many token-bearing events ended in them.
    pub fn feed(&mut self, mut bytes: &[u8]) -> u64 {
        let mut tokens = 0;
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let text = &bytes[..end.unwrap_or(bytes.len())];
            let Some(end) = end else {
                self.keep(text);
                break;
            };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if !self.in_line && text.is_empty() {
                tokens += u64::from(std::mem::take(&mut self.says));
            } else if self.in_line {
                self.keep(text);
                self.says = self.says || says_something(&self.begun);
                self.begun.clear();
                self.in_line = false;
            } else {
                // Mostly a line comes in one piece, and is looked at where it lies.
                self.says = self.says || says_something(&text[..text.len().min(EVENT_WINDOW_BYTES)]);
            }
        }
        tokens
    }

    fn keep(&mut self, text: &[u8]) {
        self.in_line = true;
        let room = EVENT_WINDOW_BYTES - self.begun.len();
        self.begun.extend_from_slice(&text[..text.len().min(room)]);
    }
}

/// Whether a line says anything: not a comment, not `[DONE]`, not an empty or role-only delta, not a bare usage report.
/// Judged on its first bytes; what cannot be judged counts as a token.
fn says_something(line: &[u8]) -> bool {
    let Some(payload) = line.strip_prefix(b"data:") else { return false };
    match payload.trim_ascii() {
        b"" | b"[DONE]" => false,
        payload => payload[0] != b'{' || object_says_something(payload),
    }
}

/// Built once: to build one costs more than to use it.
struct Keys {
    delta: Finder<'static>,
    text: Finder<'static>,
    choices: Finder<'static>,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    delta: Finder::new("\"delta\":"),
    text: Finder::new("\"text\":"),
    choices: Finder::new("\"choices\":"),
});

fn object_says_something(payload: &[u8]) -> bool {
    let keys = &*KEYS;
    let value_of =
        |key: &Finder<'_>| key.find(payload).map(|at| payload[at + key.needle().len()..].trim_ascii_start());
    if let Some(delta) = value_of(&keys.delta) {
        return delta_says_something(delta);
    }
    if let Some(text) = value_of(&keys.text) {
        return !text.starts_with(b"\"\"") && !text.starts_with(b"null");
    }
    !value_of(&keys.choices).is_some_and(|choices| choices.starts_with(b"[]"))
}

/// A delta is a string, or an object of which any member but `role` is neither empty nor null.
fn delta_says_something(delta: &[u8]) -> bool {
    let Some(mut rest) = delta.strip_prefix(b"{") else {
        return !delta.starts_with(b"\"\"") && !delta.starts_with(b"null");
    };
    loop {
        rest = rest.trim_ascii_start();
        if rest.first() == Some(&b',') {
            rest = rest[1..].trim_ascii_start();
        }
        let (Some((name, after)), false) = (string(rest), rest.first() == Some(&b'}')) else {
            // The end of the object, or of the window: an unfinished member is one that says something.
            return !rest.is_empty() && rest[0] != b'}';
        };
        let Some(value) = after.trim_ascii_start().strip_prefix(b":") else { return true };
        let value = value.trim_ascii_start();
        let empty = [&b"\"\""[..], b"null", b"[]", b"{}"].into_iter().find(|empty| value.starts_with(empty));
        rest = match (empty, name) {
            (Some(empty), _) => &value[empty.len()..],
            (None, b"role") => match string(value) {
                Some((_, after)) => after,
                None => return true,
            },
            (None, _) => return true,
        };
    }
}

/// The inside of the string at the start of `bytes`, and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = bytes.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside[at] == b'"' {
            return Some((&inside[..at], &inside[at + 1..]));
        }
        at += 2;
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
