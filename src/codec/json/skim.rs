//! What can be told of a document that is not read: of its commas and of names in it, wherever they stand.

use memchr::memmem;

/// Whether it begins as an object, and nothing in it is written otherwise than it reads.
pub fn is_object_without_escapes(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{") && memchr::memchr(b'\\', text).is_none()
}

/// Whether it has fewer commas than that: then no list in it has more values.
pub fn has_fewer_commas(text: &[u8], than: usize) -> bool {
    memchr::memchr_iter(b',', text).take(than).count() < than
}

/// Whether `name` stands in it in quotes: as a name, or as a text.
pub fn names(text: &[u8], name: &str) -> bool {
    let is_quoted = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        before == Some(&b'"') && text.get(at + name.len()) == Some(&b'"')
    };
    memmem::find_iter(text, name).any(is_quoted)
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
    fn names_are_found_in_quotes() {
        for (text, found) in [
            ("{\"stream\":false}", true),
            ("[\"stream\"]", true),
            ("{\"streams\":\"a stream\",\"stream\":1}", true),
            ("{\"streams\":1}", false),
            ("{\"x\":\"stream", false),
            ("stream\"", false),
            ("", false),
        ] {
            assert_eq!(names(text.as_bytes(), "stream"), found, "{text}");
        }
        assert!(is_object_without_escapes(b" \n{\"a\":1}") && !is_object_without_escapes(b"[{}]"));
        assert!(!is_object_without_escapes(b"{\"a\":\"\\n\"}") && !is_object_without_escapes(b""));
    }
}
