//! Where a head ends in its input, found in linear work however its bytes trickle in.

use std::sync::LazyLock;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;

use super::error::{CodecError, Rule};

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
pub(super) fn head_end_within(
    input: &[u8],
    scanned: &mut usize,
    max: usize,
) -> Result<Option<usize>, CodecError> {
    let searched_from = *scanned;
    let end = head_end(input, scanned);
    if end.is_some_and(|end| end <= max) {
        return Ok(end);
    }
    if let Some(offset) = bare_line_feed(&input[..input.len().min(max + 1)], searched_from) {
        return Err(CodecError::at(Rule::LineEnd, offset));
    }
    if input.len() > max {
        return Err(CodecError::at(Rule::HeadMax, max));
    }
    Ok(None)
}

/// Takes the head of `length` bytes out of `input` into `store`, whose memory it gets again from each head that is gone.
///
/// A head that lay in the read buffer would hold on to all of it, so that what comes next went to memory that is cold.
pub(super) fn take_head(input: &mut BytesMut, length: usize, store: &mut BytesMut) -> Bytes {
    store.reserve(length);
    store.extend_from_slice(&input[..length]);
    input.advance(length);
    store.split().freeze()
}

/// The first LF in `input[from..]` that no CR precedes. Without this check a client that ends lines with LF alone
/// would wait for the head timeout instead of being told.
pub(super) fn bare_line_feed(input: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &input[from..])
        .map(|found| from + found)
        .find(|&lf| lf == 0 || input[lf - 1] != b'\r')
}
