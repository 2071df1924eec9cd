//! How many tokens an answer says it took: OpenAI's chat, completions and responses, Anthropic's messages, Ollama's lines. It
//! is read as it passes, a line longer than a window as it comes.

use std::sync::{Arc, LazyLock};

use memchr::memmem;
use serde_json::Value;

use super::content::is_encoded;
use super::field::FieldName;
use super::head::ResponseHead;
use super::json::{Member, Scanner, Wanted};
use super::usage_glance::{Glance, model};
pub use super::usage_members::Usage;
use super::usage_members::{MEMBERS, Of};
use crate::base::limits::{MODEL_FIRST_BYTES, USAGE_LINE_BYTES_MAX};

/// Reads the usage out of one answer.
#[derive(Debug)]
pub struct UsageReader {
    usage: Usage,
    form: Form,
    /// The first bytes, where somebody wants to know the model.
    first: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Form {
    /// One JSON document.
    Document(Box<Scanner>),
    /// Lines: of events, which begin with `data:`, or of JSON documents.
    Lines { begun: Vec<u8>, long: Option<Box<Scanner>>, documents: u64 },
    /// The end of each piece of either, which is nearly always all of it, at a small part of the cost.
    Glance(Glance),
    /// Nothing that is understood.
    Other,
}

/// What a body is.
enum Kind {
    /// Events, or JSON documents, one a line.
    Lines,
    /// One JSON document.
    Document,
    /// Nothing that is understood.
    Other,
}

impl Kind {
    fn of(head: &ResponseHead) -> Self {
        let Some(value) = head.head().value(FieldName::ContentType) else { return Self::Other };
        let kind = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |known: &&[u8]| kind.eq_ignore_ascii_case(known);
        let is_suffixed = || kind.len() > 5 && kind[kind.len() - 5..].eq_ignore_ascii_case(b"+json");
        const DOCUMENTS: [&[u8]; 3] = [b"application/json", b"text/json", b"application/x-json"];
        const LINES: [&[u8]; 4] =
            [b"text/event-stream", b"application/x-ndjson", b"application/jsonl", b"application/json-lines"];
        match () {
            () if is_encoded(head.head()) => Self::Other,
            () if DOCUMENTS.iter().any(is) || is_suffixed() => Self::Document,
            () if LINES.iter().any(is) => Self::Lines,
            () => Self::Other,
        }
    }
}

/// Those of a line that is read as it comes, wherever a dialect has them.
static LONG: LazyLock<Vec<(String, Of)>> = LazyLock::new(|| {
    let within =
        |prefix: &'static str| MEMBERS.iter().map(move |(path, of)| (format!("{prefix}{path}"), *of));
    ["", "message.", "response."].into_iter().flat_map(within).collect()
});

static WANTED: LazyLock<Arc<Wanted>> = LazyLock::new(|| wanted(&MEMBERS));
static WANTED_LONG: LazyLock<Arc<Wanted>> = LazyLock::new(|| wanted(&LONG));

fn wanted<P: AsRef<str>>(members: &[(P, Of)]) -> Arc<Wanted> {
    Wanted::of(members.iter().map(|(path, _)| path))
}

impl UsageReader {
    /// For the body behind `head`, of which every byte is read: what is paid for must be exact.
    pub fn new(head: &ResponseHead) -> Self {
        let form = match Kind::of(head) {
            Kind::Lines => Form::Lines { begun: Vec::new(), long: None, documents: 0 },
            Kind::Document => Form::Document(Box::new(Scanner::new(Arc::clone(&WANTED)))),
            Kind::Other => Form::Other,
        };
        Self { usage: Usage::default(), form, first: None }
    }

    /// For the body behind `head`, which is only looked at in passing; none where nothing would be understood.
    #[inline] // each answer has one
    pub fn glance(head: &ResponseHead) -> Option<Self> {
        match Kind::of(head) {
            Kind::Lines | Kind::Document => {
                let glance = Glance::new(head.is_event_stream());
                Some(Self { usage: Usage::default(), form: Form::Glance(glance), first: None })
            }
            Kind::Other => None,
        }
    }

    /// The same, which tells the model too.
    pub fn with_model(self) -> Self {
        Self { first: Some(Vec::new()), ..self }
    }

