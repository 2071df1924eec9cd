//! What can be told of a document that is not read: of its commas and of what stands in quotes.

/// Whether it begins as an object, and nothing in it is written otherwise than it reads.
pub fn is_object_without_escapes(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{") && memchr::memchr(b'\\', text).is_none()
}

/// Whether it has fewer commas than that: then no list in it has more values.
pub fn has_fewer_commas(text: &[u8], than: usize) -> bool {
    memchr::memchr_iter(b',', text).take(than).count() < than
}

/// What stands in it in quotes, names and texts alike, where nothing is escaped.
pub fn texts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quotes = memchr::memchr_iter(b'"', text);
    std::iter::from_fn(move || {
        let (from, to) = (quotes.next()?, quotes.next()?);
        text.get(from + 1..to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_are_counted_wherever_they_stand() {
        for (text, than, fewer) in
            [("", 1, true), ("", 0, false), ("[1,2]", 1, false), ("[1,\",\"]", 3, true)]
        {
            assert_eq!(has_fewer_commas(text.as_bytes(), than), fewer, "{text}");
        }
    }

    #[test]
    fn texts_are_what_stands_in_quotes() {
        for (text, found) in [
            ("{\"stream\":\"a b\", \"\":[\"c\"]}", &["stream", "a b", "", "c"][..]),
            ("{\"x\":1", &["x"]),
            ("{\"x\":\"y", &["x"]),
            ("stream", &[]),
            ("", &[]),
        ] {
            assert!(texts(text.as_bytes()).eq(found.iter().map(|text| text.as_bytes())), "{text}");
        }
        assert!(is_object_without_escapes(b" \n{\"a\":1}") && !is_object_without_escapes(b"[{}]"));
        assert!(!is_object_without_escapes(b"{\"a\":\"\\n\"}") && !is_object_without_escapes(b""));
    }
}
