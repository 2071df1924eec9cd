//! The line in front of a chunk: its size, and extensions that nobody needs (RFC 9112 §7.1, §7.1.1).

use super::error::{CodecError, Rule};
use super::field::is_token_byte;

/// Whose chunks are read: what is tolerated differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunksOf {
    /// A request. Something in front of us may have read it too, and must have read the same: by the grammar alone.
    Request,
    /// An answer. Nobody but us reads these lines, for what goes to the client is framed anew: so what many servers do
    /// is taken, a padded size, and whatever they call an extension.
    Response,
}

/// The size of a chunk, and how many bytes of the line are neither size nor line end.
pub(super) fn chunk_line(line: &[u8], of: ChunksOf) -> Result<(u64, u64), CodecError> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    // 15 digits are 2^60: far above any limit, and sums of them cannot overflow in a body that ends.
    if digits == 0 || digits > 15 {
        return Err(CodecError::at(Rule::ChunkSize, 0));
    }
    let size = line[..digits].iter().fold(0u64, |sum, &b| {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => b - b'A' + 10,
        };
        (sum << 4) | u64::from(digit)
    });
    let rest = &line[digits..];
    let is_taken = match of {
        ChunksOf::Request => are_extensions(rest),
        ChunksOf::Response => is_padding_or_extension(rest),
    };
    if is_taken { Ok((size, rest.len() as u64)) } else { Err(CodecError::at(Rule::ChunkSize, digits)) }
}

/// Blanks, or whatever stands behind a semicolon, without control characters.
fn is_padding_or_extension(rest: &[u8]) -> bool {
    match skip_blank(rest) {
        [] => true,
        [b';', text @ ..] => text.iter().copied().all(is_text_byte),
        _ => false,
    }
}

/// chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(after) = skip_blank(rest).strip_prefix(b";").and_then(|name| token(skip_blank(name))) else {
            return false;
        };
        rest = after;
        if let Some(value) = skip_blank(rest).strip_prefix(b"=") {
            let value = skip_blank(value);
            let Some(after) = token(value).or_else(|| quoted_string(value)) else { return false };
            rest = after;
        }
    }
    true
}

fn skip_blank(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()..]
}

/// What follows the token at the start of `bytes` (RFC 9110 §5.6.2).
fn token(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.iter().take_while(|byte| is_token_byte(**byte)).count();
    (length > 0).then(|| &bytes[length..])
}

/// What follows the quoted string at the start of `bytes` (RFC 9110 §5.6.4).
fn quoted_string(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', byte, after @ ..] if is_text_byte(*byte) => after,
            [byte, after @ ..] if *byte != b'\\' && is_text_byte(*byte) => after,
            _ => return None,
        };
    }
}

/// Whether `byte` is no control character but HTAB.
fn is_text_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(rest: &str, of: ChunksOf) -> bool {
        let line = format!("5{rest}");
        match chunk_line(line.as_bytes(), of) {
            Ok(read) => {
                assert_eq!(read, (5, rest.len() as u64));
                true
            }
            Err(error) => {
                assert_eq!(error, CodecError::at(Rule::ChunkSize, 1));
                false
            }
        }
    }

    #[test]
    fn extensions_by_the_grammar_are_taken_from_both_sides() {
        for rest in [
            "",
            ";a",
            ";a=b",
            ";a;b=c;d",
            " ; a",
            "\t;\ta\t=\tb",
            ";a = \"b\"",
            ";a=\"\"",
            ";a=\"b;c\\\"d\\\\\"",
            ";a=\"b c\";d",
            ";a=\"\u{e9}\"",
        ] {
            assert!(is_taken(rest, ChunksOf::Request) && is_taken(rest, ChunksOf::Response), "{rest:?}");
        }
    }

    #[test]
    fn what_is_none_is_refused_from_a_client_only() {
        for rest in [
            " ",
            "   \t",
            ";",
            "; ",
            ";;",
            ";a;",
            ";a=",
            ";a= ",
            ";=x",
            ";a=\"x",
            ";a=\"x\\",
            ";a=\"x\"y",
            ";a=b c",
            ";a b",
            ";a=b=c",
            ";a ",
            ";a=b ",
            ";\u{e9}",
            ";a=(b)",
        ] {
            assert!(!is_taken(rest, ChunksOf::Request) && is_taken(rest, ChunksOf::Response), "{rest:?}");
        }
    }

    #[test]
    fn what_is_no_line_is_refused_from_both_sides() {
        for rest in ["x", " x", " 5", ";a\0", ";a=\"\u{7f}\"", ";a\rb", "\u{b}"] {
            assert!(!is_taken(rest, ChunksOf::Request), "{rest:?}");
            assert!(!is_taken(rest, ChunksOf::Response), "{rest:?}");
        }
    }
}
