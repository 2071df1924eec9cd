//! Exact text, or a pattern in which `*` stands for any bytes.

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Glob {
    /// This text and no other.
    Exact(String),
    /// The pieces between stars; the first is a prefix, the last a suffix.
    Pieces(Vec<String>),
}

/// Whether letters of both cases are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `a` is not `A`.
    Sensitive,
    /// `a` is `A` (hosts).
    Insensitive,
}

/// The form in which hosts are compared: without the dots at its end (RFC 1034 §3.1: they name the root), and an IPv6
/// literal in its canonical form (RFC 5952 §4).
pub fn canonical_host(host: &str) -> String {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match literal.and_then(|literal| literal.parse::<std::net::Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => host.trim_end_matches('.').to_owned(),
    }
}

impl Glob {
    /// Compiles the pattern of a host: its last dot does not take part, and one IPv6 address has one form.
    pub fn of_host(pattern: &str) -> Self {
        Self::new(&canonical_host(pattern))
    }

    /// Compiles a pattern; without a star it is exact.
    pub fn new(pattern: &str) -> Self {
        if pattern.contains('*') {
            Self::Pieces(pattern.split('*').map(str::to_owned).collect())
        } else {
            Self::Exact(pattern.to_owned())
        }
    }

    /// Whether `text` fits. Time is linear in text times pieces, whatever the pattern.
    pub fn fits(&self, text: &[u8], case: Case) -> bool {
        let equal = |a: &[u8], b: &[u8]| match case {
            Case::Sensitive => a == b,
            Case::Insensitive => a.eq_ignore_ascii_case(b),
        };
        match self {
            Self::Exact(exact) => equal(text, exact.as_bytes()),
            Self::Pieces(pieces) => {
                let [first, middle @ .., last] = &pieces[..] else { return false };
                if text.len() < first.len() + last.len()
                    || !equal(&text[..first.len()], first.as_bytes())
                    || !equal(&text[text.len() - last.len()..], last.as_bytes())
                {
                    return false;
                }
                let mut rest = &text[first.len()..text.len() - last.len()];
                for piece in middle.iter().filter(|piece| !piece.is_empty()) {
                    let Some(at) =
                        rest.windows(piece.len()).position(|window| equal(window, piece.as_bytes()))
                    else {
                        return false;
                    };
                    rest = &rest[at + piece.len()..];
                }
                true
            }
        }
    }

    /// Whether it is exact.
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// Whether everything that fits `other` fits this one too.
    pub fn covers(&self, other: &Self, case: Case) -> bool {
        match other {
            Self::Exact(exact) => self.fits(exact.as_bytes(), case),
            // No piece holds a star: only a star of this one takes a star of the other.
            Self::Pieces(pieces) => !self.is_exact() && self.fits(pieces.join("*").as_bytes(), case),
        }
    }

    /// Whether any text fits.
    pub fn takes_all(&self) -> bool {
        matches!(self, Self::Pieces(pieces) if pieces.iter().all(String::is_empty))
    }

    /// How many bytes are fixed.
    pub fn fixed_len(&self) -> usize {
        match self {
            Self::Exact(exact) => exact.len(),
            Self::Pieces(pieces) => pieces.iter().map(String::len).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_bytes() {
        for (pattern, text, fits) in [
            ("llama-*", "llama-3", true),
            ("llama-*", "llama-", true),
            ("llama-*", "llama", false),
            ("*.local", "api.local", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXcYYb", false),
            ("aa*aa", "aaa", false),
            ("*", "", true),
            ("**", "x", true),
            ("x", "X", false),
        ] {
            assert_eq!(Glob::new(pattern).fits(text.as_bytes(), Case::Sensitive), fits, "{pattern} {text}");
        }
        assert!(Glob::new("*.LOCAL").fits(b"Api.local", Case::Insensitive));
    }

    #[test]
    fn a_glob_covers_what_only_fits_it_too() {
        for (one, other, covers) in [
            ("*", "a*", true),
            ("a*", "*", false),
            ("a*", "ab*c", true),
            ("a*c", "a*b*c", true),
            ("a*b*c", "a*c", false),
            ("*a*", "bab", true),
            ("a", "a", true),
            ("a", "a*", false),
            ("*", "", true),
        ] {
            assert_eq!(Glob::new(one).covers(&Glob::new(other), Case::Sensitive), covers, "{one} {other}");
        }
    }
}
