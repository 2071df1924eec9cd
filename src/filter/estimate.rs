//! How many tokens a request may take, as far as its body tells (CONTRACT §2), and how an engine is asked to tell.

use bytes::Bytes;

use crate::codec::json::walker::{Container, Listener, Told, Walker};
use crate::codec::json::{JsonFault, Kept};
use crate::codec::operation::Operation;
use crate::codec::splice::Splice;

/// Bytes that stand for a token: what English takes on average.
const BYTES_PER_TOKEN: u64 = 4;
/// Most tokens that one request can ask for, whatever it says.
const TOKENS_MAX: u64 = 1_000_000_000;
/// Longest key or number that matters.
const WORD_BYTES_MAX: usize = 32;

/// Members of the whole that hold what a model reads.
const PROMPTS: [&[u8]; 6] = [b"messages", b"prompt", b"input", b"instructions", b"system", b"contents"];
/// Members inside them that hold what is seen, heard or fetched.
const OTHERS: [&[u8]; 5] = [b"url", b"data", b"image_url", b"input_audio", b"file_data"];
/// Members that bound what a model writes; the first that is there counts.
const BOUNDS: [&[u8]; 3] = [b"max_completion_tokens", b"max_tokens", b"max_output_tokens"];

/// Reads one JSON body.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    depth: usize,
    /// The member of the whole that is at hand.
    top: Top,
    /// Open containers from this depth on are left out.
    skipped: Option<usize>,
    is_skipped: bool,
    prompt_bytes: u64,
    /// The value of each bound, of `options.num_predict`, and of `n`.
    bounds: [Option<u64>; 3],
    predicted: Option<u64>,
    choices: Option<u64>,
    kept: Kept,
    is_predict: bool,
    text_at: Option<u64>,
    stream: Stream,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Top {
    #[default]
    Other,
    /// What a model reads, and whether numbers in it are tokens.
    Prompt {
        has_ids: bool,
    },
    Bound(usize),
    Choices,
    Options,
    Stream,
    StreamOptions,
}

/// What is said of streaming.
#[derive(Debug, Default)]
struct Stream {
    /// Where the whole begins.
    root: Option<u64>,
    is_asked: bool,
    options: Vec<StreamOptions>,
    /// The member at hand is the one that asks for the usage.
    is_usage: bool,
}

/// `stream_options` as it was written.
#[derive(Debug)]
enum StreamOptions {
    Null(std::ops::Range<u64>),
    Object { at: u64, is_empty: bool, usage: Usage },
    Else,
}

#[derive(Debug)]
enum Usage {
    Absent,
    Asked,
    Refused(std::ops::Range<u64>),
    Else,
}

/// What a body says of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Estimated {
    /// What a model reads.
    pub(super) prompt: u64,
    /// With the most that it may write.
    pub(super) total: u64,
}

/// What has an engine tell of a stream how many tokens it took, where the body in `pieces` asks for one and not for that.
pub(super) fn usage_asked(pieces: &[Bytes], operation: Operation) -> Option<Splice> {
    let mut walker = Walker::new(Estimate::default());
    pieces.iter().try_for_each(|piece| walker.feed(piece)).ok()?;
    walker.finish().ok()?;
    walker.into_listener().ask_for_usage(operation)
}

impl Estimate {
    /// How many tokens the request may take.
    pub(super) fn tokens(&self) -> Estimated {
        let prompt = self.prompt_bytes.div_ceil(BYTES_PER_TOKEN);
        let bound = self.bounds.iter().flatten().next().copied().or(self.predicted).unwrap_or(0);
        let written = bound.saturating_mul(self.choices.unwrap_or(1).max(1));
        Estimated { prompt, total: prompt.saturating_add(written).min(TOKENS_MAX) }
    }

