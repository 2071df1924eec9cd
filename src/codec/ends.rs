//! The two ends of a body, in bounded room: enough to find what an engine says there of the tokens that it took.

use memchr::memmem;

use crate::base::limits::{USAGE_FIRST_BYTES, USAGE_LAST_BYTES};

/// The first and the last bytes of a body. Those between are forgotten.
#[derive(Debug)]
pub(super) struct Ends {
    kept: Vec<u8>,
    /// How many of the first bytes stay.
    first: usize,
    /// Whether bytes behind those were forgotten.
    is_cut: bool,
}

impl Ends {
    /// For a body whose usage stands behind all else: documents.
    pub(super) fn of_document() -> Self {
        Self { kept: Vec::new(), first: 0, is_cut: false }
    }

    /// For one that tells of the prompt at its beginning, of the answer at its end: streams.
    pub(super) fn of_stream() -> Self {
        Self { first: USAGE_FIRST_BYTES, ..Self::of_document() }
    }

    /// The next bytes.
    #[inline] // each piece of an answer passes here
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        match self.kept.len() + bytes.len() <= self.first + 2 * USAGE_LAST_BYTES {
            true => self.kept.extend_from_slice(bytes),
            false => self.forget(bytes),
        }
    }

    /// Makes room for them.
    #[cold]
    fn forget(&mut self, bytes: &[u8]) {
        let (first, bytes) = bytes.split_at(self.first.saturating_sub(self.kept.len()).min(bytes.len()));
        self.kept.extend_from_slice(first);
        let last = &bytes[bytes.len().saturating_sub(USAGE_LAST_BYTES)..];
        let stays = (self.kept.len() - self.first).min(USAGE_LAST_BYTES - last.len());
        let from = self.kept.len() - stays;
        self.kept.copy_within(from.., self.first);
        self.kept.truncate(self.first + stays);
        self.kept.extend_from_slice(last);
        self.is_cut = true;
    }

    /// What stands there, in order, each part without a gap.
    fn parts(&self) -> [&[u8]; 2] {
        match self.is_cut {
            true => self.kept.split_at(self.first).into(),
            false => [&self.kept, b""],
        }
    }

    /// The members there whose name ends with `suffix`, the first of them first: what stands behind their colon, and the
    /// name. Inside a string the closing quote would stand behind a backslash, so nothing is found in what a model said.
    pub(super) fn members<'a>(&'a self, suffix: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.parts().into_iter().flat_map(move |part| {
            memmem::find_iter(part, suffix).filter_map(move |at| {
                let (before, behind) = part.split_at(at + suffix.len());
                let value = behind.strip_prefix(b"\"")?.trim_ascii_start().strip_prefix(b":")?;
                let begins = before.iter().rposition(|byte| *byte == b'"')? + 1;
                Some((std::str::from_utf8(&before[begins..]).ok()?, value.trim_ascii_start()))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_stay_in_bounded_room_in_any_split() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(|n| n.to_be_bytes()).collect();
        for first in [0, USAGE_FIRST_BYTES] {
            for length in
                [0, 10, first, first + 2 * USAGE_LAST_BYTES, first + 2 * USAGE_LAST_BYTES + 1, 80_000]
            {
                for piece in [1, 7, 1000, USAGE_FIRST_BYTES + 1, 2 * USAGE_LAST_BYTES, 80_000] {
                    let mut ends = Ends { first, ..Ends::of_document() };
                    text[..length].chunks(piece).for_each(|piece| ends.feed(piece));
                    let [head, tail] = ends.parts();
                    assert!(ends.kept.len() <= first + 2 * USAGE_LAST_BYTES);
                    assert!(text[..length].starts_with(head) && text[..length].ends_with(tail));
                    match ends.is_cut {
                        true => assert!(head.len() == first && tail.len() >= USAGE_LAST_BYTES),
                        false => assert_eq!(head.len(), length),
                    }
                }
            }
        }
    }

    #[test]
    fn members_are_found_by_what_their_names_end_with() {
        let mut ends = Ends::of_document();
        ends.feed(br#"x_tokens":1,"a_tokens" : 2,"b":"\"c_tokens\":3","d_tokens":"d_tokens","_tokens":4}"#);
        let found: Vec<_> = ends.members("_tokens").map(|(name, value)| (name, value[0])).collect();
        assert_eq!(found, [("a_tokens", b'2'), ("d_tokens", b'"'), ("_tokens", b'4')]);
    }
}
