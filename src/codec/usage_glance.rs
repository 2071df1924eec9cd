//! What an answer says of its tokens, in the first and the last bytes of each piece of it, wherever a `usage` is opened: engines say
//! it behind all else, or before. Nothing is kept but the numbers, and what was begun of one.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::usage_members::{Usage, field_named};
use crate::base::limits::{USAGE_BEGUN_BYTES, USAGE_LAST_BYTES, USAGE_OBJECT_BYTES_MAX};

/// Built once: to build one costs more than to use it.
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static COUNTS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("eval_count\""));
static MODEL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"model\""));

/// What was begun of one answer.
#[derive(Debug)]
pub(super) struct Glance {
    /// What stands behind the last comma, brace or line end: a name may go on from there.
    begun: Vec<u8>,
    /// A usage that is not all there yet, from its brace on.
    object: Vec<u8>,
    /// Whether they are lines or a document, where a dialect has its counts beside all else.
    has_counts: bool,
}

impl Glance {
    /// For a stream of events, or for anything else.
    pub(super) fn new(is_events: bool) -> Self {
        Self { begun: Vec::new(), object: Vec::new(), has_counts: !is_events }
    }

    /// Looks at the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], usage: &mut Usage) {
        let bytes = match self.object.is_empty() {
            true => self.end_name(bytes, usage),
            false => self.end_object(bytes, usage),
        };
        if bytes.len() > USAGE_LAST_BYTES {
            // Streams may say at their beginning what their prompt was.
            self.look(&bytes[..USAGE_LAST_BYTES], usage);
            self.object.clear();
        }
        let last = &bytes[bytes.len().saturating_sub(USAGE_LAST_BYTES)..];
        self.look(last, usage);
        if !self.object.is_empty() {
            return;
        }
        let begun = last.iter().rev().take(USAGE_BEGUN_BYTES).position(|byte| is_end(*byte));
        if let Some(begun @ 1..) = begun.or((last.len() < USAGE_BEGUN_BYTES).then_some(last.len())) {
            self.begun.extend_from_slice(&last[last.len() - begun..]);
        }
    }

    /// Goes on with a name that was begun: what is left behind it.
    fn end_name<'b>(&mut self, bytes: &'b [u8], usage: &mut Usage) -> &'b [u8] {
        if self.begun.is_empty() {
            return bytes;
        }
        let end = bytes.iter().take(USAGE_BEGUN_BYTES).position(|byte| is_end(*byte));
        let (name, rest) = bytes.split_at(end.map_or(bytes.len().min(USAGE_BEGUN_BYTES), |end| end + 1));
        self.begun.extend_from_slice(name);
        if end.is_none() && self.begun.len() <= USAGE_BEGUN_BYTES {
            return b"";
        }
        let begun = std::mem::take(&mut self.begun);
        self.look(&begun, usage);
        match self.object.is_empty() {
            true => rest,
            false => self.end_object(rest, usage),
        }
    }

    /// Goes on with a usage that was begun: what is left behind it.
    fn end_object<'b>(&mut self, bytes: &'b [u8], usage: &mut Usage) -> &'b [u8] {
        let before = self.object.len();
        let room = USAGE_OBJECT_BYTES_MAX.saturating_sub(before).min(bytes.len());
        self.object.extend_from_slice(&bytes[..room]);
        let rest = match read(&self.object) {
            Some((told, end)) => {
                usage.update(told);
                &bytes[end.saturating_sub(before)..]
            }
            None if self.object.len() < USAGE_OBJECT_BYTES_MAX => return b"",
            None => bytes,
        };
        self.object.clear();
        rest
    }

    /// The last word counts. Each byte is looked at once, whatever an engine sends: behind an object that has no end nothing more
    /// is looked for.
    fn look(&mut self, part: &[u8], usage: &mut Usage) {
        let (mut rest, mut is_told) = (part, false);
        while let Some(at) = USAGE.find(rest) {
            rest = &rest[at + USAGE.needle().len()..];
            let Some(object) = opened(rest) else { continue };
            is_told = true;
            let most = &object[..object.len().min(USAGE_OBJECT_BYTES_MAX)];
            rest = match read(most) {
                Some((told, end)) => {
                    usage.update(told);
                    &object[end..]
                }
                None if most.len() == object.len() => {
                    self.object.extend_from_slice(object);
                    b""
                }
                None => &object[most.len()..],
            };
        }
        // No engine speaks two dialects at once.
        if self.has_counts && !is_told {
            for (name, value) in members(&COUNTS, part) {
                if let (Some(of), Some(number)) = (field_named(name), number(value)) {
                    *of(usage) = Some(number);
                }
            }
        }
    }
}

