//! Chunked coding, incremental, both directions (RFC 9112 §7.1).

use bytes::{Buf, Bytes, BytesMut};

use super::chunk_line::{ChunksOf, chunk_line};
use super::error::{CodecError, Rule};
use super::field::is_token_byte;
use super::framing::Framing;
use super::progress::Progress;
use crate::base::limits::{CHUNK_LINE_BYTES_MAX, CHUNK_OVERHEAD_BYTES_MAX, TRAILER_BYTES_MAX};

/// What a chunked body consists of, once its framing is taken away.
#[derive(Debug)]
pub enum ChunkEvent {
    /// Body bytes.
    Data(Bytes),
    /// The last chunk and the trailer section were read; trailers are checked and dropped.
    End,
}

#[derive(Debug, Clone)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailer { read: usize },
}

/// Takes chunk framing away, byte by byte if it must.
#[derive(Debug, Clone)]
pub struct ChunkReader {
    of: ChunksOf,
    state: State,
    /// How far the current line was searched for its end, so that trickling bytes cost linear work.
    scanned: usize,
    /// Bytes of padding and extensions, and of data, so far.
    overhead: u64,
    data: u64,
}

impl ChunkReader {
    /// At the start of a body.
    pub fn new(of: ChunksOf) -> Self {
        Self { of, state: State::Size, scanned: 0, overhead: 0, data: 0 }
    }

    /// The next event in `input`, which keeps what is not understood yet.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Progress<ChunkEvent>, CodecError> {
        loop {
            match self.state {
                State::Size => {
                    let Some(end) = self.line_end(input, CHUNK_LINE_BYTES_MAX, Rule::ChunkOverhead)? else {
                        return Ok(Progress::NeedMore);
                    };
                    let (size, extension) = chunk_line(&input[..end], self.of)?;
                    input.advance(end + 2);
                    self.overhead += extension;
                    if self.overhead > CHUNK_OVERHEAD_BYTES_MAX + 2 * self.data {
                        return Err(CodecError::at(Rule::ChunkOverhead, 0));
                    }
                    self.data += size;
                    self.state = if size == 0 { State::Trailer { read: 0 } } else { State::Data(size) };
                }
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(Progress::NeedMore);
                    }
                    let take = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let rest = left - take as u64;
                    self.state = if rest == 0 { State::DataEnd } else { State::Data(rest) };
                    return Ok(Progress::Ready(ChunkEvent::Data(input.split_to(take).freeze())));
                }
                State::DataEnd => match &input[..] {
                    [b'\r', b'\n', ..] => {
                        input.advance(2);
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(Progress::NeedMore),
                    _ => return Err(CodecError::at(Rule::ChunkEnd, 0)),
                },
                State::Trailer { read } => {
                    let Some(end) = self.line_end(input, TRAILER_BYTES_MAX - read, Rule::Trailer)? else {
                        return Ok(Progress::NeedMore);
                    };
                    if end > 0 {
                        check_trailer(&input[..end])?;
                    }
                    input.advance(end + 2);
                    if end == 0 {
                        return Ok(Progress::Ready(ChunkEvent::End));
                    }
                    self.state = State::Trailer { read: (read + end + 2).min(TRAILER_BYTES_MAX) };
                }
            }
        }
    }

    /// The length of the first line without its CR LF, or none while it is incomplete.
    fn line_end(&mut self, input: &[u8], max: usize, too_long: Rule) -> Result<Option<usize>, CodecError> {
        match memchr::memchr(b'\n', &input[self.scanned..]) {
            Some(found) => {
                let lf = self.scanned + found;
                self.scanned = 0;
                if lf > max {
                    return Err(CodecError::at(too_long, max));
                }
                if lf == 0 || input[lf - 1] != b'\r' {
                    return Err(CodecError::at(Rule::LineEnd, lf));
                }
                Ok(Some(lf - 1))
            }
            None if input.len() > max => Err(CodecError::at(too_long, max)),
            None => {
                self.scanned = input.len();
                Ok(None)
            }
        }
    }
}

