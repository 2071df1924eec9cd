//! A string as it is meant, and where each byte of it stands in the document.

use std::borrow::Cow;
use std::cell::Cell;

/// The inside of one string, decoded as it is told; any length.
#[derive(Debug, Default)]
pub struct Decoded {
    bytes: Vec<u8>,
    /// Where the first byte stands, and the place behind what has come.
    begins: Option<u64>,
    next: u64,
    /// How far it is in the document from each byte to the next one; empty where each is one.
    widths: Vec<u8>,
    /// The byte whose place was asked for last, and that place: whoever asks for one after the other goes on from there.
    last: Cell<(usize, u64)>,
    /// So many bytes are enough.
    most: Option<usize>,
    /// The first half of a surrogate pair, and where it stands.
    half: Option<(u16, u64)>,
}

impl Decoded {
    /// One of which no more than about `most` bytes matter, if that is said.
    pub fn up_to(most: Option<usize>) -> Self {
        Self { most, ..Self::default() }
    }

    /// Starts anew.
    pub fn begin(&mut self) {
        self.bytes.clear();
        self.widths.clear();
        (self.begins, self.next) = (None, 0);
        self.last.set((0, 0));
        self.half = None;
    }

    /// Bytes that stand at `at` in the document.
    pub fn push(&mut self, bytes: &[u8], at: u64) {
        self.end_half();
        self.come(at, bytes);
    }

    /// A code unit of UTF-16, written as `\uXXXX` at `at`.
    pub fn push_unit(&mut self, unit: u16, at: u64) {
        if let Some((first, first_at)) = self.half {
            if let Some(Ok(character)) = char::decode_utf16([first, unit]).next() {
                self.half = None;
                return self.push_character(character, first_at);
            }
            self.end_half();
        }
        match char::decode_utf16([unit]).next() {
            Some(Ok(character)) => self.push_character(character, at),
            _ if (0xD800..0xDC00).contains(&unit) => self.half = Some((unit, at)),
            _ => self.push_character(char::REPLACEMENT_CHARACTER, at),
        }
    }

    /// The string ended before `at`.
    pub fn end(&mut self, at: u64) {
        self.end_half();
        self.come(at, &[]);
    }

    /// The text; what is none is replaced, as half a surrogate pair is.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// The text as bytes: UTF-8, but for what is none in the document.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the byte at `place` of the text stands in the document; that of an escape, or of the end behind it, where that
    /// begins.
    pub fn place(&self, place: usize) -> u64 {
        let begins = self.begins.unwrap_or(0);
        if self.widths.is_empty() {
            return begins + place as u64;
        }
        let (from, at) = match self.last.get() {
            (last, at) if last > 0 && last <= place => (last, at),
            _ => (0, begins),
        };
        let at = at + self.widths[from..place].iter().map(|width| u64::from(*width)).sum::<u64>();
        self.last.set((place, at));
        at
    }

    fn push_character(&mut self, character: char, at: u64) {
        self.come(at, character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn end_half(&mut self) {
        if let Some((_, at)) = self.half.take() {
            self.push_character(char::REPLACEMENT_CHARACTER, at);
        }
    }

    /// Takes bytes that stand at `at`, side by side; those between here and there belong to the byte before.
    fn come(&mut self, at: u64, bytes: &[u8]) {
        if self.most.is_some_and(|most| self.bytes.len() >= most) {
            return;
        }
        let gap = match self.begins {
            Some(_) => at.saturating_sub(self.next),
            None => 0,
        };
        self.begins.get_or_insert(at);
        if gap > 0 {
            self.widths.resize(self.bytes.len(), 1);
            if let Some(width) = self.widths.last_mut() {
                // No escape is longer than a dozen bytes.
                *width = width.saturating_add(u8::try_from(gap).unwrap_or(u8::MAX));
            }
        }
        self.bytes.extend_from_slice(bytes);
        if !self.widths.is_empty() {
            self.widths.resize(self.bytes.len(), 1);
        }
        self.next = at + bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::JsonFault;
    use super::super::walker::{Listener, Told, Walker};
    use super::*;

    /// Keeps the last text.
    #[derive(Default)]
    struct Last(Decoded);

    impl Listener for Last {
        fn begin(&mut self, _: Told) -> bool {
            self.0.begin();
            true
        }
        fn bytes(&mut self, bytes: &[u8], at: u64) {
            self.0.push(bytes, at);
        }
        fn unit(&mut self, unit: u16, at: u64) {
            self.0.push_unit(unit, at);
        }
        fn end(&mut self, _: Told, at: u64) -> Result<(), JsonFault> {
            self.0.end(at);
            Ok(())
        }
    }

    fn decoded(pieces: &[&[u8]]) -> Decoded {
        let mut walker = Walker::new(Last::default());
        pieces.iter().for_each(|piece| walker.feed(piece).unwrap());
        walker.finish().unwrap();
        walker.into_listener().0
    }

    #[test]
    fn each_byte_of_a_text_is_found_in_the_document_in_any_split() {
        for (document, text, places) in [
            (r#""abc""#, "abc", vec![1, 2, 3, 4]),
            (r#"["a\nb"]"#, "a\nb", vec![2, 3, 5, 6]),
            (r#""\u0065x\\""#, "ex\\", vec![1, 7, 8, 10]),
            (r#""\ud83d\ude00!""#, "😀!", vec![1, 2, 3, 4, 13, 14]),
            (r#""\ud83dx""#, "\u{fffd}x", vec![1, 2, 3, 7, 8]),
            (r#""\ude00""#, "\u{fffd}", vec![1, 2, 3, 7]),
            (r#""é""#, "é", vec![1, 2, 3]),
            (r#""""#, "", vec![1]),
        ] {
            let bytes = document.as_bytes();
            for at in 0..bytes.len() {
                let decoded = decoded(&[&bytes[..at], &bytes[at..]]);
                assert_eq!(decoded.text(), text, "{document} cut at {at}");
                let found: Vec<_> = (0..=text.len()).map(|place| decoded.place(place)).collect();
                assert_eq!(found, places, "{document} cut at {at}");
            }
        }
    }
}