/// Whether a line of a stream tells a usage, beside whatever else.
pub(super) fn tells_usage(line: &[u8]) -> bool {
    let last = &line[line.len().saturating_sub(USAGE_OBJECT_BYTES_MAX / 2)..];
    USAGE.find(last).is_some_and(|at| opened(&last[at + USAGE.needle().len()..]).is_some())
}

/// The object that stands behind a name.
fn opened(behind: &[u8]) -> Option<&[u8]> {
    let value = behind.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    value.starts_with(b"{").then_some(value)
}

/// Whether no name of a member goes on behind this byte.
fn is_end(byte: u8) -> bool {
    matches!(byte, b',' | b'{' | b'}' | b'\n')
}

/// What an object says that begins here, and where it ends; none where it does not. What stands in a list, or deeper than the
/// details, is said of something else.
fn read(object: &[u8]) -> Option<(Usage, usize)> {
    let (mut told, mut name) = (Usage::default(), &b""[..]);
    let (mut depth, mut lists, mut at) = (0_u32, 0_u32, 0);
    while let Some(byte) = object.get(at) {
        match byte {
            b'"' => {
                let mut end = at + 1;
                loop {
                    end += memchr::memchr2(b'"', b'\\', object.get(end..)?)?;
                    if object[end] == b'"' {
                        break;
                    }
                    end += 2;
                }
                name = &object[at + 1..end];
                at = end;
            }
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some((told, at + 1));
                }
            }
            b'[' => lists += 1,
            b']' => lists = lists.saturating_sub(1),
            b'0'..=b'9' | b'-' => {
                let value = &object[at..];
                let length = value.iter().position(|byte| !is_of_number(*byte))?;
                let is_meant = lists == 0 && (depth == 1 || (depth == 2 && name == b"cached_tokens"));
                if let (true, Some(of), Some(number)) = (is_meant, field_named(name), number(value)) {
                    *of(&mut told) = Some(number);
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The members of a part of a document that `finder` finds by the ends of their names: the name, and what stands behind the colon.
/// Inside a string the closing quote would stand behind a backslash, so nothing is found in what a model said.
fn members<'a>(finder: &Finder<'_>, part: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let length = finder.needle().len();
    finder.find_iter(part).filter_map(move |at| {
        let (before, behind) = part.split_at(at + length - 1);
        let value = behind[1..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let begins = before.iter().rposition(|byte| *byte == b'"')? + 1;
        Some((&before[begins..], value))
    })
}

/// A number of tokens, written as `43` or `43.0`, if it is all there.
fn number(value: &[u8]) -> Option<u64> {
    let end = value.iter().take(USAGE_BEGUN_BYTES).position(|byte| !is_of_number(*byte))?;
    let text = std::str::from_utf8(&value[..end]).ok()?;
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
    })
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')
}

/// The first model that is named in a part of a document, if its name is written plainly.
pub(super) fn model(part: &[u8]) -> Option<&str> {
    MODEL.find_iter(part).find_map(|at| {
        let value = part[at + 7..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let text = value.strip_prefix(b"\"")?;
        let end = memchr::memchr2(b'"', b'\\', text).filter(|end| text[*end] == b'"')?;
        std::str::from_utf8(&text[..end]).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_is_found_in_any_split_and_nothing_else_is() {
        let long = "x".repeat(3 * USAGE_LAST_BYTES);
        let behind = "y".repeat(USAGE_LAST_BYTES / 2);
        for (text, input, output) in [
            (r#"{"usage" : {"prompt_tokens" : 2 , "b":"\"input_tokens\":3","c":["output_tokens"]} }"#.to_owned(), Some(2), None),
            (format!("{{\"a\":\"{long}\",\"usage\":{{\"prompt_tokens\":12345,\"completion_tokens\":6.0}}}}"), Some(12345), Some(6)),
            (format!("{{\"usage\":{{\"prompt_tokens\":1}},\"logprobs\":\"{behind}\"}}"), Some(1), None),
            ("{\"prompt_eval_count\":5,\"eval_count\":6}\n".to_owned(), Some(5), Some(6)),
            ("{\"usage\":{\"prompt_tokens\":null,\"output_tokens\":\"7\",\"input_tokens\":-1}}".to_owned(), None, None),
            ("{\"usage\":{\"prompt_tokens\":1}}\n{\"usage\":{\"prompt_tokens\":2}}\n".to_owned(), Some(2), None),
            // What a tool is given, a list of rounds, somebody's report.
            (r#"{"usage":{"input_tokens":7,"iterations":[{"input_tokens":5,"output_tokens":2}],"output_tokens":3}}"#.to_owned(), Some(7), Some(3)),
            (r#"{"usage":{"input_tokens":7},"content":[{"input":{"output_tokens":99,"prompt_tokens":88}}]}"#.to_owned(), Some(7), None),
            (r#"{"usage":{"x":{"input_tokens":7}},"data":[{"input_tokens":5000000}]}"#.to_owned(), None, None),
            ("{\"usage\":{\"prompt_tokens\":1".to_owned(), None, None),
            ("{\"usage\":null,\"a\":\"\\\"usage\\\":{\\\"input_tokens\\\":4}\"}".to_owned(), None, None),
        ] {
            for piece in [1, 3, 7, 64, 1000, usize::MAX] {
                let (mut glance, mut usage) = (Glance::new(false), Usage::default());
                text.as_bytes().chunks(piece).for_each(|piece| glance.feed(piece, &mut usage));
                assert_eq!((usage.input, usage.output), (input, output), "{piece} {}", &text[..text.len().min(90)]);
                assert!(glance.begun.capacity() + glance.object.capacity() <= 2 * USAGE_OBJECT_BYTES_MAX);
            }
        }
    }

    #[test]
    fn an_engine_that_opens_one_in_the_other_is_looked_at_once() {
        let (mut glance, mut usage) = (Glance::new(true), Usage::default());
        let nested = "\"usage\":{".repeat(3 * USAGE_OBJECT_BYTES_MAX);
        glance.feed(nested.as_bytes(), &mut usage);
        assert!(glance.object.len() <= USAGE_OBJECT_BYTES_MAX && glance.begun.len() <= USAGE_BEGUN_BYTES);
        glance.feed(&b" ".repeat(2 * USAGE_OBJECT_BYTES_MAX), &mut usage);
        glance.feed(b"{\"usage\":{\"input_tokens\":4}}", &mut usage);
        assert_eq!(usage.input, Some(4));
    }

    #[test]
    fn a_model_is_read_where_it_is_written_plainly() {
        for (text, expected) in [
            (r#"{"id":1,"model" : "m-7b","x":"#, Some("m-7b")),
            (r#"{"m":"\"model\":\"x\"","model":null,"y":{"model":"z"}}"#, Some("z")),
            (r#"{"model":"a\"b"}"#, None),
            (r#"{"model":"unen"#, None),
        ] {
            assert_eq!(model(text.as_bytes()), expected, "{text}");
        }
    }
}