    /// What has an engine tell of a stream how many tokens it took, where it can and the client did not ask for it.
    pub(super) fn ask_for_usage(&self, operation: Operation) -> Option<Splice> {
        let speaks = matches!(operation, Operation::Chat | Operation::Completions);
        let splice = |range, by: &'static str| Some(Splice { range, by: Bytes::from_static(by.as_bytes()) });
        match &self.stream.options[..] {
            _ if !speaks || !self.stream.is_asked => None,
            [] => {
                let at = self.stream.root? + 1;
                splice(at..at, r#""stream_options":{"include_usage":true},"#)
            }
            [StreamOptions::Null(range)] => splice(range.clone(), r#"{"include_usage":true}"#),
            [StreamOptions::Object { at, is_empty, usage: Usage::Absent }] => {
                let by = if *is_empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
                splice(at + 1..at + 1, by)
            }
            [StreamOptions::Object { usage: Usage::Refused(range), .. }] => splice(range.clone(), "true"),
            // It is asked for already, or in a way that an engine will refuse or read as it likes.
            _ => None,
        }
    }

    fn is_prompt(&self) -> bool {
        matches!(self.top, Top::Prompt { .. }) && self.skipped.is_none() && !self.is_skipped
    }

    /// Whether the value at hand bounds what a model writes.
    fn is_bound(&self) -> bool {
        match self.top {
            Top::Bound(_) | Top::Choices => self.depth == 1,
            Top::Options => self.depth == 2 && self.is_predict,
            _ => false,
        }
    }

    /// A key ended, whose value follows.
    fn key(&mut self) {
        let name = self.kept.text().unwrap_or_default();
        let is = |known: &[u8]| name == known;
        self.is_skipped = false;
        if self.depth == 1 {
            self.top = if PROMPTS.contains(&name) {
                Top::Prompt { has_ids: is(b"prompt") || is(b"input") }
            } else if let Some(position) = BOUNDS.iter().position(|known| is(known)) {
                Top::Bound(position)
            } else {
                match name {
                    b"n" => Top::Choices,
                    b"options" => Top::Options,
                    b"stream" => Top::Stream,
                    b"stream_options" => Top::StreamOptions,
                    _ => Top::Other,
                }
            };
            return;
        }
        match self.top {
            Top::Prompt { .. } => self.is_skipped = OTHERS.contains(&name),
            Top::Options => self.is_predict = self.depth == 2 && is(b"num_predict"),
            Top::StreamOptions if self.depth == 2 => {
                self.stream.is_usage = is(b"include_usage");
                if let Some(StreamOptions::Object { is_empty, .. }) = self.stream.options.last_mut() {
                    *is_empty = false;
                }
            }
            _ => {}
        }
    }

    fn number(&mut self) {
        if matches!(self.top, Top::Prompt { has_ids: true }) && self.is_prompt() {
            self.prompt_bytes += BYTES_PER_TOKEN;
        }
        self.bound();
        self.other_option();
    }

    /// A number ended, or a text that some engines take for one.
    fn bound(&mut self) {
        let number = match self.kept.text() {
            Some(text) => std::str::from_utf8(text).ok().and_then(|text| text.trim().parse::<f64>().ok()),
            // Longer than anybody writes one: it may be any.
            None => Some(f64::INFINITY),
        };
        let whole = number.filter(|number| *number >= 0.0).map(|number| (number as u64).min(TOKENS_MAX));
        match (self.top, self.depth) {
            (Top::Bound(position), 1) => self.bounds[position] = whole,
            (Top::Choices, 1) => self.choices = whole,
            (Top::Options, 2) if self.is_predict => self.predicted = whole,
            _ => {}
        }
    }

    /// A value that is no truth stands for `stream_options` or in its place.
    fn other_option(&mut self) {
        if self.top == Top::StreamOptions {
            match self.depth {
                1 => self.stream.options.push(StreamOptions::Else),
                2 if self.stream.is_usage => self.usage(Usage::Else),
                _ => {}
            }
        }
    }

    fn usage(&mut self, said: Usage) {
        if let Some(StreamOptions::Object { usage, .. }) = self.stream.options.last_mut() {
            *usage = if matches!(usage, Usage::Absent) { said } else { Usage::Else };
        }
    }
}

impl Listener for Estimate {
    fn open(&mut self, kind: Container, at: u64) -> Result<(), JsonFault> {
        match (self.depth, self.top, kind) {
            (0, _, Container::Object) => self.stream.root = Some(at),
            (1, Top::StreamOptions, Container::Object) => {
                self.stream.options.push(StreamOptions::Object { at, is_empty: true, usage: Usage::Absent });
            }
            _ => self.other_option(),
        }
        if std::mem::take(&mut self.is_skipped) {
            self.skipped.get_or_insert(self.depth);
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, _: u64) -> Result<(), JsonFault> {
        self.depth -= 1;
        self.is_skipped = false;
        if self.skipped == Some(self.depth) {
            self.skipped = None;
        }
        if self.depth <= 1 {
            self.top = Top::Other;
        }
        Ok(())
    }

    fn begin(&mut self, what: Told) -> bool {
        self.kept.begin(WORD_BYTES_MAX);
        self.text_at = None;
        match what {
            Told::Key => self.depth <= 2 || matches!(self.top, Top::Prompt { .. }),
            Told::Text => self.is_prompt() || self.is_bound(),
            Told::Number => true,
        }
    }

    fn bytes(&mut self, bytes: &[u8], at: u64) {
        self.text_at.get_or_insert(at);
        self.kept.push(bytes);
    }

    fn unit(&mut self, unit: u16, at: u64) {
        self.text_at.get_or_insert(at);
        self.kept.push_unit(unit);
    }

    fn end(&mut self, what: Told, at: u64) -> Result<(), JsonFault> {
        match what {
            Told::Key => self.key(),
            Told::Number => self.number(),
            Told::Text => {
                if let (true, Some(from)) = (self.is_prompt(), self.text_at) {
                    self.prompt_bytes += at - from;
                }
                if self.is_bound() {
                    self.bound();
                }
                self.other_option();
            }
        }
        // It was about this value alone.
        self.is_skipped &= what == Told::Key;
        Ok(())
    }

    fn word(&mut self, word: &'static [u8], at: u64) -> Result<(), JsonFault> {
        let range = at - word.len() as u64..at;
        match (self.top, self.depth, word) {
            (Top::Stream, 1, b"true") => self.stream.is_asked = true,
            (Top::Stream, 1, b"false") => self.stream.is_asked = false,
            (Top::StreamOptions, 1, b"null") => self.stream.options.push(StreamOptions::Null(range)),
            (Top::StreamOptions, 2, b"true") if self.stream.is_usage => self.usage(Usage::Asked),
            (Top::StreamOptions, 2, b"false" | b"null") if self.stream.is_usage => {
                self.usage(Usage::Refused(range));
            }
            _ => self.other_option(),
        }
        self.is_skipped = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::splice::spliced;

    fn read(body: &str, piece: usize) -> Estimate {
        let mut walker = Walker::new(Estimate::default());
        body.as_bytes().chunks(piece).for_each(|piece| walker.feed(piece).unwrap());
        walker.finish().unwrap();
        walker.into_listener()
    }

    fn estimated(body: &str) -> (u64, u64) {
        let told = |piece| {
            let tokens = read(body, piece).tokens();
            (tokens.prompt, tokens.total)
        };
        assert_eq!(told(1), told(usize::MAX), "{body}");
        told(usize::MAX)
    }

    #[test]
    fn what_a_model_reads_and_may_write_is_counted() {
        for (body, prompt, total) in [
            (r#"{"messages":[{"role":"user","content":"12345678"}]}"#, 3, 3),
            (r#"{"max_tokens":500.0000000000000000000000000000000000000}"#, 0, TOKENS_MAX),
            (r#"{"max_tokens":"500"}"#, 0, 500),
            (r#"{"max_tokens":"many"}"#, 0, 0),
            (r#"{"options":{"num_predict":" 7"}}"#, 0, 7),
            (
                r#"{"messages":[{"role":"user","content":"1234"},{"content":[{"type":"text","text":"12345678"}]}],"max_tokens":10}"#,
                5,
                15,
            ),
            (r#"{"max_tokens":10,"max_completion_tokens":20,"n":3,"prompt":"12345678"}"#, 2, 62),
            (r#"{"prompt":["1234","1234"],"max_output_tokens":5}"#, 2, 7),
            (r#"{"prompt":[1,2,3]}"#, 3, 3),
            (r#"{"input":[[1,2],[3]]}"#, 3, 3),
            (r#"{"input":"\u00e9\n"}"#, 2, 2),
            (
                r#"{"instructions":"1234","system":[{"text":"1234"}],"contents":[{"parts":[{"text":"1234"}]}]}"#,
                3,
                3,
            ),
            (
                r#"{"messages":[{"content":[{"image_url":{"url":"12345678","detail":"1234"}},{"input_audio":{"data":"1234"}},{"text":"1234"}]}]}"#,
                1,
                1,
            ),
            (r#"{"messages":[{"content":[{"image_url":"12345678"},{"text":"1234"}],"url":"1234"}]}"#, 1, 1),
            (r#"{"messages":[{"content":[{"image_url":[{"x":"1"}]},"1234"]}]}"#, 1, 1),
            (r#"{"prompt":"1234","options":{"num_predict":7,"x":{"num_predict":9}}}"#, 1, 8),
            (r#"{"prompt":"1234","options":{"num_predict":-1}}"#, 1, 1),
            (r#"{"prompt":"1234","x":{"max_tokens":9},"max_tokens":null}"#, 1, 1),
            (r#"{"model":"1234","user":"1234","tools":[{"description":"1234"}]}"#, 0, 0),
            (r#"{"prompt":"","max_tokens":1e300,"n":1e300}"#, 0, TOKENS_MAX),
            (r#"{"messages":[{"n":5,"max_tokens":5,"stream":true}],"prompt":"x"}"#, 1, 1),
            ("[1,2]", 0, 0),
            ("\"1234\"", 0, 0),
        ] {
            assert_eq!(estimated(body), (prompt, total), "{body}");
        }
    }

    #[test]
    fn an_engine_is_asked_for_the_usage_of_a_stream_once() {
        let asked = |body: &str, operation: Operation| {
            let splices: Vec<_> = read(body, 3).ask_for_usage(operation).into_iter().collect();
            String::from_utf8(spliced(&[Bytes::copy_from_slice(body.as_bytes())], &splices).concat()).unwrap()
        };
        for (body, spliced) in [
            (r#"{"stream":true}"#, r#"{"stream_options":{"include_usage":true},"stream":true}"#),
            (
                " { \"stream\" : true } ",
                " {\"stream_options\":{\"include_usage\":true}, \"stream\" : true } ",
            ),
            (
                r#"{"stream":true,"stream_options":null}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream":true,"stream_options":{}}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream_options":{"x":[{}]},"stream":true}"#,
                r#"{"stream_options":{"include_usage":true,"x":[{}]},"stream":true}"#,
            ),
            (
                r#"{"stream_options":{"include_usage":false,"x":1},"stream":true}"#,
                r#"{"stream_options":{"include_usage":true,"x":1},"stream":true}"#,
            ),
            (
                r#"{"stream_options":{"include_usage": null},"stream":true}"#,
                r#"{"stream_options":{"include_usage": true},"stream":true}"#,
            ),
            // It is asked for already.
            (
                r#"{"stream_options":{"include_usage":true},"stream":true}"#,
                r#"{"stream_options":{"include_usage":true},"stream":true}"#,
            ),
            // There is no stream.
            (r#"{"x":{"stream":true}}"#, r#"{"x":{"stream":true}}"#),
            (r#"{"stream":true,"stream":false}"#, r#"{"stream":true,"stream":false}"#),
            (r#"{"stream":"true"}"#, r#"{"stream":"true"}"#),
            // Engines refuse it, or read it as they like.
            (
                r#"{"stream":true,"stream_options":{},"stream_options":{}}"#,
                r#"{"stream":true,"stream_options":{},"stream_options":{}}"#,
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage":1}}"#,
                r#"{"stream":true,"stream_options":{"include_usage":1}}"#,
            ),
            (r#"{"stream":true,"stream_options":[]}"#, r#"{"stream":true,"stream_options":[]}"#),
        ] {
            assert_eq!(asked(body, Operation::Chat), spliced, "{body}");
            assert_eq!(asked(body, Operation::Embeddings), body);
            if serde_json::from_str::<serde_json::Value>(spliced).is_err() {
                panic!("{spliced} is no JSON");
            }
        }
    }
}
