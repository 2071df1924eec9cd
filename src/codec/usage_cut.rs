//! Takes out of a stream what an engine says of its usage because we asked for it: the client gets what it would have got.
//!
//! Asked for it, an engine ends with an event of its own, and some (OpenAI, vLLM of old) write `"usage":null` into each
//! event before. Others (LitServe) write that member always, and the usage into an event that says more, asked or not. No
//! single event tells which: the whole stream does, and what it showed of an endpoint's habits holds for the next one.
//!
//! Two engines move something else into that last event: vLLM its fingerprint, from each event that ends a choice, llama.cpp
//! its timings, from the last of them. Of an engine that showed that, what ends a choice is held until the next event comes,
//! which follows at once.
//!
//! An event is held until it is whole, which mostly it is as it comes; one that is longer than a window passes as it is.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::limits::USAGE_EVENT_BYTES_MAX;

/// Cuts one stream of events.
#[derive(Debug, Default)]
pub struct UsageCut {
    /// The beginning of an event.
    begun: BytesMut,
    /// An event that is too long to be judged is under way.
    passes: bool,
    /// What is known of the engine.
    known: Habits,
    /// It said its usage in an event of its own, and in one that says more.
    is_apart: bool,
    is_within: bool,
    /// It moved members from the last event that ended a choice into that one.
    moves: bool,
    /// Which of [`MOVED`] that event had.
    had: [bool; MOVED.len()],
    held: Option<Held>,
}

/// An event that ends a choice, up to its closing brace and from there on.
#[derive(Debug)]
struct Held {
    before: Vec<Bytes>,
    behind: Bytes,
    /// Which of [`MOVED`] it has.
    has: [bool; MOVED.len()],
}

/// Members that engines move into the event of the usage.
const MOVED: [&str; 2] = ["system_fingerprint", "timings"];

/// How an engine tells its usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Habits {
    /// Without being asked.
    says_usage: bool,
    /// In an event that has members which else stand in what ends a choice.
    moves: bool,
}

impl UsageCut {
    /// For an engine of which so much is known.
    pub fn new(known: Habits) -> Self {
        Self { known, ..Self::default() }
    }

    /// What the stream showed of the engine, if it showed something.
    pub fn shown(&self) -> Option<Habits> {
        let is_shown = self.is_apart || self.is_within;
        is_shown.then_some(Habits { says_usage: !self.is_apart, moves: self.moves })
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
            self.release(&[], &mut out);
            out(all.slice(..from));
        }
        if from < whole {
            let says = |what: &[u8]| memmem::find(&all[from..whole], what).is_some();
            match self.held.is_some() || says(USAGE) || says(FINISH) {
                false => out(all.slice(from..whole)),
                true => self.cut_each(&all, (from, whole), &mut out),
            }
        }
        let rest = all.slice(whole..);
        if self.passes || rest.len() > USAGE_EVENT_BYTES_MAX {
            self.release(&[], &mut out);
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
            let Some(Said { data, is_last, usage, ends, has }) = said(&event) else {
                self.release(&[], out);
                out(event);
                continue;
            };
            if usage == Usage::Told && is_last {
                let moved = moved(&event[data]);
                self.is_apart = true;
                self.moves = moved.iter().zip(self.had).any(|(moved, had)| moved.is_some() && !had);
                self.release(&moved, out);
                continue;
            }
            self.release(&[], out);
            self.is_within |= usage == Usage::Told;
            let null = match usage {
                Usage::Null if !self.known.says_usage => null_member(&event[data.clone()]),
                _ => None,
            };
            let (mut before, mut at) = (Vec::new(), 0);
            if let Some((from, to)) = null {
                before.push(event.slice(..data.start + from));
                at = data.start + to;
            }
            if ends {
                self.had = has;
            }
            if !(ends && self.known.moves) {
                before.into_iter().for_each(&mut *out);
                out(event.slice(at..));
                continue;
            }
            let brace = data.end - 1;
            before.push(event.slice(at..brace));
            self.held = Some(Held { before, behind: event.slice(brace..), has });
        }
    }

    /// Lets go of what is held, with members that were moved out of it.
    fn release(&mut self, moved: &[Option<Bytes>], out: &mut impl FnMut(Bytes)) {
        let Some(Held { before, behind, has }) = self.held.take() else { return };
        before.into_iter().for_each(&mut *out);
        for ((name, has), value) in MOVED.iter().zip(has).zip(moved) {
            if let (false, Some(value)) = (has, value) {
                out(Bytes::from(format!(",\"{name}\":")));
                out(value.clone());
            }
        }
        out(behind);
    }

    /// The stream ended: what is left of it.
    pub fn end(&mut self) -> Bytes {
        let mut left = BytesMut::new();
        self.release(&[], &mut |bytes| left.extend_from_slice(&bytes));
        left.extend_from_slice(&self.begun.split());
        left.freeze()
    }
}

const USAGE: &[u8] = b"\"usage\"";
/// As those engines write what ends a choice.
const FINISH: &[u8] = b"\"finish_reason\":\"";

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

/// What an event says.
struct Said {
    /// Where its document stands.
    data: Range<usize>,
    /// It has no choice.
    is_last: bool,
    usage: Usage,
    /// It ends a choice.
    ends: bool,
    /// Which of [`MOVED`] it has.
    has: [bool; MOVED.len()],
}

