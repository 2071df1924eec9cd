//! A string as it is meant, and where each byte of it stands in the document.

use std::borrow::Cow;

/// The inside of one string, decoded as it is told; any length.
#[derive(Debug, Default)]
pub struct Decoded {
    bytes: Vec<u8>,
    /// Where runs of bytes begin that stand side by side in the document too: in the text, and in the document.
    runs: Vec<(usize, u64)>,
    /// The first half of a surrogate pair, and where it stands.
    half: Option<(u16, u64)>,
}

impl Decoded {
    /// Starts anew.
    pub fn begin(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        self.half = None;
    }

    /// Bytes that stand at `at` in the document.
    pub fn push(&mut self, bytes: &[u8], at: u64) {
        self.end_half();
        self.run(at);
        self.bytes.extend_from_slice(bytes);
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
        self.run(at);
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
        let behind = self.runs.partition_point(|(start, _)| *start <= place);
        let Some((start, at)) = behind.checked_sub(1).map(|run| self.runs[run]) else { return 0 };
        at + (place - start) as u64
    }

    fn push_character(&mut self, character: char, at: u64) {
        self.run(at);
        self.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn end_half(&mut self) {
        if let Some((_, at)) = self.half.take() {
            self.push_character(char::REPLACEMENT_CHARACTER, at);
        }
    }

    /// From here on bytes stand at `at`, unless they would anyway.
    fn run(&mut self, at: u64) {
        let start = self.bytes.len();
        let goes_on = self.runs.last().is_some_and(|(from, known)| known + (start - from) as u64 == at);
        if !goes_on {
            self.runs.push((start, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::JsonFault;
    use super::super::walker::{Container, Listener, Told, Walker};
    use super::*;

    /// Keeps the last text.
    #[derive(Default)]
    struct Last(Decoded);

    impl Listener for Last {
        fn open(&mut self, _: Container, _: u64) -> Result<(), JsonFault> {
            Ok(())
        }
        fn close(&mut self, _: u64) -> Result<(), JsonFault> {
            Ok(())
        }
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
        fn word(&mut self, _: &'static [u8], _: u64) -> Result<(), JsonFault> {
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
