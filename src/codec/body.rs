//! Counts a body to its end under any framing.

use bytes::{Bytes, BytesMut};

use super::chunk_line::ChunksOf;
use super::chunked::{ChunkEvent, ChunkReader};
use super::error::{CodecError, Rule};
use super::framing::Framing;
use super::progress::Progress;

/// What a body consists of.
#[derive(Debug)]
pub enum BodyEvent {
    /// Body bytes, never empty.
    Data(Bytes),
    /// The body is complete.
    End,
}

/// Reads one body.
#[derive(Debug, Clone)]
pub enum BodyReader {
    /// This many bytes are left.
    Length(u64),
    /// Inside chunked coding.
    Chunked(ChunkReader),
    /// Until the peer closes.
    UntilClose,
}

impl BodyReader {
    /// At the start of a body delimited by `framing`, and chunked as `of` says, where it is.
    pub fn new(framing: Framing, of: ChunksOf) -> Self {
        match framing {
            Framing::Empty => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(ChunkReader::new(of)),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// The next event in `input`.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Progress<BodyEvent>, CodecError> {
        match self {
            Self::Length(0) => Ok(Progress::Ready(BodyEvent::End)),
            Self::Length(_) | Self::UntilClose if input.is_empty() => Ok(Progress::NeedMore),
            Self::Length(left) => {
                let take = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= take as u64;
                Ok(Progress::Ready(BodyEvent::Data(input.split_to(take).freeze())))
            }
            Self::UntilClose => Ok(Progress::Ready(BodyEvent::Data(input.split().freeze()))),
            Self::Chunked(reader) => Ok(match reader.next(input)? {
                Progress::Ready(ChunkEvent::Data(data)) => Progress::Ready(BodyEvent::Data(data)),
                Progress::Ready(ChunkEvent::End) => Progress::Ready(BodyEvent::End),
                Progress::NeedMore => Progress::NeedMore,
            }),
        }
    }

    /// The peer closed its side: the body is complete only if it ran until close.
    pub fn finish(&self) -> Result<(), CodecError> {
        match self {
            Self::UntilClose | Self::Length(0) => Ok(()),
            Self::Length(_) | Self::Chunked(_) => Err(CodecError::at(Rule::Incomplete, 0)),
        }
    }
}
