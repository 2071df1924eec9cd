//! Downstream bytes to request events.

use bytes::{Buf, Bytes, BytesMut};

use super::body::{BodyEvent, BodyReader};
use super::chunk_line::ChunksOf;
use super::error::{CodecError, Rule};
use super::fields::FieldTable;
use super::head::RequestHead;
use super::head_end::{head_end_within, take_head};
use super::progress::Progress;
use super::split::split_request;
use crate::base::limits::{LEADING_EMPTY_LINES_MAX, TARGET_BYTES_MAX};

/// What a request consists of.
#[derive(Debug)]
pub enum RequestEvent {
    /// The head, complete and checked.
    Head(RequestHead),
    /// Body bytes, never empty.
    Data(Bytes),
    /// The request is complete; the next event belongs to the next request.
    End,
}

#[derive(Debug)]
enum State {
    Head { empty_lines: usize },
    Body(BodyReader),
    Failed(CodecError),
}

/// Reads one request after the other from a connection.
#[derive(Debug)]
pub struct RequestReader {
    head_bytes_max: usize,
    state: State,
    scanned: usize,
    table: FieldTable,
    /// Where heads lie.
    heads: BytesMut,
}

impl RequestReader {
    /// A reader for a fresh connection; a head may be `head_bytes_max` bytes long.
    pub fn new(head_bytes_max: usize) -> Self {
        Self {
            head_bytes_max,
            state: State::Head { empty_lines: 0 },
            scanned: 0,
            table: FieldTable::default(),
            heads: BytesMut::new(),
        }
    }

    /// The next event in `input`, which keeps what is not understood yet. Errors are final.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Progress<RequestEvent>, CodecError> {
        let result = match &mut self.state {
            State::Failed(error) => return Err(*error),
            State::Head { empty_lines } => {
                while input.starts_with(b"\r\n") {
                    *empty_lines += 1;
                    if *empty_lines > LEADING_EMPTY_LINES_MAX {
                        return self.fail(CodecError::at(Rule::StartLine, 0));
                    }
                    input.advance(2);
                    self.scanned = 0;
                }
                self.head(input)
            }
            State::Body(body) => match body.next(input) {
                Ok(Progress::Ready(BodyEvent::Data(data))) => Ok(Progress::Ready(RequestEvent::Data(data))),
                Ok(Progress::Ready(BodyEvent::End)) => {
                    self.state = State::Head { empty_lines: 0 };
                    Ok(Progress::Ready(RequestEvent::End))
                }
                Ok(Progress::NeedMore) => Ok(Progress::NeedMore),
                Err(error) => Err(error),
            },
        };
        result.or_else(|error| self.fail(error))
    }

    fn head(&mut self, input: &mut BytesMut) -> Result<Progress<RequestEvent>, CodecError> {
        let end = head_end_within(input, &mut self.scanned, self.head_bytes_max)
            .map_err(|error| if error.rule == Rule::HeadMax { self.too_long(input) } else { error })?;
        let Some(end) = end else { return Ok(Progress::NeedMore) };
        let head = take_head(input, end, &mut self.heads);
        let head = split_request(head, std::mem::take(&mut self.table))?;
        self.state = State::Body(BodyReader::new(head.framing(), ChunksOf::Request));
        Ok(Progress::Ready(RequestEvent::Head(head)))
    }

    /// A head that is too long for its target's sake is told so (RFC 9110 §15.5.15).
    fn too_long(&self, input: &[u8]) -> CodecError {
        let seen = &input[..self.head_bytes_max.min(input.len())];
        let line = seen.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let mut words = line.split(|&byte| byte == b' ').skip(1);
        let target = words.next().unwrap_or_default();
        let runs_on = line.len() == seen.len() && words.next().is_none() && !target.is_empty();
        let rule = if runs_on || target.len() > TARGET_BYTES_MAX { Rule::TargetMax } else { Rule::HeadMax };
        CodecError::at(rule, self.head_bytes_max)
    }

    fn fail<T>(&mut self, error: CodecError) -> Result<T, CodecError> {
        self.state = State::Failed(error);
        Err(error)
    }

    /// Whether the reader stands between two requests.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// Takes a finished head's field table back, so that the next head needs no allocation.
    pub fn recycle(&mut self, head: RequestHead) {
        self.table = head.into_table();
    }
}
