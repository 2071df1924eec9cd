//! HTTP/1.1 as bytes in, events out; knows no socket, no route and no clock.
//!
//! Invariants of a reader, each with a test of its name in `tests/codec`: *conserving* (every input byte is in an
//! event, counted as framing, or still in the input), *split-blind* (any division of the same bytes gives the same
//! events, adjacent data joined), *linear* (work is proportional to bytes, however they trickle in), *bounded*
//! (heads, trailers and chunk framing have limits of their own), *final* (after an error, or a body that runs until
//! close, the connection is never used again).
//!
//! Declared deviations from the standards. Towards strictness:
//!
//! | source | allows | corelane |
//! |---|---|---|
//! | RFC 9112 §2.2 | a lone LF may end a line | refused: two readers that differ here can be played against each other |
//! | RFC 9112 §6.1, §6.3 | Content-Length beside Transfer-Encoding may be accepted, and the connection then closed | refused with 400 and close; an answer with 502 |
//! | RFC 9112 §6.1 | a coding in HTTP/1.0 may be read, and the connection then closed | refused, in requests and answers |
//! | RFC 9112 §6.3 | a coding that does not end in chunked: 400 | 400 where chunked stands elsewhere; 501 where a coding is unknown, so that the client learns which |
//! | RFC 9110 §8.6 | repeated equal Content-Length may be merged | refused |
//! | RFC 9110 §8.6, RFC 9112 §7.1 | numbers of any number of digits | lengths up to 18 digits, chunk sizes up to 15: they cannot overflow |
//! | RFC 9112 §7.1.1 | unknown chunk extensions are ignored | ignored up to a limit, never forwarded |
//! | RFC 9112 §7.1.2 | trailers may be merged or forwarded | read, checked and dropped |
//! | RFC 9110 §5.5 | control characters in a value may be kept | refused |
//! | RFC 9112 §5.1 | white space before the colon of an answer's field is removed | refused with 502 |
//! | RFC 9110 §2.5, §15.6.6 | HTTP/1.2 is read as HTTP/1.1; other versions get 505 | refused with 400: nobody speaks it |
//! | RFC 9110 §15 | a status outside 100 to 599 is treated as 5xx | refused with 502 |
//! | RFC 9112 §3.2.2 | a query may follow the authority of an absolute target | refused: it would have to be rewritten to be forwarded |
//! | RFC 9112 §3.2 | Host is empty where the target has no authority | refused, but in HTTP/1.0 and beside an absolute target |
//! | RFC 9110 §4.1 | a host may hold a comma or be an IPvFuture literal | refused: others split a list of hosts at it; nobody has such an address |
//! | RFC 9110 §4.1 | a host may hold escapes | refused: some servers decode them, and routes are found by the name as it is |
//! | RFC 9110 §7.8, §9.3.6, §9.3.8 | Upgrade, CONNECT and TRACE may be offered | upgrades are removed; CONNECT and TRACE are answered 501 |
//! | RFC 9112 §9.3.2 | clients may pipeline | answered in order, one at a time; reading stops while busy |
//!
//! And towards tolerance:
//!
//! | source | requires | corelane |
//! |---|---|---|
//! | RFC 9112 §3.2 | a target outside the grammar is refused | any visible ASCII but `#` passes as it is: clients send `{`, `|` and `"` |
//! | RFC 9110 §7.4 | an origin refuses https on a plain connection | accepted, the scheme is not used: the gateway often stands behind something that ends TLS |
//! | RFC 9110 §7.6.3 | Via names the version received | always `1.1` |

pub mod body;
pub mod chunked;
pub mod encode;
pub mod error;
pub mod field;
pub mod forwarded;
pub mod framing;
pub mod head;
pub mod json;
pub mod media_type;
pub mod multipart;
mod parameters;
mod part_head;
pub mod proxy_protocol;
pub mod reply;
pub mod request;
pub mod response;
pub mod sse;
mod target;
pub mod trace;
pub mod urlencoded;

use std::sync::LazyLock;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;

/// What a reader says after looking at its input.
#[derive(Debug)]
pub enum Progress<T> {
    /// The next event.
    Ready(T),
    /// The input holds no complete event: read more and ask again.
    NeedMore,
}

/// Built once: to build one costs more than to search a head.
static HEAD_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Where the head at the start of `input` ends, searching on from `scanned`.
///
/// Returns the length including the empty line, or none and how far was searched. A head whose lines end in lone LF
/// never ends here; `bare_line_feed` finds those early.
fn head_end(input: &[u8], scanned: &mut usize) -> Option<usize> {
    match HEAD_END.find(&input[*scanned..]) {
        Some(found) => {
            let end = *scanned + found + 4;
            *scanned = 0;
            Some(end)
        }
        None => {
            // The end may straddle two reads: look at the last three bytes again.
            *scanned = input.len().saturating_sub(3);
            None
        }
    }
}

/// The end of the head at the start of `input`, none while it is incomplete; searches on from `scanned`.
///
/// Refuses a head longer than `max`, and a lone LF that comes before either end: whichever stands first is the fault,
/// however the bytes were split.
fn head_end_within(
    input: &[u8],
    scanned: &mut usize,
    max: usize,
) -> Result<Option<usize>, error::CodecError> {
    let searched_from = *scanned;
    let end = head_end(input, scanned);
    if end.is_some_and(|end| end <= max) {
        return Ok(end);
    }
    if let Some(offset) = bare_line_feed(&input[..input.len().min(max + 1)], searched_from) {
        return Err(error::CodecError::at(error::Rule::LineEnd, offset));
    }
    if input.len() > max {
        return Err(error::CodecError::at(error::Rule::HeadMax, max));
    }
    Ok(None)
}

/// Takes the head of `length` bytes out of `input` into `store`, whose memory it gets again from each head that is gone.
///
/// A head that lay in the read buffer would hold on to all of it, so that what comes next went to memory that is cold.
fn take_head(input: &mut BytesMut, length: usize, store: &mut BytesMut) -> Bytes {
    store.reserve(length);
    store.extend_from_slice(&input[..length]);
    input.advance(length);
    store.split().freeze()
}

/// The first LF in `input[from..]` that no CR precedes. Without this check a client that ends lines with LF alone
/// would wait for the head timeout instead of being told.
fn bare_line_feed(input: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &input[from..])
        .map(|found| from + found)
        .find(|&lf| lf == 0 || input[lf - 1] != b'\r')
}