    /// The model that says it answered, where that was asked for and stands at the beginning.
    pub fn model(&self) -> Option<&str> {
        model(self.first.as_deref()?)
    }

    /// Looks at the next bytes; at a glance only where they may say something beside tokens.
    pub fn feed(&mut self, mut bytes: &[u8], says_more: bool) {
        let Self { usage, form, first } = self;
        if let Some(first) = first {
            let room = MODEL_FIRST_BYTES - first.len();
            first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        match form {
            Form::Document(scanner) => drop(scanner.feed(bytes)),
            Form::Lines { begun, long, documents } => {
                while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
                    let (line, rest) = bytes.split_at(end);
                    bytes = &rest[1..];
                    if let Some(mut scanner) = long.take() {
                        let _ = scanner.feed(line);
                        usage.update(of_members(&LONG, scanner.members()));
                        continue;
                    }
                    // Mostly a line comes in one piece, and is looked at where it lies.
                    let whole = if begun.is_empty() {
                        line
                    } else {
                        begun.extend_from_slice(line);
                        &begun[..]
                    };
                    *documents += u64::from(whole.starts_with(b"{"));
                    usage.update(of_line(whole));
                    begun.clear();
                }
                if let Some(scanner) = long {
                    let _ = scanner.feed(bytes);
                    return;
                }
                begun.extend_from_slice(bytes);
                if begun.len() > USAGE_LINE_BYTES_MAX {
                    *documents += u64::from(begun.starts_with(b"{"));
                    let mut scanner = Box::new(Scanner::new(Arc::clone(&WANTED_LONG)));
                    let _ = scanner.feed(document_of(begun));
                    (*begun, *long) = (Vec::new(), Some(scanner));
                }
            }
            Form::Glance(glance) if says_more => glance.feed(bytes, usage),
            Form::Glance(_) => {}
            Form::Other => {}
        }
    }

    /// What the answer said so far.
    pub fn usage(&self) -> Usage {
        let mut usage = self.usage;
        match &self.form {
            Form::Document(scanner) => usage.update(of_members(&MEMBERS, scanner.members())),
            Form::Lines { long: Some(scanner), .. } => usage.update(of_members(&LONG, scanner.members())),
            Form::Lines { begun, .. } => usage.update(of_line(begun)),
            Form::Glance(_) | Form::Other => {}
        }
        usage
    }

    /// Lines so far that are documents: in a stream of them each says something.
    pub fn lines_of_documents(&self) -> u64 {
        match &self.form {
            Form::Lines { documents, .. } => *documents,
            Form::Document(_) | Form::Glance(_) | Form::Other => 0,
        }
    }
}

/// What members say that were read.
fn of_members<P>(known: &[(P, Of)], members: &[Member]) -> Usage {
    let mut usage = Usage::default();
    for ((_, of), member) in known.iter().zip(members) {
        if let Member::Scalar(text) = member {
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
            *of(&mut usage) = number.and_then(whole);
        }
    }
    usage
}

/// A number of tokens, written as `43` or `43.0`.
fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
}

/// The document of a line.
fn document_of(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"data:").unwrap_or(line).trim_ascii()
}

/// What one line says, if it says anything of it.
fn of_line(line: &[u8]) -> Usage {
    let document = document_of(line);
    let says = |name: &[u8]| memmem::find(document, name).is_some();
    if !document.starts_with(b"{") || !(says(b"\"usage\"") || says(b"eval_count\"")) {
        return Usage::default();
    }
    let Ok(value) = serde_json::from_slice::<Value>(document) else { return Usage::default() };
    let mut usage = of_value(&value);
    // The beginning of Anthropic's messages, the end of OpenAI's responses.
    for within in ["message", "response"] {
        if let Some(value) = value.get(within) {
            usage.update(of_value(value));
        }
    }
    usage
}

