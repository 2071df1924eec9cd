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
use crate::base::limits::{HEAD_BYTES_MAX, INTERIM_BYTES_MAX};

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
    Head { asked: Asked, interim_bytes: usize },
    Body(BodyReader),
    Failed(CodecError),
}

/// What a response answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A request with this method.
    Plainly(Method),
    /// The opening handshake of a WebSocket.
    ToSwitch,
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
        self.expect_for(Asked::Plainly(asked));
    }

    /// The opening handshake of a WebSocket goes out: where a 101 agrees to it, that is the final head, and what follows
    /// until the endpoint closes are bytes of the other protocol.
    pub fn expect_switch(&mut self) {
        self.expect_for(Asked::ToSwitch);
    }

    fn expect_for(&mut self, asked: Asked) {
        debug_assert!(matches!(self.state, State::Idle), "one response at a time");
        self.state = State::Head { asked, interim_bytes: 0 };
    }

    /// The next event in `input`, which keeps what is not understood yet. Errors are final.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Progress<ResponseEvent>, CodecError> {
        let result = match &mut self.state {
            State::Failed(error) => return Err(*error),
            State::Idle if input.is_empty() => Ok(Progress::NeedMore),
            // Nobody asked for these bytes: they could answer someone else's request.
            State::Idle => Err(CodecError::at(Rule::Unexpected, 0)),
            State::Head { asked, interim_bytes } => {
                let (asked, interim_bytes) = (*asked, *interim_bytes);
                self.head(input, asked, interim_bytes)
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
        asked: Asked,
        interim_bytes: usize,
    ) -> Result<Progress<ResponseEvent>, CodecError> {
        let Some(end) = head_end_within(input, &mut self.scanned, HEAD_BYTES_MAX)? else {
            return Ok(Progress::NeedMore);
        };
        let head = take_head(input, end, &mut self.heads);
        let head = split_response(head, std::mem::take(&mut self.table))?;
        match head.status() {
            101 if asked == Asked::ToSwitch && head.is_switch() => self.body(head, Framing::UntilClose),
            // Nobody asked for another protocol, or for this one.
            101 => Err(CodecError::at(Rule::Status, 9)),
            // Time is no business of this reader: the clocks of the cluster run on.
            100..=199 if interim_bytes + end > INTERIM_BYTES_MAX => Err(CodecError::at(Rule::InterimMax, 0)),
            100..=199 => {
                self.state = State::Head { asked, interim_bytes: interim_bytes + end };
                Ok(Progress::Ready(ResponseEvent::Interim(head)))
            }
            _ => {
                let method = match asked {
                    Asked::Plainly(method) => method,
                    Asked::ToSwitch => Method::Get,
                };
                let framing = response_framing(method, head.status(), head.head())?;
                self.body(head, framing)
            }
        }
    }

    fn body(&mut self, head: ResponseHead, framing: Framing) -> Result<Progress<ResponseEvent>, CodecError> {
        self.reuse = match framing {
            Framing::UntilClose => Reuse::Close,
            Framing::Empty | Framing::Length(_) | Framing::Chunked => head.head().reuse(),
        };
        self.state = State::Body(BodyReader::new(framing, ChunksOf::Response));
        Ok(Progress::Ready(ResponseEvent::Head(head, framing)))
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

    /// A reader of the body that comes, for one who looks ahead of it; none where no body is read.
    pub fn scout(&self) -> Option<BodyReader> {
        match &self.state {
            State::Body(body) => Some(body.clone()),
            State::Idle | State::Head { .. } | State::Failed(_) => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How many interim answers of `length` bytes pass.
    fn passing(length: usize) -> usize {
        let shortest = "HTTP/1.1 102 P\r\nx: \r\n\r\n";
        let answer = shortest.replace("x: ", &format!("x: {}", "p".repeat(length - shortest.len())));
        let mut reader = ResponseReader::new();
        reader.expect(Method::Post);
        let mut input = BytesMut::new();
        for count in 0.. {
            input.extend_from_slice(answer.as_bytes());
            match reader.next(&mut input) {
                Ok(Progress::Ready(ResponseEvent::Interim(_))) => {}
                Err(error) => {
                    assert_eq!(error.rule, Rule::InterimMax);
                    return count;
                }
                other => panic!("{other:?}"),
            }
        }
        unreachable!("the bound was met")
    }

    #[test]
    fn a_protocol_is_changed_only_where_both_sides_say_so() {
        let switch = "HTTP/1.1 101 S\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\r\n";
        let first = |answer: &str, expect: fn(&mut ResponseReader)| {
            let mut reader = ResponseReader::new();
            expect(&mut reader);
            reader.next(&mut BytesMut::from(answer)).map_err(|error| error.rule)
        };
        let handshake = ResponseReader::expect_switch;
        let is_head =
            |event| matches!(event, Ok(Progress::Ready(ResponseEvent::Head(_, Framing::UntilClose))));
        assert!(is_head(first(switch, handshake)));
        assert_eq!(first(switch, |reader| reader.expect(Method::Get)).unwrap_err(), Rule::Status);
        for (from, to) in [
            ("connection: Upgrade\r\n", ""),
            ("upgrade: WebSocket\r\n", ""),
            ("WebSocket", "h2c"),
            ("WebSocket", "websocket, h2c"),
            ("HTTP/1.1", "HTTP/1.0"),
        ] {
            assert_eq!(first(&switch.replace(from, to), handshake).unwrap_err(), Rule::Status, "{to}");
        }
        // A refusal is an answer like any other.
        let refusal = first("HTTP/1.1 426 U\r\ncontent-length: 2\r\n\r\nno", handshake);
        assert!(matches!(refusal, Ok(Progress::Ready(ResponseEvent::Head(_, Framing::Length(2))))));
    }

    #[test]
    fn interim_answers_are_bounded_by_their_bytes() {
        for length in [32, 1000, HEAD_BYTES_MAX] {
            assert_eq!(passing(length), INTERIM_BYTES_MAX / length);
        }
    }

    #[test]
    fn the_bound_of_interim_answers_begins_anew_with_each_request() {
        let mut reader = ResponseReader::new();
        for _ in 0..3 {
            reader.expect(Method::Post);
            let interim = format!("HTTP/1.1 102 P\r\nx: {}\r\n\r\n", "p".repeat(60_000)).repeat(16);
            let mut input = BytesMut::from(&*(interim + "HTTP/1.1 204 N\r\n\r\n"));
            while !matches!(reader.next(&mut input), Ok(Progress::Ready(ResponseEvent::End))) {}
        }
    }
}
