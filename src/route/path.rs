//! The path as routes see it: escapes of unreserved characters decoded, tricks refused (RFC 3986 §6.2.2).

use std::borrow::Cow;

/// The path cannot be matched safely.
#[derive(Debug, PartialEq, Eq)]
pub struct BadPath;

/// Decodes escapes of unreserved characters; others keep theirs, in upper case.
///
/// Refuses what proxies and servers are known to read differently: dot segments (plain or encoded), encoded slashes,
/// backslashes, NUL, and broken escapes.
pub fn normalized(path: &[u8]) -> Result<Cow<'_, [u8]>, BadPath> {
    let decoded = match memchr::memchr2(b'%', b'\\', path) {
        None => Cow::Borrowed(path),
        Some(_) => Cow::Owned(decoded(path)?),
    };
    // A dot segment holds "/." whatever it is: most paths are done after one search.
    if memchr::memmem::find(&decoded, b"/.").is_some()
        && decoded.split(|&b| b == b'/').any(|segment| matches!(segment, b"." | b".."))
    {
        return Err(BadPath);
    }
    Ok(decoded)
}

/// The path of a pattern as requests have it: escapes like theirs, and bytes that no request holds escaped.
pub(super) fn of_pattern(pattern: &str) -> String {
    let escaped: String = pattern
        .bytes()
        .map(|byte| match byte.is_ascii_graphic() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect();
    // What cannot be normalized was refused where it was read.
    normalized(escaped.as_bytes()).map_or(escaped.clone(), |path| String::from_utf8_lossy(&path).into_owned())
}

fn decoded(path: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match path[at] {
            b'\\' => return Err(BadPath),
            b'%' => {
                let digits = path.get(at + 1..at + 3).ok_or(BadPath)?;
                let byte =
                    hex(digits[0]).zip(hex(digits[1])).map(|(high, low)| high << 4 | low).ok_or(BadPath)?;
                match byte {
                    0 | b'/' | b'\\' => return Err(BadPath),
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
                    _ => out.extend([b'%', digits[0].to_ascii_uppercase(), digits[1].to_ascii_uppercase()]),
                }
                at += 3;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreserved_escapes_are_decoded_and_others_kept() {
        for (path, expected) in [
            ("/v1/models", "/v1/models"),
            ("/%76%31/m%6Fdels", "/v1/models"),
            ("/a%20b%c3%a9", "/a%20b%C3%A9"),
            ("/a.b/..c/.well-known", "/a.b/..c/.well-known"),
            ("//a", "//a"),
            ("*", "*"),
        ] {
            assert_eq!(normalized(path.as_bytes()).unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn patterns_are_written_like_requests() {
        for (pattern, expected) in
            [("/a%7Eb", "/a~b"), ("/%c3%a9", "/%C3%A9"), ("/é/*", "/%C3%A9/*"), ("/a b/{x}", "/a%20b/{x}")]
        {
            assert_eq!(of_pattern(pattern), expected);
        }
    }

    #[test]
    fn tricks_are_refused() {
        for path in [
            "/a/../b",
            "/.",
            "/..",
            "/%2e%2E/b",
            "/a/.%2e",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/a%",
            "/a%4",
            "/%zz",
        ] {
            assert_eq!(normalized(path.as_bytes()), Err(BadPath), "{path}");
        }
    }
}