fn of_value(value: &Value) -> Usage {
    let mut usage = Usage::default();
    for (path, of) in &MEMBERS {
        let found = path.split('.').try_fold(value, |value, name| value.get(name));
        let found = found.and_then(Value::as_f64).and_then(whole);
        if found.is_some() {
            *of(&mut usage) = found;
        }
    }
    usage
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::fields::FieldTable;
    use super::super::split::split_response;
    use super::*;

    fn usage(kind: &str, body: &str) -> Usage {
        let text = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n");
        let head = split_response(Bytes::from(text), FieldTable::default()).unwrap();
        let read = |piece: usize| {
            let mut reader = UsageReader::new(&head);
            body.as_bytes().chunks(piece).for_each(|piece| reader.feed(piece, true));
            reader.usage()
        };
        let whole = read(usize::MAX);
        assert_eq!(read(1), whole, "byte by byte: {body}");
        assert_eq!(read(7), whole, "in pieces: {body}");
        let glance = |piece: usize| {
            let mut reader = UsageReader::glance(&head)?;
            body.as_bytes().chunks(piece).for_each(|piece| reader.feed(piece, true));
            Some(reader.usage())
        };
        // Where a name stands at a place of no dialect, a glance takes it.
        let is_plain = !body.contains("\"x\":{\"usage\"");
        for piece in [usize::MAX, 1, 7].into_iter().filter(|_| is_plain) {
            assert_eq!(glance(piece).unwrap_or_default(), whole, "at a glance, in pieces of {piece}: {body}");
        }
        whole
    }

    fn of(input: Option<u64>, output: Option<u64>, cached: Option<u64>, total: Option<u64>) -> Usage {
        Usage { input, output, cached, total }
    }

    #[test]
    fn each_dialect_says_what_was_used() {
        let long = format!(
            "data: {{\"x\":\"{}\",\"usage\":{{\"total_tokens\":1}}}}\n\n",
            "x".repeat(USAGE_LINE_BYTES_MAX)
        );
        let within = format!(
            "data: {{\"response\":{{\"x\":\"{}\",\"usage\":{{\"input_tokens\":5,\"output_tokens\":2.0,\"total_tokens\":7}}}}}}\n\ndata: [DONE]\n\n",
            "x".repeat(3 * USAGE_LINE_BYTES_MAX)
        );
        for (kind, body, expected) in [
            (
                "application/json",
                r#"{"choices":[{"message":{"content":"\"usage\":{\"total_tokens\":9}"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":2}}}"#,
                of(Some(3), Some(4), Some(2), Some(7)),
            ),
            (
                "application/json",
                r#"{"usage":{"input_tokens":3,"output_tokens":4,"cache_read_input_tokens":1},"x":{"usage":{"total_tokens":9}}}"#,
                of(Some(3), Some(4), Some(1), None),
            ),
            (
                "application/json; charset=utf-8",
                r#"{"prompt_eval_count":5,"eval_count":6}"#,
                of(Some(5), Some(6), None, None),
            ),
            ("application/json", r#"{"usage":null}"#, Usage::default()),
            ("application/json", r#"{"usage":{"total_tokens":"many"}}"#, Usage::default()),
            (
                "text/event-stream",
                "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\r\n\r\ndata: [DONE]\n\n",
                of(Some(3), Some(4), None, Some(7)),
            ),
            (
                "text/event-stream",
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n",
                of(Some(25), Some(15), None, None),
            ),
            (
                "text/event-stream; charset=utf-8",
                "event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":5,\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":6,\"total_tokens\":11}}}\n\n",
                of(Some(5), Some(6), Some(4), Some(11)),
            ),
            ("text/event-stream", &long, of(None, None, None, Some(1))),
            ("text/event-stream", &within, of(Some(5), Some(2), None, Some(7))),
            (
                "application/x-ndjson",
                "{\"message\":{\"content\":\"a\"},\"done\":false}\n{\"done\":true,\"prompt_eval_count\":26,\"eval_count\":298}\n",
                of(Some(26), Some(298), None, None),
            ),
            (
                "application/x-ndjson",
                "{\"done\":true,\"prompt_eval_count\":26,\"eval_count\":298}",
                of(Some(26), Some(298), None, None),
            ),
            ("text/plain", r#"{"usage":{"total_tokens":7}}"#, Usage::default()),
        ] {
            assert_eq!(usage(kind, body), expected, "{kind} {body}");
        }
        assert_eq!(of(Some(3), Some(4), None, None).all(), Some(7));
        assert_eq!(of(Some(3), Some(4), None, Some(9)).all(), Some(9));
        assert_eq!(of(None, None, Some(1), None).all(), None);
    }
}
