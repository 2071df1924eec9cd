//! The target that goes upstream: a prefix taken off the client's path, another put in front of it.

use std::borrow::Cow;

/// What becomes of a path; the query stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Taken off where the path begins with it, whole segments only. Empty or `/a/b`.
    pub strip: String,
    /// Put in front. Empty or `/a/b`.
    pub add: String,
}

impl Rewrite {
    /// The new target. `*` stays: it has no path (RFC 9112 §3.2.4).
    pub fn apply<'t>(&self, target: &'t [u8]) -> Cow<'t, [u8]> {
        if target == b"*" || (self.strip.is_empty() && self.add.is_empty()) {
            return Cow::Borrowed(target);
        }
        let rest = behind(target, self.strip.as_bytes()).unwrap_or(target);
        let mut out = Vec::with_capacity(self.add.len() + rest.len() + 1);
        out.extend_from_slice(self.add.as_bytes());
        if !rest.starts_with(b"/") && out.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(rest);
        Cow::Owned(out)
    }
}

/// What follows `prefix` in `target`, if it begins with it and a segment ends there. A route has matched the path with
/// its escapes of unreserved characters decoded, so `%61` counts as `a` here too.
fn behind<'t>(target: &'t [u8], prefix: &[u8]) -> Option<&'t [u8]> {
    let mut rest = target;
    for &wanted in prefix {
        rest = match rest {
            [b'%', high, low, tail @ ..] if wanted != b'%' => {
                let digits = [*high, *low];
                let value =
                    std::str::from_utf8(&digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())?;
                (value == wanted).then_some(tail)?
            }
            [byte, tail @ ..] if *byte == wanted => tail,
            _ => return None,
        };
    }
    matches!(rest, [] | [b'/' | b'?', ..]).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_exchanged_at_segments() {
        for (strip, add, target, expected) in [
            ("/team-a", "/v1", "/team-a/models?x=/team-a", "/v1/models?x=/team-a"),
            ("/team-a", "", "/team-a/models", "/models"),
            ("/team-a", "", "/team-a", "/"),
            ("/team-a", "", "/team-a?x", "/?x"),
            ("/team-a", "/v1", "/team-a", "/v1"),
            ("/team-a", "/v1", "/team-ab/models", "/v1/team-ab/models"),
            ("/team-a", "", "/other", "/other"),
            ("", "/v1", "/models", "/v1/models"),
            ("/team-a", "/v1", "/%74eam%2Da/%41", "/v1/%41"),
            ("/a", "/b", "*", "*"),
        ] {
            let rewrite = Rewrite { strip: strip.to_owned(), add: add.to_owned() };
            let got = rewrite.apply(target.as_bytes()).into_owned();
            assert_eq!(String::from_utf8(got).unwrap(), expected, "{strip} {add} {target}");
        }
    }
}