fn check_trailer(line: &[u8]) -> Result<(), CodecError> {
    let colon = memchr::memchr(b':', line).unwrap_or(0);
    let name_is_good = colon > 0 && line[..colon].iter().copied().all(is_token_byte);
    let value_is_good = line[colon..].iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f));
    if name_is_good && value_is_good { Ok(()) } else { Err(CodecError::at(Rule::Trailer, 0)) }
}

/// Appends `data` as one chunk. Empty data appends nothing: an empty chunk would end the body.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len() + 20);
    write_hex(out, data.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk and an empty trailer section.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

fn write_hex(out: &mut Vec<u8>, number: usize) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * place)) & 15]);
    }
}

/// Writes a piece of a body, framed for the client.
pub fn write_piece(piece: &[u8], framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::Chunked => write_chunk(out, piece),
        Framing::Length(_) | Framing::UntilClose | Framing::Empty => out.extend_from_slice(piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Result<(String, String), CodecError> {
        let mut reader = ChunkReader::new(ChunksOf::Request);
        let mut buffer = BytesMut::from(input);
        let mut data = String::new();
        loop {
            match reader.next(&mut buffer)? {
                Progress::Ready(ChunkEvent::Data(bytes)) => {
                    data.push_str(std::str::from_utf8(&bytes).unwrap())
                }
                Progress::Ready(ChunkEvent::End) => {
                    return Ok((data, String::from_utf8(buffer.to_vec()).unwrap()));
                }
                Progress::NeedMore => return Ok((data, "incomplete".into())),
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        for size in [1, 15, 16, 17, 255, 256, 70_000] {
            write_chunk(&mut out, "x".repeat(size).as_bytes());
        }
        write_chunk(&mut out, b"");
        write_last_chunk(&mut out);
        out.extend_from_slice(b"next");
        let (data, rest) = read(std::str::from_utf8(&out).unwrap()).unwrap();
        assert_eq!((data.len(), rest.as_str()), (1 + 15 + 16 + 17 + 255 + 256 + 70_000, "next"));
    }

    #[test]
    fn extensions_and_trailers_are_read_and_dropped() {
        let text = "3;a=\"b;c\"\r\nabc\r\n0 ;x\r\nx-sum: 1\r\n\r\nrest";
        assert_eq!(read(text).unwrap(), ("abc".into(), "rest".into()));
    }

    #[test]
    fn malformed_chunks_are_refused_by_their_rule() {
        for (text, rule) in [
            ("x\r\n", Rule::ChunkSize),
            ("\r\n", Rule::ChunkSize),
            ("-1\r\n", Rule::ChunkSize),
            ("0x3\r\nabc\r\n", Rule::ChunkSize),
            ("3 \r\nabc\r\n", Rule::ChunkSize),
            ("1000000000000000\r\n", Rule::ChunkSize),
            ("3\nabc\r\n", Rule::LineEnd),
            ("3\r\nabcd\r\n", Rule::ChunkEnd),
            ("3\r\nabc\n0\r\n\r\n", Rule::ChunkEnd),
            ("0\r\nbad trailer: 1\r\n\r\n", Rule::Trailer),
            ("0\r\n: 1\r\n\r\n", Rule::Trailer),
        ] {
            assert_eq!(read(text).unwrap_err().rule, rule, "{text:?}");
        }
    }

    #[test]
    fn endless_extensions_are_refused() {
        let line = format!("1;{}\r\nx\r\n", "e".repeat(2000));
        assert_eq!(read(&line.repeat(40)).unwrap_err().rule, Rule::ChunkOverhead);
        assert_eq!(read(&format!("1;{}", "e".repeat(5000))).unwrap_err().rule, Rule::ChunkOverhead);
        // Padding is no different.
        let mut reader = ChunkReader::new(ChunksOf::Response);
        let mut input = BytesMut::from(&*format!("1{}\r\nx\r\n", " ".repeat(2000)).repeat(40));
        let refused = std::iter::repeat_with(|| reader.next(&mut input)).find_map(Result::err).unwrap();
        assert_eq!(refused.rule, Rule::ChunkOverhead);
    }
}
