//! Takes out of a stream what an engine says of its usage because we asked for it: the client gets what it would have got.
//!
//! Asked for it, an engine ends with an event of its own, and some (OpenAI, vLLM of old) write `"usage":null` into each
//! event before. Others (LitServe) write that member always, and the usage into an event that says more, asked or not. No
//! single event tells which: the whole stream does, and what was learnt of an endpoint holds for the next one.
//!
//! An event is held until it is whole, which mostly it is as it comes; one that is longer than a window passes as it is.

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde_json::Value;

use crate::base::limits::USAGE_EVENT_BYTES_MAX;

/// Cuts one stream of events.
#[derive(Debug, Default)]
pub struct UsageCut {
    /// The beginning of an event.
    begun: BytesMut,
    /// An event that is too long to be judged is under way.
    passes: bool,
    /// The engine writes `"usage":null` of its own accord.
    keeps_nulls: bool,
    /// It said its usage in an event of its own, and in one that says more.
    is_apart: bool,
    is_within: bool,
}

impl UsageCut {
    /// For an engine that, as far as is known, says its usage without being asked, or does not.
    pub fn new(says_usage: bool) -> Self {
        Self { keeps_nulls: says_usage, ..Self::default() }
    }

    /// Whether the engine says its usage without being asked, if the stream shows it.
    pub fn says_usage(&self) -> Option<bool> {
        (self.is_apart || self.is_within).then_some(!self.is_apart)
    }

    /// What becomes of the next piece.
    pub fn feed(&mut self, piece: Bytes, mut out: impl FnMut(Bytes)) {
        let goes_on = !self.begun.is_empty() && !self.begun.ends_with(b"\r");
        if goes_on
            && memchr::memchr2(b'\n', b'\r', &piece).is_none()
            && self.begun.len() < USAGE_EVENT_BYTES_MAX
        {
            // No event ends here, and what was held is not looked at once more.
            self.begun.extend_from_slice(&piece);
            return;
        }
        let all = match self.begun.is_empty() {
            true => piece,
            false => {
                self.begun.extend_from_slice(&piece);
                self.begun.split().freeze()
            }
        };
        let (whole, mut from) = (whole_events(&all), 0);
        if self.passes && whole > 0 {
            from = event_end(&all, 0);
            self.passes = false;
            out(all.slice(..from));
        }
        if from < whole {
            match memmem::find(&all[from..whole], USAGE) {
                None => out(all.slice(from..whole)),
                Some(_) => self.cut_each(&all, (from, whole), &mut out),
            }
        }
        let rest = all.slice(whole..);
        if self.passes || rest.len() > USAGE_EVENT_BYTES_MAX {
            self.passes = true;
            if !rest.is_empty() {
                out(rest);
            }
        } else {
            self.begun.extend_from_slice(&rest);
        }
    }

    fn cut_each(&mut self, bytes: &Bytes, (mut at, end): (usize, usize), out: &mut impl FnMut(Bytes)) {
        while at < end {
            let event = bytes.slice(at..event_end(bytes, at));
            at += event.len();
            match cut(&event) {
                Cut::Nothing => out(event),
                Cut::Within => {
                    self.is_within = true;
                    out(event);
                }
                Cut::All => self.is_apart = true,
                Cut::Part(..) if self.keeps_nulls => out(event),
                Cut::Part(from, to) => {
                    out(event.slice(..from));
                    out(event.slice(to..));
                }
            }
        }
    }

    /// The stream ended: what is left of it.
    pub fn end(&mut self) -> Bytes {
        self.begun.split().freeze()
    }
}

const USAGE: &[u8] = b"\"usage\"";

/// The end of the event that begins at `at`: behind its empty line.
fn event_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some((line, next)) = line_at(bytes, at) {
        at = next;
        if line.is_empty() {
            return at;
        }
    }
    bytes.len()
}

/// The end of the last event that is whole.
fn whole_events(bytes: &[u8]) -> usize {
    let (mut at, mut whole) = (0, 0);
    while let Some((line, next)) = line_at(bytes, at) {
        at = next;
        if line.is_empty() {
            whole = at;
        }
    }
    whole
}

/// The line that begins at `at`, and where the next one does; none where it may go on. At the end of what is there a CR may
/// be the first half of a line end.
fn line_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = &bytes[at..];
    let end = memchr::memchr2(b'\n', b'\r', rest)?;
    let length = match &rest[end..] {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        [b'\r', _, ..] => 1,
        _ => return None,
    };
    Some((&rest[..end], at + end + length))
}

/// What is cut of an event.
enum Cut {
    Nothing,
    /// Nothing, but it tells the usage.
    Within,
    All,
    Part(usize, usize),
}

fn cut(event: &[u8]) -> Cut {
    let mut data = None;
    let mut at = 0;
    while let Some((line, next)) = line_at(event, at) {
        if let Some(text) = line.strip_prefix(b"data:") {
            // One that has several lines of data is none of an engine's.
            if data.replace((at + line.len() - text.len(), text)).is_some() {
                return Cut::Nothing;
            }
        }
        at = next;
    }
    let Some((start, text)) = data else { return Cut::Nothing };
    let Ok(Value::Object(members)) = serde_json::from_slice(text.trim_ascii()) else { return Cut::Nothing };
    let is_last = members.get("choices").and_then(Value::as_array).is_some_and(Vec::is_empty);
    match members.get("usage") {
        Some(Value::Object(_)) if is_last => Cut::All,
        Some(Value::Object(_)) => Cut::Within,
        Some(Value::Null) => {
            null_member(text).map_or(Cut::Nothing, |(from, to)| Cut::Part(start + from, start + to))
        }
        _ => Cut::Nothing,
    }
}

