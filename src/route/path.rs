//! The path as routes see it: escapes of unreserved characters decoded, tricks refused, and each way it may be read.
//!
//! What stands behind may take an encoded slash for a slash or for a letter, two slashes for one or for two, and what
//! follows a semicolon for a part of its segment or for none. Each choice is made for the whole path: eight readings at
//! most. A request passes where all of them lead to the same route.

use std::borrow::Cow;

/// The path cannot be matched safely.
#[derive(Debug, PartialEq, Eq)]
pub struct BadPath;

/// What a path may be read as.
#[derive(Debug, PartialEq, Eq)]
pub enum Readings<'p> {
    /// Nobody reads it in another way.
    One(Cow<'p, [u8]>),
    /// Some servers read it in one way, some in another; the first is the path as it came.
    Several(Vec<Vec<u8>>),
}

impl Readings<'_> {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|position| self.at(position))
    }

    /// How many there are, at least one.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Several(all) => all.len(),
        }
    }

    /// One of them.
    pub(super) fn at(&self, position: usize) -> &[u8] {
        match self {
            Self::One(path) => path,
            Self::Several(all) => &all[position],
        }
    }
}

/// All readings of `path`, with escapes of unreserved characters decoded and others in upper case (RFC 3986 §6.2.2).
///
/// Refuses what no two servers agree on: dot segments in any reading, plain or encoded, backslashes, NUL and broken
/// escapes. A path without `%`, `;` and two slashes in a row has one reading, and nothing is copied.
pub fn readings(path: &[u8]) -> Result<Readings<'_>, BadPath> {
    match plain(path) {
        Some(path) => Ok(Readings::One(Cow::Borrowed(path))),
        None => several(decoded(path)?),
    }
}

/// `path`, if it holds nothing that could be read in several ways or refused: nearly all do not.
pub(super) fn plain(path: &[u8]) -> Option<&[u8]> {
    let is_mark = |byte: u8| matches!(byte, b'%' | b'\\' | b';');
    // No branch inside: the compiler looks at many bytes at once.
    let found = path.iter().zip(path.iter().skip(1)).fold(false, |found, (one, next)| {
        found | is_mark(*next) | ((*one == b'/') & ((*next == b'/') | (*next == b'.')))
    });
    (!found && !path.first().copied().is_some_and(is_mark)).then_some(path)
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
    match readings(escaped.as_bytes()) {
        Ok(Readings::One(path)) => String::from_utf8_lossy(&path).into_owned(),
        // Such a pattern was refused where it was read.
        Ok(Readings::Several(_)) | Err(BadPath) => escaped,
    }
}

/// The bytes that `text` stands for: each escape decoded, once. A broken one stands for itself.
pub(super) fn decoded_once(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, tail @ ..] => escape(*high, *low).map(|byte| (byte, tail)),
            _ => None,
        };
        let (byte, behind) = escaped.unwrap_or((*first, tail));
        out.push(byte);
        rest = behind;
    }
    out
}

/// The choices that servers make differently, each for a whole path.
#[derive(Debug, Clone, Copy)]
struct Choice {
    slash: EncodedSlash,
    parameters: Parameters,
    slashes: Slashes,
}

/// What `%2F` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EncodedSlash {
    Letter,
    Slash,
}

/// What becomes of `;x` at the end of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameters {
    Kept,
    Dropped,
}

/// What becomes of slashes in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slashes {
    Kept,
    Merged,
}

const ENCODED_SLASH: &[u8] = b"%2F";

fn several(decoded: Vec<u8>) -> Result<Readings<'static>, BadPath> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for slash in [EncodedSlash::Letter, EncodedSlash::Slash] {
        for parameters in [Parameters::Kept, Parameters::Dropped] {
            for slashes in [Slashes::Kept, Slashes::Merged] {
                let reading = read(&decoded, Choice { slash, parameters, slashes });
                if has_dot_segments(&reading) {
                    return Err(BadPath);
                }
                if !all.contains(&reading) {
                    all.push(reading);
                }
            }
        }
    }
    match all.len() {
        1 => Ok(Readings::One(Cow::Owned(decoded))),
        _ => Ok(Readings::Several(all)),
    }
}

fn read(decoded: &[u8], choice: Choice) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(decoded.len());
    let mut in_parameters = false;
    let mut rest = decoded;
    while let [first, tail @ ..] = rest {
        let encoded = rest.strip_prefix(ENCODED_SLASH).filter(|_| choice.slash == EncodedSlash::Slash);
        let (byte, behind) = encoded.map_or((*first, tail), |tail| (b'/', tail));
        rest = behind;
        in_parameters = match byte {
            b'/' => false,
            b';' if choice.parameters == Parameters::Dropped => true,
            _ => in_parameters,
        };
        let is_merged = byte == b'/' && choice.slashes == Slashes::Merged && out.last() == Some(&b'/');
        if !in_parameters && !is_merged {
            out.push(byte);
        }
    }
    out
}

fn has_dot_segments(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b".."))
}

fn decoded(path: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match path[at] {
            b'\\' => return Err(BadPath),
            b'%' => {
                let digits = path.get(at + 1..at + 3).ok_or(BadPath)?;
                let byte = escape(digits[0], digits[1]).ok_or(BadPath)?;
                match byte {
                    0 | b'\\' => return Err(BadPath),
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

fn escape(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(path: &str) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match readings(path.as_bytes()).unwrap() {
            Readings::One(one) => vec![text(&one)],
            Readings::Several(all) => all.iter().map(|one| text(one)).collect(),
        }
    }

    #[test]
    fn unreserved_escapes_are_decoded_and_others_kept() {
        for (path, expected) in [
            ("/v1/models", "/v1/models"),
            ("/%76%31/m%6Fdels", "/v1/models"),
            ("/a%20b%c3%a9", "/a%20b%C3%A9"),
            ("/a.b/..c/.well-known", "/a.b/..c/.well-known"),
            ("/a%252fb", "/a%252fb"),
            ("/a%3bb", "/a%3Bb"),
            ("*", "*"),
        ] {
            assert_eq!(all(path), [expected], "{path}");
        }
    }

    #[test]
    fn slashes_and_semicolons_are_read_in_each_way() {
        for (path, expected) in [
            ("/a%2fb", &["/a%2Fb", "/a/b"][..]),
            ("//a///b/", &["//a///b/", "/a/b/"]),
            ("/a;x/b", &["/a;x/b", "/a/b"]),
            ("/a/;x/b", &["/a/;x/b", "/a//b", "/a/b"]),
            ("/a;%2fb", &["/a;%2Fb", "/a", "/a;/b", "/a/b"]),
            ("/a/%2Fb", &["/a/%2Fb", "/a//b", "/a/b"]),
            ("//a;x%2Fb", &["//a;x%2Fb", "/a;x%2Fb", "//a", "/a", "//a;x/b", "/a;x/b", "//a/b", "/a/b"]),
        ] {
            assert_eq!(all(path), expected, "{path}");
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
            "/a/..;/b",
            "/a/.;x=y",
            "/a%2F..%2fb",
            "/a%2F%2e",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/a%",
            "/a%4",
            "/%zz",
        ] {
            assert_eq!(readings(path.as_bytes()), Err(BadPath), "{path}");
        }
    }

    #[test]
    fn values_are_decoded_once() {
        for (text, expected) in
            [("org%2Fm", "org/m"), ("a%252Fb", "a%2Fb"), ("%", "%"), ("%4", "%4"), ("%zz", "%zz")]
        {
            assert_eq!(decoded_once(text.as_bytes()), expected.as_bytes());
        }
    }
}
