//! Whether an answer is the right one: status, framing, and what the body says.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::job::{Job, Kind};
use crate::codec::sse::EventCounter;

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No connection.
    Connect,
    /// The connection was reset or closed before the answer was whole.
    Broken,
    /// The answer breaks HTTP/1.1.
    Framing,
    /// Nothing came for too long.
    Timeout,
    /// Another status than 200.
    Status(u16),
    /// The body is not what was asked for.
    Content,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Broken => f.write_str("broken"),
            Self::Framing => f.write_str("framing"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Content => f.write_str("content"),
        }
    }
}

/// Looks at one answer as it comes.
#[derive(Debug)]
pub struct Judge {
    kind: Kind,
    seen: Seen,
}

#[derive(Debug)]
enum Seen {
    Whole(Vec<u8>),
    Stream { events: EventCounter, tokens: u64, tail: Vec<u8> },
}

/// What OpenAI clients read of an answer; the rest is checked to be JSON.
#[derive(Deserialize)]
struct Body {
    choices: Option<Vec<IgnoredAny>>,
    data: Option<Vec<IgnoredAny>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    completion_tokens: u64,
}

/// How a stream of OpenAI's dialect ends.
const LAST_EVENT: &[u8] = b"data: [DONE]\n\n";

impl Judge {
    /// Judges answers to `job`.
    pub fn new(job: &Job) -> Self {
        let seen = if job.stream {
            Seen::Stream { events: EventCounter::new(), tokens: 0, tail: Vec::new() }
        } else {
            Seen::Whole(Vec::new())
        };
        Self { kind: job.kind, seen }
    }

    /// Looks at the next bytes of the body and tells how many tokens came with them.
    pub fn feed(&mut self, data: &[u8]) -> u64 {
        match &mut self.seen {
            Seen::Whole(body) => {
                body.extend_from_slice(data);
                0
            }
            Seen::Stream { events, tokens, tail } => {
                let fresh = events.feed(data);
                *tokens += fresh;
                tail.extend_from_slice(&data[data.len().saturating_sub(LAST_EVENT.len())..]);
                tail.drain(..tail.len().saturating_sub(LAST_EVENT.len()));
                fresh
            }
        }
    }

    /// The answer is complete: how many tokens it brought that were not told yet, or what is wrong with it.
    pub fn finish(&self) -> Result<u64, Failure> {
        match &self.seen {
            Seen::Stream { tokens, tail, .. } if *tokens > 0 && tail == LAST_EVENT => Ok(0),
            Seen::Stream { .. } => Err(Failure::Content),
            Seen::Whole(_) if self.kind == Kind::Health => Ok(0),
            Seen::Whole(body) => {
                let body: Body = serde_json::from_slice(body).map_err(|_| Failure::Content)?;
                let items = match self.kind {
                    Kind::Embedding => body.data,
                    Kind::Chat | Kind::Completion | Kind::Health => body.choices,
                };
                match items {
                    Some(items) if !items.is_empty() => {
                        Ok(body.usage.map_or(0, |usage| usage.completion_tokens))
                    }
                    _ => Err(Failure::Content),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::JobOptions;
    use super::*;

    fn judged(kind: Kind, stream: bool, body: &[u8]) -> Result<u64, Failure> {
        let options = JobOptions {
            kind,
            model: "m".into(),
            body_bytes: None,
            max_tokens: None,
            stream,
            key: None,
            fresh_connections: false,
        };
        let mut judge = Judge::new(&Job::new(&options, "h", "").unwrap());
        // Byte by byte: an answer may come in any pieces.
        let fed: u64 = body.chunks(1).map(|byte| judge.feed(byte)).sum();
        judge.finish().map(|rest| fed + rest)
    }

    #[test]
    fn whole_answers_are_read() {
        let chat = br#"{"choices":[{"x":1}],"usage":{"completion_tokens":5}}"#;
        assert_eq!(judged(Kind::Chat, false, chat), Ok(5));
        assert_eq!(judged(Kind::Chat, false, &chat[..chat.len() - 1]), Err(Failure::Content));
        assert_eq!(judged(Kind::Embedding, false, chat), Err(Failure::Content));
        assert_eq!(judged(Kind::Embedding, false, br#"{"data":[{}]}"#), Ok(0));
        assert_eq!(judged(Kind::Chat, false, br#"{"choices":[]}"#), Err(Failure::Content));
        assert_eq!(judged(Kind::Health, false, b""), Ok(0));
    }

    #[test]
    fn a_stream_has_tokens_and_its_last_event() {
        let stream = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(judged(Kind::Chat, true, stream), Ok(1));
        assert_eq!(judged(Kind::Chat, true, &stream[..stream.len() - 1]), Err(Failure::Content));
        assert_eq!(judged(Kind::Chat, true, b"data: [DONE]\n\n"), Err(Failure::Content));
    }
}
