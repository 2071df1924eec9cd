//! Event boundaries in a token stream, across any split of bytes, and which events carry a token.
//!
//! The observer only watches: the stream passes byte for byte whatever is found here, and no length of line or
//! event disturbs it.

use crate::base::limits::EVENT_WINDOW_BYTES;

/// Counts token-bearing events of a `text/event-stream` body (WHATWG HTML §9.2).
#[derive(Debug, Default)]
pub struct EventCounter {
    /// The first bytes of the current event, up to the window.
    window: Vec<u8>,
    /// Length of the current line so far; zero at its start.
    line: usize,
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
            if self.after_cr && bytes[0] == b'\n' {
                self.after_cr = false;
                bytes = &bytes[1..];
                continue;
            }
            self.after_cr = false;
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let text = &bytes[..end.unwrap_or(bytes.len())];
            self.line += text.len();
            self.keep(text);
            let Some(end) = end else { break };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if self.line == 0 {
                tokens += u64::from(carries_token(&self.window));
                self.window.clear();
            } else {
                self.keep(b"\n");
            }
            self.line = 0;
        }
        tokens
    }

    fn keep(&mut self, text: &[u8]) {
        let room = EVENT_WINDOW_BYTES - self.window.len();
        self.window.extend_from_slice(&text[..text.len().min(room)]);
    }
}

/// Whether an event says anything: not a comment, not `[DONE]`, not an empty or role-only delta, not a bare usage
/// report. Judged on its first bytes; what cannot be judged counts as a token.
fn carries_token(event: &[u8]) -> bool {
    event
        .split(|&b| b == b'\n')
        .filter_map(|line| line.strip_prefix(b"data:"))
        .map(<[u8]>::trim_ascii)
        .any(|payload| !payload.is_empty() && payload != b"[DONE]" && payload_says_something(payload))
}

fn payload_says_something(payload: &[u8]) -> bool {
    if payload[0] != b'{' {
        return true;
    }
    let find = |key: &[u8]| {
        memchr::memmem::find(payload, key).map(|at| payload[at + key.len()..].trim_ascii_start())
    };
    if let Some(delta) = find(b"\"delta\":") {
        return delta_says_something(delta);
    }
    if let Some(text) = find(b"\"text\":") {
        return !text.starts_with(b"\"\"") && !text.starts_with(b"null");
    }
    !find(b"\"choices\":").is_some_and(|choices| choices.starts_with(b"[]"))
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
        assert!(counter.window.capacity() <= 2 * EVENT_WINDOW_BYTES);
        assert_eq!(counter.feed(b"\n\n"), 1);
    }
}
