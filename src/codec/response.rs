//! Upstream bytes to response events.

use bytes::{Bytes, BytesMut};

use super::body::{BodyEvent, BodyReader};
use super::chunk_line::ChunksOf;
use super::error::{CodecError, Rule};
use super::fields::FieldTable;
use super::framing::{Framing, response_framing};
use super::head::ResponseHead;
use super::head_end::{head_end_within, take_head};
use super::method::Method;
use super::progress::Progress;
use super::split::split_response;
use super::version::Reuse;
use crate::base::limits::{HEAD_BYTES_MAX, INTERIM_ANSWERS_MAX};

/// What a response consists of.
#[derive(Debug)]
pub enum ResponseEvent {
    /// An interim answer (1xx); the final one follows.
    Interim(ResponseHead),
    /// The final head and how its body is delimited.
    Head(ResponseHead, Framing),
    /// Body bytes, never empty.
    Data(Bytes),
    /// The response is complete.
    End,
}

#[derive(Debug)]
enum State {
    Idle,
    Head { asked: Method, interim: usize },
    Body(BodyReader),
    Failed(CodecError),
}

/// Reads the response to one request after the other from a connection.
#[derive(Debug)]
pub struct ResponseReader {
    state: State,
    scanned: usize,
    table: FieldTable,
    /// Where heads lie.
    heads: BytesMut,
    reuse: Reuse,
}

impl ResponseReader {
    /// A reader for a fresh connection.
    pub fn new() -> Self {
        Self {
            state: State::Idle,
            scanned: 0,
            table: FieldTable::default(),
            heads: BytesMut::new(),
            reuse: Reuse::KeepAlive,
        }
    }

    /// A request with this method goes out: its response is what comes next.
    pub fn expect(&mut self, asked: Method) {
        debug_assert!(matches!(self.state, State::Idle), "one response at a time");
        self.state = State::Head { asked, interim: 0 };
    }

    /// The next event in `input`, which keeps what is not understood yet. Errors are final.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Progress<ResponseEvent>, CodecError> {
        let result = match &mut self.state {
            State::Failed(error) => return Err(*error),
            State::Idle if input.is_empty() => Ok(Progress::NeedMore),
            // Nobody asked for these bytes: they could answer someone else's request.
            State::Idle => Err(CodecError::at(Rule::Unexpected, 0)),
            State::Head { asked, interim } => {
                let (asked, interim) = (*asked, *interim);
                self.head(input, asked, interim)
            }
            State::Body(body) => match body.next(input) {
                Ok(Progress::Ready(BodyEvent::Data(data))) => Ok(Progress::Ready(ResponseEvent::Data(data))),
                Ok(Progress::Ready(BodyEvent::End)) => {
                    self.state = State::Idle;
                    Ok(Progress::Ready(ResponseEvent::End))
                }
                Ok(Progress::NeedMore) => Ok(Progress::NeedMore),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    fn head(
        &mut self,
        input: &mut BytesMut,
        asked: Method,
        interim: usize,
    ) -> Result<Progress<ResponseEvent>, CodecError> {
        let Some(end) = head_end_within(input, &mut self.scanned, HEAD_BYTES_MAX)? else {
            return Ok(Progress::NeedMore);
        };
        let head = take_head(input, end, &mut self.heads);
        let head = split_response(head, std::mem::take(&mut self.table))?;
        match head.status() {
            // Nobody asked for another protocol: Upgrade never passes.
            101 => Err(CodecError::at(Rule::Status, 9)),
            100..=199 if interim == INTERIM_ANSWERS_MAX => Err(CodecError::at(Rule::InterimMax, 0)),
            100..=199 => {
                self.state = State::Head { asked, interim: interim + 1 };
                Ok(Progress::Ready(ResponseEvent::Interim(head)))
            }
            _ => {
                let framing = response_framing(asked, head.status(), head.head())?;
                self.reuse = match framing {
                    Framing::UntilClose => Reuse::Close,
                    Framing::Empty | Framing::Length(_) | Framing::Chunked => head.head().reuse(),
                };
                self.state = State::Body(BodyReader::new(framing, ChunksOf::Response));
                Ok(Progress::Ready(ResponseEvent::Head(head, framing)))
            }
        }
    }

    /// The endpoint closed its sending side: completes a body that runs until close, else an error.
    pub fn finish(&mut self) -> Result<(), CodecError> {
        match &self.state {
            State::Idle => Ok(()),
            State::Head { .. } => Err(CodecError::at(Rule::Incomplete, 0)),
            State::Body(body) => body.finish(),
            State::Failed(error) => Err(*error),
        }
    }

    /// Whether the connection may carry another exchange: the response is complete and neither side closes.
    pub fn reuse(&self) -> Reuse {
        match self.state {
            State::Idle => self.reuse,
            State::Head { .. } | State::Body(_) | State::Failed(_) => Reuse::Close,
        }
    }

    /// Takes a finished head's field table back, so that the next head needs no allocation.
    pub fn recycle(&mut self, head: ResponseHead) {
        self.table = head.into_table();
    }
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self::new()
    }
}
