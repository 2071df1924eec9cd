//! HTTP/1.1 as bytes in, events out; knows no socket, no route and no clock.
//!
//! Invariants of a reader, each with a test of its name in `tests/codec`: *conserving* (every input byte is in an
//! event, counted as framing, or still in the input), *split-blind* (any division of the same bytes gives the same
//! events, adjacent data joined), *linear* (work is proportional to bytes, however they trickle in), *bounded*
//! (heads, trailers and chunk framing have limits of their own), *final* (after an error, or a body that runs until
//! close, the connection is never used again).
//!
//! Declared deviations from the standards, all towards strictness:
//!
//! | source | allows | corelane |
//! |---|---|---|
//! | RFC 9112 §2.2 | a lone LF may end a line | refused: two readers that differ here can be played against each other |
//! | RFC 9112 §6.1, §6.3 | Content-Length beside Transfer-Encoding may be accepted, and the connection then closed | refused with 400 and close |
//! | RFC 9110 §8.6 | repeated equal Content-Length may be merged | refused |
//! | RFC 9112 §7.1.1 | unknown chunk extensions are ignored | ignored up to a limit, never forwarded |
//! | RFC 9112 §7.1.2 | trailers may be merged or forwarded | read, checked and dropped |
//! | RFC 9110 §7.8, §9.3.6 | Upgrade and CONNECT may be offered | upgrades are removed; CONNECT and TRACE are answered 501 |
//! | RFC 9110 §4.1 | a host may hold a comma or be an IPvFuture literal | refused: others split a list of hosts at it; nobody has such an address |
//! | RFC 9112 §9.3.2 | clients may pipeline | answered in order, one at a time; reading stops while busy |

pub mod body;
pub mod chunked;
pub mod encode;
pub mod error;
pub mod field;
pub mod framing;
pub mod head;
pub mod reply;
pub mod request;
pub mod response;
pub mod sse;
mod target;

/// What a reader says after looking at its input.
#[derive(Debug)]
pub enum Progress<T> {
    /// The next event.
    Ready(T),
    /// The input holds no complete event: read more and ask again.
    NeedMore,
}

/// Where the head at the start of `input` ends, searching on from `scanned`.
///
/// Returns the length including the empty line, or none and how far was searched. A head whose lines end in lone LF
/// never ends here; `bare_line_feed` finds those early.
fn head_end(input: &[u8], scanned: &mut usize) -> Option<usize> {
    match memchr::memmem::find(&input[*scanned..], b"\r\n\r\n") {
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

/// The first LF in `input[from..]` that no CR precedes. Without this check a client that ends lines with LF alone
/// would wait for the head timeout instead of being told.
fn bare_line_feed(input: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &input[from..])
        .map(|found| from + found)
        .find(|&lf| lf == 0 || input[lf - 1] != b'\r')
}
