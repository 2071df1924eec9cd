//! Changes of a body's bytes: all others stay as they are.

use std::ops::Range;

use bytes::Bytes;

/// Bytes that others take the place of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// Where they stand in the body.
    pub range: Range<u64>,
    /// What stands there instead.
    pub by: Bytes,
}

/// Puts splices in order. Where two overlap, the one that begins first stays, and covers both.
pub fn settled(mut splices: Vec<Splice>) -> Vec<Splice> {
    splices.sort_by_key(|splice| (splice.range.start, std::cmp::Reverse(splice.range.end)));
    let mut settled: Vec<Splice> = Vec::with_capacity(splices.len());
    for splice in splices {
        match settled.last_mut() {
            Some(last) if splice.range.start < last.range.end => {
                last.range.end = last.range.end.max(splice.range.end);
            }
            _ => settled.push(splice),
        }
    }
    settled
}

/// The pieces of a body with settled splices in them; what stays is not copied.
pub fn spliced(pieces: &[Bytes], splices: &[Splice]) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(pieces.len() + 2 * splices.len());
    let mut left = splices.iter().peekable();
    let (mut start, mut skip_to) = (0, 0);
    for piece in pieces {
        let end = start + piece.len() as u64;
        let mut at = skip_to.max(start);
        while let Some(splice) = left.next_if(|splice| splice.range.start < end) {
            push(&mut out, piece, at.saturating_sub(start)..splice.range.start - start);
            if !splice.by.is_empty() {
                out.push(splice.by.clone());
            }
            skip_to = splice.range.end;
            at = skip_to;
        }
        push(&mut out, piece, at.min(end) - start..end - start);
        start = end;
    }
    // What is put at the very end.
    out.extend(left.map(|splice| splice.by.clone()).filter(|by| !by.is_empty()));
    out
}

fn push(out: &mut Vec<Bytes>, piece: &Bytes, range: Range<u64>) {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(piece.len());
    let (start, end) = (place(range.start), place(range.end));
    if start < end {
        out.push(piece.slice(start..end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn splice(range: Range<u64>, by: &'static str) -> Splice {
        Splice { range, by: Bytes::from_static(by.as_bytes()) }
    }

    #[test]
    fn what_overlaps_is_covered_by_the_first() {
        let all = settled(vec![
            splice(5..8, "b"),
            splice(0..2, "a"),
            splice(6..9, "c"),
            splice(9..9, "d"),
            splice(5..6, "e"),
        ]);
        assert_eq!(all, [splice(0..2, "a"), splice(5..9, "b"), splice(9..9, "d")]);
    }

    #[test]
    fn any_pieces_are_spliced_as_the_whole() {
        for seed in 0..2000 {
            let mut rng = Rng::new(seed);
            let body: Vec<u8> = (0..rng.below(40)).map(|byte| b'a' + (byte % 26) as u8).collect();
            let end = body.len() as u64;
            let splices: Vec<_> = (0..rng.below(5))
                .map(|_| {
                    let from = rng.below(end + 1);
                    splice(from..(from + rng.below(6)).min(end), ["", "X", "[LONG]"][rng.below(3) as usize])
                })
                .collect();
            let splices = settled(splices);
            let mut expected = body.clone();
            for splice in splices.iter().rev() {
                expected.splice(
                    splice.range.start as usize..splice.range.end as usize,
                    splice.by.iter().copied(),
                );
            }
            let mut rest = Bytes::from(body);
            let mut pieces = Vec::new();
            while !rest.is_empty() {
                pieces.push(rest.split_to(rng.below(rest.len() as u64) as usize + 1));
            }
            assert_eq!(spliced(&pieces, &splices).concat(), expected, "{pieces:?} {splices:?}");
        }
    }
}
