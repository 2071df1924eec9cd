//! The parameters behind a field's value, read only where every reader reads them the same.

use crate::base::limits::FIELD_PARAMETERS_MAX;

/// One parameter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    /// Its name in lower case.
    pub(super) name: Vec<u8>,
    /// Its value as it stands, without the quotes around it.
    pub(super) value: Vec<u8>,
}

/// All of `; a=b; c="d"`, each name once.
///
/// None where two readers could differ: a doubled name, white space around `=`, an unquoted value that ends in anything but
/// a semicolon, a quote behind a backslash (an escaped quote to some, the end of the value to others), a quoted parameter (to
/// those who split at each semicolon it is one), control characters. None too where there are more than any sender writes.
pub(super) fn parameters(text: &[u8]) -> Option<Vec<Parameter>> {
    let mut all: Vec<Parameter> = Vec::new();
    let mut rest = skip_blank(text);
    while let [b';', tail @ ..] = rest {
        rest = skip_blank(tail);
        if rest.is_empty() {
            break;
        }
        let (name, tail) = rest.split_at(memchr::memchr(b'=', rest)?);
        let (value, tail) = value(&tail[1..])?;
        let name = name.to_ascii_lowercase();
        let is_new = all.len() < FIELD_PARAMETERS_MAX && all.iter().all(|known| known.name != name);
        if !is_new || name.is_empty() || !name.iter().all(|&byte| super::field::is_token_byte(byte)) {
            return None;
        }
        all.push(Parameter { name, value: value.to_vec() });
        rest = skip_blank(tail);
    }
    rest.is_empty().then_some(all)
}

/// The value at the start of `text`, and what follows it.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (value, rest) = match text {
        [b'"', quoted @ ..] => {
            let (value, rest) = quoted.split_at(memchr::memchr(b'"', quoted)?);
            let holds = |byte| memchr::memchr(byte, value).is_some();
            if value.last() == Some(&b'\\') || (holds(b';') && holds(b'=')) {
                return None;
            }
            (value, &rest[1..])
        }
        _ => {
            let end = text.iter().position(|&byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(text.len());
            let (value, rest) = text.split_at(end);
            if value.is_empty() || value.iter().any(|byte| matches!(byte, b'"' | b'\\' | b',')) {
                return None;
            }
            (value, rest)
        }
    };
    (!value.iter().any(u8::is_ascii_control)).then_some((value, rest))
}

fn skip_blank(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let text_of = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let all = parameters(text.as_bytes())?;
        Some(all.into_iter().map(|one| (text_of(one.name), text_of(one.value))).collect())
    }

    #[test]
    fn plain_parameters_are_read() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read(""), Some(vec![]));
        assert_eq!(read(" ; "), Some(vec![]));
        assert_eq!(
            read(r#"; A=b;c="d; e"  ;g="C:\x";h="""#),
            Some(vec![pair("a", "b"), pair("c", "d; e"), pair("g", r"C:\x"), pair("h", "")])
        );
    }

    #[test]
    fn there_are_few() {
        let many = |count| (0..count).map(|at| format!("; a{at}=b")).collect::<String>();
        assert_eq!(read(&many(16)).map(|all| all.len()), Some(16));
        assert_eq!(read(&many(17)), None);
    }

    #[test]
    fn what_readers_differ_on_is_not_read() {
        for text in [
            "; a=b; a=c",
            "; a=b; A=b",
            "; a =b",
            "; a= b",
            "; a",
            "; a=",
            ";; a=b",
            "; a=b c",
            "; a=b, c=d",
            r#"; a="b\"; c=d""#,
            r#"; a="b"c"#,
            r#"; a="b"#,
            "; a=b\r",
            "; a=\"b\r\n c\"",
            "x; a=b",
            "; =b",
            r#"; a="; b=c"; b=d"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
