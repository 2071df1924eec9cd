//! What a Content-Type says a body is (RFC 9110 §8.3), as far as that tells how it is read.

use super::parameters::parameters;

/// What a body is by its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`, or any with the suffix `+json` (RFC 6839 §3.1).
    Json,
    /// `multipart/form-data`, whose parts this boundary divides.
    Form(Vec<u8>),
    /// `multipart/form-data`, of which nobody can tell what divides it.
    UnclearForm,
    /// `application/x-www-form-urlencoded`.
    Pairs,
    /// Anything else.
    Other,
    /// Not one that all readers take for the same.
    Unclear,
}

/// What the value of a Content-Type says, and whether it names a charset that a body's bytes cannot be read in as they are.
pub fn read(content_type: &[u8]) -> (MediaType, Charset) {
    let (name, rest) =
        content_type.split_at(memchr::memchr(b';', content_type).unwrap_or(content_type.len()));
    let name = name.trim_ascii().to_ascii_lowercase();
    let all = parameters(rest);
    let value = |wanted: &[u8]| {
        let found = all.iter().flatten().find(|parameter| parameter.name == wanted);
        found.map(|parameter| &parameter.value[..])
    };
    let charset = match value(b"charset") {
        Some(charset) if !is_plain_charset(charset) => Charset::Other,
        None if all.is_none() && holds(rest, b"charset") > 0 => Charset::Other,
        Some(_) | None => Charset::Plain,
    };
    let media_type = match &name[..] {
        b"multipart/form-data" => {
            // Some look for the word wherever it stands.
            let boundary = value(b"boundary").filter(|_| holds(rest, b"boundary") == 1);
            let is_plain = |boundary: &&[u8]| {
                (1..=70).contains(&boundary.len()) && memchr::memchr(b'\\', boundary).is_none()
            };
            boundary
                .filter(is_plain)
                .map_or(MediaType::UnclearForm, |boundary| MediaType::Form(boundary.to_vec()))
        }
        b"application/x-www-form-urlencoded" => MediaType::Pairs,
        b"application/json" | b"text/json" | b"application/x-json" => MediaType::Json,
        name if name.ends_with(b"+json") => MediaType::Json,
        // Some look at the beginning only.
        name if name.starts_with(b"multipart/form-data")
            || name.starts_with(b"application/x-www-form-urlencoded") =>
        {
            MediaType::Unclear
        }
        _ => MediaType::Other,
    };
    (media_type, charset)
}

/// Whether text is read as it stands, as far as ASCII goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// It is.
    Plain,
    /// It is not, or nobody can tell: UTF-16, UTF-7, EBCDIC.
    Other,
}

/// Whether text in this charset is read as it stands, as far as ASCII goes.
pub(super) fn is_plain_charset(name: &[u8]) -> bool {
    let plain: [&[u8]; 7] =
        [b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin1", b"windows-1252"];
    plain.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// How often `word`, in lower case, stands in `text`, in any case.
fn holds(text: &[u8], word: &[u8]) -> usize {
    memchr::memmem::find_iter(&text.to_ascii_lowercase(), word).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart() {
        let form = |boundary: &str| MediaType::Form(boundary.as_bytes().to_vec());
        for (text, expected) in [
            ("application/json", MediaType::Json),
            ("Application/JSON ; charset=utf-8", MediaType::Json),
            ("application/vnd.x+json", MediaType::Json),
            ("application/json;", MediaType::Json),
            ("application/jsonl", MediaType::Other),
            ("audio/wav", MediaType::Other),
            ("", MediaType::Other),
            ("multipart/mixed; boundary=a", MediaType::Other),
            ("multipart/form-data; boundary=abc", form("abc")),
            ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\"", form("a b")),
            ("multipart/form-data; boundary=----=_Part_1.2", form("----=_Part_1.2")),
            ("multipart/form-data", MediaType::UnclearForm),
            ("multipart/form-data; boundary=", MediaType::UnclearForm),
            ("multipart/form-data; boundary=xx; boundary=yy", MediaType::UnclearForm),
            ("multipart/form-data; x=\"boundary=yy\"; boundary=xx", MediaType::UnclearForm),
            ("multipart/form-data; xboundary=yy; boundary=xx", MediaType::UnclearForm),
            ("multipart/form-data; boundary*=utf-8''yy; boundary=xx", MediaType::UnclearForm),
            ("multipart/form-data; boundary=xx, multipart/form-data; boundary=yy", MediaType::UnclearForm),
            ("multipart/form-data; boundary=a b", MediaType::UnclearForm),
            ("multipart/form-data, x; boundary=a", MediaType::Unclear),
            ("application/x-www-form-urlencoded", MediaType::Pairs),
            ("application/x-www-form-urlencoded; charset=UTF-8", MediaType::Pairs),
            ("application/x-www-form-urlencodedx", MediaType::Unclear),
        ] {
            assert_eq!(read(text.as_bytes()), (expected, Charset::Plain), "{text}");
        }
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        assert_eq!(read(long.as_bytes()).0, MediaType::UnclearForm);
    }

    #[test]
    fn a_charset_of_other_bytes_is_told() {
        for (text, charset) in [
            ("application/json; charset=utf-16", Charset::Other),
            ("multipart/form-data; boundary=a; charset=utf-7", Charset::Other),
            ("application/json; charset=utf-8; charset=utf-16", Charset::Other),
            ("application/json; charset", Charset::Other),
            ("application/json; charset=\"UTF-8\"", Charset::Plain),
            ("text/plain; charset=ISO-8859-1", Charset::Plain),
        ] {
            assert_eq!(read(text.as_bytes()).1, charset, "{text}");
        }
    }
}
