//! What an answer says of its tokens, found by the names alone in its first bytes and in the last ones of each piece of it: engines
//! say it behind all else, in a few numbers that have names like no others. Nothing is kept but the numbers, and what was begun of
//! one.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::usage_members::{Usage, field_named};
use crate::base::limits::{USAGE_BEGUN_BYTES, USAGE_LAST_BYTES};

/// Built once: to build one costs more than to use it.
static TOKENS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("_tokens\""));
static COUNTS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("eval_count\""));
static MODEL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"model\""));

/// What was found so far of one answer.
#[derive(Debug, Default)]
pub(super) struct Glance {
    /// What stands behind the last comma, brace or line end: a member may go on from there.
    begun: Vec<u8>,
    /// Some of it was looked at.
    is_begun: bool,
}

impl Glance {
    /// Looks at the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], usage: &mut Usage) {
        if !self.begun.is_empty() {
            let end = bytes.iter().take(USAGE_BEGUN_BYTES).position(|byte| is_end(*byte));
            let rest = end.map_or(bytes.len().min(USAGE_BEGUN_BYTES), |end| end + 1);
            self.begun.extend_from_slice(&bytes[..rest]);
            look(&self.begun, usage);
            if end.is_none() && self.begun.len() <= USAGE_BEGUN_BYTES {
                return;
            }
            self.begun.clear();
        }
        // Streams may say at their beginning what their prompt was.
        if !std::mem::replace(&mut self.is_begun, true) && bytes.len() > USAGE_LAST_BYTES {
            look(&bytes[..USAGE_LAST_BYTES], usage);
        }
        let last = &bytes[bytes.len().saturating_sub(USAGE_LAST_BYTES)..];
        look(last, usage);
        let begun = last.iter().rev().take(USAGE_BEGUN_BYTES).position(|byte| is_end(*byte));
        if let Some(begun @ 1..) = begun.or((last.len() < USAGE_BEGUN_BYTES).then_some(last.len())) {
            self.begun.extend_from_slice(&last[last.len() - begun..]);
        }
    }
}

/// Whether no name or number of a member goes on behind this byte.
fn is_end(byte: u8) -> bool {
    matches!(byte, b',' | b'{' | b'}' | b'\n')
}

/// The last word counts.
fn look(part: &[u8], usage: &mut Usage) {
    let before = *usage;
    numbers(&TOKENS, part, usage);
    // No engine speaks two dialects at once.
    if *usage == before {
        numbers(&COUNTS, part, usage);
    }
}

fn numbers(finder: &Finder<'_>, part: &[u8], usage: &mut Usage) {
    for (name, value) in members(finder, part) {
        if let (Some(of), Some(number)) = (field_named(name), number(value)) {
            *of(usage) = Some(number);
        }
    }
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
    fn members_are_found_by_their_names_in_any_split() {
        let long = "x".repeat(3 * USAGE_LAST_BYTES);
        for (text, input, output) in [
            (
                r#"{"prompt_tokens" : 2,"b":"\"input_tokens\":3","c":"output_tokens","_tokens":4}"#
                    .to_owned(),
                Some(2),
                None,
            ),
            (
                format!(
                    "{{\"a\":\"{long}\",\"usage\":{{\"prompt_tokens\":12345,\"completion_tokens\":6.0}}}}"
                ),
                Some(12345),
                Some(6),
            ),
            ("{\"prompt_eval_count\":5,\"eval_count\":6}\n".to_owned(), Some(5), Some(6)),
            ("{\"prompt_tokens\":null,\"output_tokens\":\"7\",\"input_tokens\":-1}".to_owned(), None, None),
            ("{\"prompt_tokens\":1}\n{\"prompt_tokens\":2}\n".to_owned(), Some(2), None),
            ("{\"prompt_tokens\":1".to_owned(), None, None),
        ] {
            for piece in [1, 3, 7, 64, 1000, usize::MAX] {
                let (mut glance, mut usage) = (Glance::default(), Usage::default());
                text.as_bytes().chunks(piece).for_each(|piece| glance.feed(piece, &mut usage));
                assert_eq!(
                    (usage.input, usage.output),
                    (input, output),
                    "{piece} {}",
                    &text[..text.len().min(90)]
                );
                assert!(glance.begun.capacity() <= 4 * USAGE_BEGUN_BYTES);
            }
        }
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
