//! Walks over a document that is known to be JSON and finds where its values stand: nothing is built, nothing checked twice.

use std::borrow::Cow;
use std::ops::Range;

use super::text::{Run, bracket, skip};

/// A place in a document, in front of a value, a key, or the end of what it stands in.
///
/// It goes wherever it is sent, so a text that is no document gives nonsense, but neither a panic nor an endless loop.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Cursor<'t> {
    /// In front of the document; a byte order mark is left out.
    pub fn new(text: &'t [u8]) -> Self {
        let mark = "\u{feff}".as_bytes();
        Self { text, at: if text.starts_with(mark) { mark.len() } else { 0 } }
    }

    /// Inside a list of which `span` is what stands between the brackets, or some values of it in a row.
    pub fn within(text: &'t [u8], span: &Range<usize>) -> Self {
        Self { text: text.get(..span.end).unwrap_or(text), at: span.start }
    }

    /// Where it stands.
    pub fn place(&self) -> usize {
        self.at
    }

    /// What stands there.
    pub fn text(&self, span: &Range<usize>) -> &'t [u8] {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The first byte of what comes next; zero at the end.
    pub fn peek(&mut self) -> u8 {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
        self.at += blanks;
        rest.get(blanks).copied().unwrap_or(0)
    }

    /// Steps into the list or object that comes next.
    pub fn enter(&mut self) {
        self.peek();
        self.at += 1;
    }

    /// Steps in front of the next value of the list that it is in; behind the list where there is none.
    pub fn next_value(&mut self) -> bool {
        match self.peek() {
            0 => false,
            b']' | b'}' => {
                self.at += 1;
                false
            }
            b',' => {
                self.at += 1;
                self.peek() != 0
            }
            _ => true,
        }
    }

    /// The next key of the object that it is in, with its quotes, and steps in front of its value; behind the object where
    /// there is none.
    pub fn next_key(&mut self) -> Option<Range<usize>> {
        if !self.next_value() {
            return None;
        }
        let key = self.skip();
        self.peek();
        self.at += 1;
        self.peek();
        Some(key)
    }

    /// Where the value stands that comes next; steps behind it.
    pub fn skip(&mut self) -> Range<usize> {
        let first = self.peek();
        let from = self.at;
        self.at = match first {
            b'"' => self.string_end(from),
            b'{' | b'[' => self.container_end(from),
            _ => {
                let rest = self.text.get(from..).unwrap_or_default();
                let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b']' | b'}');
                // Never on the spot, so that whoever goes on and on comes to an end.
                from + rest.iter().position(ends).unwrap_or(rest.len()).max(1)
            }
        };
        from..self.at.min(self.text.len())
    }

    fn string_end(&self, quote: usize) -> usize {
        match skip(self.text, quote + 1) {
            Run::Closed(end) => end + 1,
            Run::Spent(_) | Run::Malformed(_) => self.text.len(),
        }
    }

    fn container_end(&self, from: usize) -> usize {
        let (mut at, mut depth) = (from, 0_usize);
        loop {
            at = bracket(self.text, at);
            match self.text.get(at) {
                None => return self.text.len(),
                Some(b'"') => {
                    at = self.string_end(at);
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                Some(_) => depth = depth.saturating_sub(1),
            }
            at += 1;
            if depth == 0 {
                return at;
            }
        }
    }
}

/// The text of a string that is written as `raw`, with its quotes; none where it has half a surrogate pair.
pub fn text_of(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inside = raw.get(1..raw.len().checked_sub(1)?)?;
    match inside.contains(&b'\\') {
        false => std::str::from_utf8(inside).ok().map(Cow::Borrowed),
        true => serde_json::from_slice::<String>(raw).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_where_they_stand() {
        let text =
            "\u{feff} { \"a\\\"]\" : [1 , \"}\\\\\" , {\"x\":[[]]}, -0.0e1 ] , \"b\":{} ,\"c\":null}\n";
        let mut cursor = Cursor::new(text.as_bytes());
        let said =
            |cursor: &Cursor<'_>, span: &Range<usize>| String::from_utf8(cursor.text(span).to_vec()).unwrap();
        assert_eq!(cursor.peek(), b'{');
        cursor.enter();
        let key = cursor.next_key().unwrap();
        assert_eq!(text_of(cursor.text(&key)).unwrap(), "a\"]");
        let mut found = Vec::new();
        cursor.enter();
        let inside = cursor.place();
        while cursor.next_value() {
            let value = cursor.skip();
            found.push(said(&cursor, &value));
        }
        assert_eq!(found, ["1", "\"}\\\\\"", "{\"x\":[[]]}", "-0.0e1"]);
        let mut within = Cursor::within(text.as_bytes(), &(inside..inside + 13));
        assert!(within.next_value() && within.skip().len() == 1 && within.next_value());
        let value = within.skip();
        assert_eq!((said(&within, &value).as_str(), within.next_value()), ("\"}\\\\\"", true));
        for (name, value) in [("b", "{}"), ("c", "null")] {
            let key = cursor.next_key().unwrap();
            let found = cursor.skip();
            assert_eq!(
                (text_of(cursor.text(&key)).unwrap().as_ref(), said(&cursor, &found).as_str()),
                (name, value)
            );
        }
        assert_eq!((cursor.next_key(), cursor.peek(), cursor.next_value()), (None, 0, false));
    }

    #[test]
    fn what_is_no_document_ends_all_the_same() {
        for text in [
            "", "[", "{", "[[[", "\"", "\"\\", "{\"a\"", "{\"a\":", "}", "]]]", ",,,", "::", "{:}", "[1 2",
            "\\",
        ] {
            let mut cursor = Cursor::new(text.as_bytes());
            cursor.enter();
            let mut steps = 0;
            while cursor.next_value() {
                cursor.skip();
                steps += 1;
                assert!(steps < 10, "{text}");
            }
            while cursor.next_key().is_some() {
                steps += 1;
                assert!(steps < 10, "{text}");
            }
        }
        assert_eq!((text_of(b""), text_of(b"\""), text_of(br#""\ud800""#)), (None, None, None));
    }
}
