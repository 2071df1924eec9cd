//! Whether bytes are one document: for whoever goes on to take it apart.

use super::fault::JsonFault;
use super::utf8::Utf8;
use super::walker::{Listener, Told, Walker};

/// Whether `text` is one JSON document in UTF-8 (RFC 8259) that every reader takes: no byte order mark, no number of
/// Python's, no half of a surrogate pair, and no more nesting than is allowed.
pub fn is_sound(text: &[u8]) -> bool {
    let has_mark = text.starts_with("\u{feff}".as_bytes());
    !has_mark && Utf8::default().feed(text) && walks(text, Strict::default())
}

/// Whether `text` can be taken apart: a document but for things that some engines write and their clients read, the three
/// numbers that JSON has not and a byte order mark; and what stands behind a backslash is not looked at.
pub fn is_readable(text: &[u8]) -> bool {
    Utf8::default().feed(text) && walks(text, Lenient)
}

fn walks(text: &[u8], listener: impl Listener) -> bool {
    let mut walker = Walker::new(listener);
    walker.feed(text).is_ok() && walker.finish().is_ok()
}

#[derive(Debug, Default)]
struct Strict {
    /// The first half of a surrogate pair has come, its second has not.
    has_half: bool,
    /// Half a pair stood alone.
    is_torn: bool,
}

impl Listener for Strict {
    fn begin(&mut self, what: Told) -> bool {
        what != Told::Number
    }

    fn bytes(&mut self, bytes: &[u8], _: u64) {
        self.is_torn |= self.has_half && !bytes.is_empty();
    }

    fn unit(&mut self, unit: u16, _: u64) {
        let is_second = (0xDC00..0xE000).contains(&unit);
        self.is_torn |= self.has_half != is_second;
        self.has_half = (0xD800..0xDC00).contains(&unit);
    }

    fn end(&mut self, _: Told, _: u64) -> Result<(), JsonFault> {
        match self.is_torn || self.has_half {
            true => Err(JsonFault::Ambiguous),
            false => Ok(()),
        }
    }

    fn word(&mut self, word: &'static [u8], _: u64) -> Result<(), JsonFault> {
        match word {
            b"true" | b"false" | b"null" => Ok(()),
            _ => Err(JsonFault::Ambiguous),
        }
    }
}

#[derive(Debug)]
struct Lenient;

impl Listener for Lenient {
    fn begin(&mut self, _: Told) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_document_is_one_that_every_reader_takes() {
        for (text, sound, readable) in [
            (r#"{"a":[1,-0.0,1E400,"\u00e9\ud83d\ude00é",true,null]}"#, true, true),
            ("\u{feff}{}", false, true),
            ("[NaN,-Infinity]", false, true),
            (r#"["\ud83d"]"#, false, true),
            (r#"["\ude00"]"#, false, true),
            (r#"["\ud83dx\ude00"]"#, false, true),
            (r#"["\ud83d\n\ude00"]"#, false, true),
            (r#"{"\ud83d\ud83d\ude00":1}"#, false, true),
            (r#"["\x"]"#, false, true),
            ("[1,]", false, false),
            ("{} {}", false, false),
            ("", false, false),
        ] {
            let bytes = text.as_bytes();
            assert_eq!((is_sound(bytes), is_readable(bytes)), (sound, readable), "{text}");
        }
        assert!(!is_sound(b"[\"\xff\"]") && !is_readable(b"[\"\xff\"]"));
    }
}
