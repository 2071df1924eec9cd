//! The head of one part of a form, read only where every reader reads it the same (RFC 7578 §4).

use super::field::is_token_byte;
use super::media_type::is_plain_charset;
use super::parameters::parameters;

/// What the head says of its part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartHead {
    /// The name of its field, if it has one.
    pub(super) name: Option<Vec<u8>>,
    /// Whether its content is the field's value, as it stands, to every reader.
    pub(super) is_value: bool,
    /// Whether its content is a file, which has a name.
    pub(super) is_file: bool,
    /// Whether its bytes are text as they stand, if they are text.
    pub(super) is_plain: bool,
}

impl PartHead {
    /// Reads a head with its empty line. None where two readers could differ on what it names.
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        let mut part = Self { name: None, is_value: true, is_file: false, is_plain: true };
        let mut is_disposed = false;
        let mut rest = head.strip_suffix(b"\r\n")?;
        while !rest.is_empty() {
            // A lone CR or LF is a line end to some.
            let end = memchr::memchr2(b'\r', b'\n', rest)?;
            let line = &rest[..end];
            rest = rest[end..].strip_prefix(b"\r\n")?;
            let (name, value) = line.split_at(memchr::memchr(b':', line)?);
            // A folded line has a blank here.
            if name.is_empty() || !name.iter().all(|&byte| is_token_byte(byte)) {
                return None;
            }
            let value = value[1..].trim_ascii();
            if name.eq_ignore_ascii_case(b"content-disposition") {
                if std::mem::replace(&mut is_disposed, true) {
                    return None;
                }
                part.dispose(value)?;
            } else if name.eq_ignore_ascii_case(b"content-type") {
                part.is_plain &= has_plain_charset(value);
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                // Go decodes it, most others do not.
                let same: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
                part.is_plain &= same.iter().any(|coding| value.eq_ignore_ascii_case(coding));
            }
        }
        part.is_value &= part.is_plain;
        Some(part)
    }

    fn dispose(&mut self, value: &[u8]) -> Option<()> {
        let (kind, rest) = value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()));
        // Starlette takes the name of any kind, others of this one only.
        if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
            return None;
        }
        for parameter in parameters(rest)? {
            match &parameter.name[..] {
                b"name" => {
                    // Readers unescape it in different ways, and some decode encoded words (RFC 2047).
                    let is_plain = memchr::memchr(b'\\', &parameter.value).is_none()
                        && memchr::memmem::find(&parameter.value, b"=?").is_none();
                    self.name = Some(is_plain.then_some(parameter.value)?);
                }
                // A file, even one without a name, is a value to some. Old clients send `filename*` beside it.
                b"filename" | b"filename*" => {
                    self.is_value = false;
                    self.is_file |= !parameter.value.is_empty();
                }
                // Extended and continued parameters (RFC 2231) make a name for some.
                name if memchr::memchr(b'*', name).is_some() => return None,
                _ => {}
            }
        }
        Some(())
    }
}

fn has_plain_charset(content_type: &[u8]) -> bool {
    let start = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    parameters(&content_type[start..]).is_some_and(|all| {
        all.iter().filter(|one| one.name == b"charset").all(|charset| is_plain_charset(&charset.value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Option<(Option<String>, bool)> {
        let part = PartHead::read(format!("{lines}\r\n").as_bytes())?;
        Some((part.name.map(|name| String::from_utf8(name).unwrap()), part.is_value))
    }

    #[test]
    fn plain_heads_are_read() {
        for (lines, name, is_value) in [
            ("Content-Disposition: form-data; name=\"a b\"\r\n", Some("a b"), true),
            ("CONTENT-DISPOSITION:form-data;name=a\r\nX-More: 1\r\n", Some("a"), true),
            ("content-disposition: form-data; name=\"a\"; filename=\"b.wav\"\r\n", Some("a"), false),
            ("content-disposition: form-data; name=a; filename=\"\"\r\n", Some("a"), false),
            ("content-disposition: form-data; name=a; filename*=utf-8''b\r\n", Some("a"), false),
            ("content-type: text/plain; charset=UTF-8\r\n", None, true),
            ("content-type: text/plain; charset=utf-16\r\n", None, false),
            ("content-transfer-encoding: base64\r\n", None, false),
            ("content-transfer-encoding: 8BIT\r\n", None, true),
            ("", None, true),
        ] {
            assert_eq!(read(lines), Some((name.map(str::to_owned), is_value)), "{lines}");
        }
    }

    #[test]
    fn heads_that_readers_differ_on_are_not_read() {
        for lines in [
            "content-disposition: form-data; name=a; name=model\r\n",
            "content-disposition: form-data; name=a\r\ncontent-disposition: form-data; name=model\r\n",
            "content-disposition: form-data;\r\n name=model\r\n",
            "content-disposition: form-data; name*=utf-8''model\r\n",
            "content-disposition: form-data; name*0=mod; name*1=el\r\n",
            "content-disposition: attachment; name=model\r\n",
            "content-disposition: form-data; name=\"mod\\el\"\r\n",
            "content-disposition: form-data; name=\"=?utf-8?q?model?=\"\r\n",
            "content-disposition: form-data; name=\"a\\\"; name=\"model\"\r\n",
            "content-disposition: form-data; filename=\"a\\\"; name=\"model\"\r\n",
            "content-disposition : form-data; name=model\r\n",
            "x: a\ncontent-disposition: form-data; name=model\r\n",
            "x: a\rcontent-disposition: form-data; name=model\r\n",
            "no field\r\n",
        ] {
            assert_eq!(read(lines), None, "{lines}");
        }
    }
}