#[derive(Debug, PartialEq, Eq)]
enum Usage {
    Told,
    Null,
    Absent,
}

fn said(event: &[u8]) -> Option<Said> {
    let mut data = None;
    let mut at = 0;
    while let Some((line, next)) = line_at(event, at) {
        if let Some(text) = line.strip_prefix(b"data:") {
            let begin = at + line.len() - text.trim_ascii_start().len();
            // One that has several lines of data is none of an engine's.
            if data.replace(begin..begin + text.trim_ascii().len()).is_some() {
                return None;
            }
        }
        at = next;
    }
    let data = data?;
    let Ok(Value::Object(members)) = serde_json::from_slice(&event[data.clone()]) else { return None };
    let choices = members.get("choices").and_then(Value::as_array);
    let ends = |choice: &Value| choice.get("finish_reason").is_some_and(Value::is_string);
    Some(Said {
        is_last: choices.is_some_and(Vec::is_empty),
        usage: match members.get("usage") {
            Some(Value::Object(_)) => Usage::Told,
            Some(Value::Null) => Usage::Null,
            _ => Usage::Absent,
        },
        ends: choices.is_some_and(|choices| choices.iter().any(ends)),
        has: MOVED.map(|name| members.contains_key(name)),
        data,
    })
}

/// What members of [`MOVED`] a document has, as they are written.
fn moved(document: &[u8]) -> [Option<Bytes>; MOVED.len()] {
    #[derive(Default, Deserialize)]
    struct Moved<'d> {
        #[serde(borrow)]
        system_fingerprint: Option<&'d RawValue>,
        #[serde(borrow)]
        timings: Option<&'d RawValue>,
    }
    let Moved { system_fingerprint, timings } = serde_json::from_slice(document).unwrap_or_default();
    [system_fingerprint, timings]
        .map(|value| value.map(|value| Bytes::copy_from_slice(value.get().as_bytes())))
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
            let known = Habits { says_usage: known, ..Habits::default() };
            let (mut cut, mut out) = (UsageCut::new(known), Vec::new());
            cut.feed(Bytes::from(stream), |bytes| out.extend_from_slice(&bytes));
            let shown = cut.shown().map(|habits| habits.says_usage);
            assert_eq!((shown, String::from_utf8(out).unwrap()), (says, left));
        }
    }

    #[test]
    fn a_fingerprint_goes_back_to_where_it_stands_in_streams_that_tell_no_usage() {
        let token = "data: {\"choices\":[{\"finish_reason\":null}]}\n\n";
        let end = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n";
        let marked = "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"system_fingerprint\":\"v-1\"}\n\n";
        let apart = "data: {\"choices\":[],\"usage\":{},\"system_fingerprint\":\"v-1\"}\n\n";
        let mut known = Habits::default();
        for (stream, left) in [
            (format!("{token}{end}{apart}"), format!("{token}{end}")),
            (format!("{token}{end}{apart}"), format!("{token}{marked}")),
            // Of two choices only the one that ends last has it back.
            (format!("{end}{token}{end}{apart}"), format!("{end}{token}{marked}")),
            // None is made up where there is none.
            (format!("{token}{end}"), format!("{token}{end}")),
            (format!("{token}{marked}{apart}"), format!("{token}{marked}")),
            // That one moved nothing.
            (format!("{token}{end}{apart}"), format!("{token}{end}")),
        ] {
            let (mut cut, mut out) = (UsageCut::new(known), Vec::new());
            stream.as_bytes().chunks(7).for_each(|piece| {
                cut.feed(Bytes::copy_from_slice(piece), |bytes| out.extend_from_slice(&bytes));
            });
            out.extend_from_slice(&cut.end());
            assert_eq!(String::from_utf8(out).unwrap(), left);
            known = cut.shown().unwrap_or(known);
        }
        // llama.cpp: what was measured goes back as it is written; a stream that was cut ends with what was held, and
        // what is too long to be judged comes behind it.
        let timed =
            "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{\"ms\":1.50e2, \"n\":1}}\n\n";
        let apart = "data: {\"choices\":[],\"usage\":{},\"timings\":{\"ms\":1.50e2, \"n\":1}}\n\n";
        let long = format!("data: {}\n\n", "x".repeat(3 * USAGE_EVENT_BYTES_MAX));
        for (stream, left) in [
            (format!("{token}{end}{apart}data: [DONE]\n\n"), format!("{token}{timed}data: [DONE]\n\n")),
            (format!("{end}: comment\n\n{apart}"), format!("{end}: comment\n\n")),
            (format!("{token}{end}dat"), format!("{token}{end}dat")),
            (format!("{end}{long}{end}"), format!("{end}{long}{end}")),
        ] {
            for piece in [1, 7, 8_000, USAGE_EVENT_BYTES_MAX, stream.len()] {
                let known = Habits { moves: true, ..Habits::default() };
                let (mut cut, mut out) = (UsageCut::new(known), Vec::new());
                stream.as_bytes().chunks(piece).for_each(|piece| {
                    cut.feed(Bytes::copy_from_slice(piece), |bytes| out.extend_from_slice(&bytes));
                });
                out.extend_from_slice(&cut.end());
                assert!(String::from_utf8(out).unwrap() == left, "in pieces of {piece}");
            }
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
