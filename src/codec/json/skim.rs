//! What can be told of a document that is not read: of its commas and of a name in it, wherever they stand.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Whether it has fewer commas than that: then no list in it has more values.
pub fn has_fewer_commas(text: &[u8], than: usize) -> bool {
    memchr::memchr_iter(b',', text).take(than).count() < than
}

/// Whether `"stream"` stands in it.
pub fn names_stream(text: &[u8]) -> bool {
    static STREAM: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"stream\""));
    STREAM.find(text).is_some()
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
        assert!(names_stream(b"{\"stream\":false}") && !names_stream(b"{\"streams\":1}"));
    }
}
