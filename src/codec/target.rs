//! The four forms of a request target (RFC 9112 §3.2).

use super::error::{CodecError, Rule};
use super::method::Method;
use crate::base::limits::TARGET_BYTES_MAX;

/// A target as offsets into the head's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    authority: Option<(u32, u32)>,
    path: (u32, u32),
    /// What stands for an empty path.
    root: &'static [u8],
}

impl Target {
    /// Path and query; an absolute target without a path asks for `/`, and OPTIONS for `*` (RFC 9112 §3.2.4).
    pub(super) fn path_and_query<'h>(&self, bytes: &'h [u8]) -> &'h [u8] {
        let path = &bytes[self.path.0 as usize..self.path.1 as usize];
        if path.is_empty() { self.root } else { path }
    }

    /// The authority of an absolute target.
    pub(super) fn authority<'h>(&self, bytes: &'h [u8]) -> Option<&'h [u8]> {
        self.authority.map(|(start, end)| &bytes[start as usize..end as usize])
    }
}

/// Recognises the form that fits the method: origin, absolute, authority (CONNECT only) or asterisk (OPTIONS only).
///
/// Refuses bytes outside visible ASCII and fragments, which no client may send (RFC 9112 §3.2).
pub(super) fn split_target(
    method: Method,
    bytes: &[u8],
    start: usize,
    end: usize,
) -> Result<Target, CodecError> {
    let target = &bytes[start..end];
    if target.len() > TARGET_BYTES_MAX {
        return Err(CodecError::at(Rule::TargetMax, start));
    }
    if let Some(bad) = target.iter().position(|&b| !b.is_ascii_graphic() || b == b'#') {
        return Err(CodecError::at(Rule::Target, start + bad));
    }
    let span = |from: usize, to: usize| ((start + from) as u32, (start + to) as u32);
    let root: &[u8] = if method == Method::Options { b"*" } else { b"/" };
    let whole = Target { authority: None, path: span(0, target.len()), root };
    match (method, target.first()) {
        // The port must be there (RFC 9110 §9.3.6).
        (Method::Connect, _) if split_authority(target).is_some_and(|(_, port)| !port.is_empty()) => {
            Ok(whole)
        }
        (Method::Options, Some(b'*')) if target.len() == 1 => Ok(whole),
        (_, Some(b'/')) if method != Method::Connect => Ok(whole),
        _ if method != Method::Connect => {
            let scheme = scheme_length(target).ok_or(CodecError::at(Rule::Target, start))?;
            let rest = &target[scheme..];
            let length = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
            // A query right behind the authority would need a "/" put in front of it; nobody sends that.
            if !is_authority(&rest[..length]) || rest.get(length) == Some(&b'?') {
                return Err(CodecError::at(Rule::Target, start + scheme));
            }
            let slash = scheme + length;
            Ok(Target { authority: Some(span(scheme, slash)), path: span(slash, target.len()), root })
        }
        _ => Err(CodecError::at(Rule::Target, start)),
    }
}

fn scheme_length(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(<[u8]>::len)
}

/// Whether `value` is `host [":" port]`.
pub(super) fn is_authority(value: &[u8]) -> bool {
    split_authority(value).is_some()
}

/// Host and port of `host [":" port]`, without user information (RFC 3986 §3.2); an absent port is empty.
///
/// Refuses, beyond the grammar: ports that no socket has, IPv6 literals that are no address, literals of a future
/// version, commas, at which others split a list of hosts, and escapes, which some decode: a route is found by the name.
fn split_authority(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (host, rest) = match value {
        [b'[', rest @ ..] => {
            let close = memchr::memchr(b']', rest)?;
            let literal = std::str::from_utf8(&rest[..close]).ok()?;
            literal.parse::<std::net::Ipv6Addr>().ok()?;
            value.split_at(close + 2)
        }
        _ => {
            let (name, rest) = value.split_at(memchr::memchr(b':', value).unwrap_or(value.len()));
            (is_name(name).then_some(name)?, rest)
        }
    };
    let port = match rest {
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => digits,
        [] => rest,
        _ => return None,
    };
    let number =
        port.iter().try_fold(0u16, |sum, digit| sum.checked_mul(10)?.checked_add(u16::from(digit - b'0')));
    (!host.is_empty() && number.is_some()).then_some((host, port))
}

/// What a registered name is made of here.
const NAME_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~!$&'()*+;=";
    let mut at = 0;
    while at < others.len() {
        bytes[others[at] as usize] = true;
        at += 1;
    }
    bytes
};

/// Whether `name` is a registered name or an IPv4 address (RFC 3986 §3.2.2), without commas and escapes.
fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| NAME_BYTES[usize::from(*byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(method: Method, target: &str) -> Option<(Option<String>, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let bytes = target.as_bytes();
        let found = split_target(method, bytes, 0, bytes.len()).ok()?;
        Some((found.authority(bytes).map(text), text(found.path_and_query(bytes))))
    }

    #[test]
    fn each_form_is_split() {
        let host = |name: &str| Some(name.to_owned());
        assert_eq!(split(Method::Get, "/a?b"), Some((None, "/a?b".into())));
        assert_eq!(split(Method::Get, "http://h:1/a?b"), Some((host("h:1"), "/a?b".into())));
        assert_eq!(split(Method::Get, "HTTP://h"), Some((host("h"), "/".into())));
        assert_eq!(split(Method::Options, "http://h"), Some((host("h"), "*".into())));
        assert_eq!(split(Method::Options, "*"), Some((None, "*".into())));
        assert_eq!(split(Method::Connect, "h:443"), Some((None, "h:443".into())));
    }

    #[test]
    fn other_forms_are_refused() {
        for (method, target) in [
            (Method::Get, "*"),
            (Method::Get, "a"),
            (Method::Get, "ftp://h/"),
            (Method::Get, "http:///a"),
            (Method::Get, "http://u@h/"),
            (Method::Get, "http://h?x"),
            (Method::Get, "/a#b"),
            (Method::Get, "/\u{e9}"),
            (Method::Connect, "/a"),
            (Method::Options, "**"),
        ] {
            assert_eq!(split(method, target), None, "{target}");
        }
    }

    #[test]
    fn authorities_are_host_and_port() {
        for good in ["h", "h:1", "127.0.0.1:80", "[::1]:80", "[::1]", "a_b.c", "h:"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":1",
            "h:x",
            "h:65536",
            "[::1",
            "[g]",
            "a b",
            "u@h",
            "h/x",
            "h:1:2",
            "a,b",
            "a%2",
            "a%2Db",
            "[1::2::3]",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