/// Where the member stands that says null, with its comma; none where it stands more than once. Inside a string its quotes
/// would stand behind backslashes.
fn null_member(text: &[u8]) -> Option<(usize, usize)> {
    let mut found = memmem::find_iter(text, USAGE).filter_map(|at| {
        let after = skip(text, at + USAGE.len(), b":")?;
        let after = skip(text, after, b"null")?;
        match text[..at].trim_ascii_end() {
            [before @ .., b','] => Some((before.len(), after)),
            _ => Some((at, skip(text, after, b",")?)),
        }
    });
    found.next().filter(|_| found.next().is_none())
}

/// Behind `word`, which blanks may stand before.
fn skip(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let rest = text.get(at..)?;
    let blanks = rest.len() - rest.trim_ascii_start().len();
    rest[blanks..].starts_with(word).then_some(at + blanks + word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a stream, in any split.
    fn cut_stream(stream: &str) -> String {
        let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut cut, mut out) = (UsageCut::default(), Vec::new());
            for piece in pieces {
                cut.feed(Bytes::copy_from_slice(piece), |bytes| out.extend_from_slice(&bytes));
            }
            out.extend_from_slice(&cut.end());
            String::from_utf8(out).unwrap()
        };
        let bytes = stream.as_bytes();
        let whole = run(&mut [bytes].into_iter());
        assert_eq!(run(&mut bytes.chunks(1)), whole, "byte by byte");
        for at in 0..bytes.len() {
            assert_eq!(run(&mut [&bytes[..at], &bytes[at..]].into_iter()), whole, "cut at {at}");
        }
        whole
    }

    #[test]
    fn an_engine_that_says_it_unasked_is_known_by_its_stream_and_left_alone_then() {
        let null = "data: {\"choices\":[{\"delta\":{}}],\"usage\":null}\n\n";
        let within = "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"total_tokens\":1}}\n\n";
        let apart = "data: {\"choices\":[],\"usage\":{\"total_tokens\":1}}\n\n";
        for (stream, known, says, left) in [
            (
                format!("{null}{within}"),
                false,
                Some(true),
                format!("{}{within}", null.replace(",\"usage\":null", "")),
            ),
            (format!("{null}{within}"), true, Some(true), format!("{null}{within}")),
            (format!("{within}{apart}"), true, Some(false), within.to_owned()),
            (null.to_owned(), true, None, null.to_owned()),
        ] {
            let (mut cut, mut out) = (UsageCut::new(known), Vec::new());
            cut.feed(Bytes::from(stream), |bytes| out.extend_from_slice(&bytes));
            assert_eq!((cut.says_usage(), String::from_utf8(out).unwrap()), (says, left));
        }
    }

    #[test]
    fn only_what_was_asked_for_by_us_is_taken_out() {
        let usage = "\"usage\":{\"prompt_tokens\":1,\"total_tokens\":2}";
        for (stream, left) in [
            // vLLM of old and OpenAI: null in each, and an event of its own.
            (
                format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}],\"usage\":null}}\n\ndata: {{\"id\":1,\"choices\":[],{usage}}}\n\ndata: [DONE]\n\n"),
                "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n".to_owned(),
            ),
            (
                "data: {\"usage\": null, \"choices\": [{}]}\r\n\r\ndata: {\"choices\": [{}] , \"usage\" : null}\r\n\r\n".to_owned(),
                "data: { \"choices\": [{}]}\r\n\r\ndata: {\"choices\": [{}] }\r\n\r\n".to_owned(),
            ),
            (format!("event: x\nid: 1\ndata: {{\"choices\":[],{usage}}}\n\n: comment\n\ndata: a\n\n"), ": comment\n\ndata: a\n\n".to_owned()),
            (format!("data: {{\"choices\":[],{usage}}}\r\rdata: b\r\r"), "data: b\r\r".to_owned()),
        ] {
            assert_eq!(cut_stream(&stream), left);
        }
        let long = format!(
            "data: {{\"choices\":[],\"x\":\"{}\",{usage}}}\n\n",
            "x".repeat(3 * USAGE_EVENT_BYTES_MAX)
        );
        let mut cut = UsageCut::default();
        let mut out = Vec::new();
        long.as_bytes()
            .chunks(1000)
            .for_each(|piece| cut.feed(Bytes::copy_from_slice(piece), |bytes| out.extend_from_slice(&bytes)));
        cut.feed(Bytes::from(format!("data: {{\"choices\":[],{usage}}}\n\nx")), |bytes| {
            out.extend_from_slice(&bytes)
        });
        out.extend_from_slice(&cut.end());
        let expected = [long.as_bytes(), b"x"].concat();
        assert!(
            out == expected,
            "what is too long to be judged passes, and the next is judged again: {}",
            out.len()
        );
        for same in [
            // What the client asked for itself, or a model said.
            format!("data: {{\"choices\":[{{\"delta\":{{}}}}],{usage}}}\n\n"),
            "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":null\"}}]}\n\n".to_owned(),
            "data: {\"choices\":[{\"usage\":null}]}\n\n".to_owned(),
            "data: {\"choices\":[{\"a\":1,\"usage\":null}],\"usage\":null}\n\n".to_owned(),
            "data: \"usage\"\n\n".to_owned(),
            "data: {\"choices\":[],\ndata: \"usage\":{}}\n\n".to_owned(),
            "data: {\"choices\":[]}\n\ndata: {\"usage\":null".to_owned(),
            "\n\n\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(cut_stream(&same), same);
        }
    }
}
