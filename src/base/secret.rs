//! A secret: compared in constant time, and never shown.

use std::fmt;
use std::hint::black_box;

/// What stands where a secret would.
pub const SECRET_SHOWN: &str = "***";

/// Text that only its owner may know. Shown as [`SECRET_SHOWN`], in debug output too.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps `text` secret.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for whom it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `claimed` is this secret. How long that takes tells nothing of where they differ, only of how long
    /// `claimed` is.
    pub fn is(&self, claimed: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let mut differences = own.len() ^ claimed.len();
        for (position, byte) in claimed.iter().enumerate() {
            let ours = own.get(position % own.len().max(1)).copied().unwrap_or_default();
            differences |= usize::from(black_box(ours ^ byte));
        }
        black_box(differences) == 0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECRET_SHOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_itself_alone_and_shows_nothing() {
        let secret = Secret::new("open sesame");
        for (claimed, same) in [
            ("open sesame", true),
            ("open sesamf", false),
            ("open", false),
            ("", false),
            ("open sesameopen sesame", false),
        ] {
            assert_eq!(secret.is(claimed.as_bytes()), same, "{claimed}");
        }
        assert!(!Secret::new("").is(b"x") && Secret::new("").is(b""));
        assert_eq!(format!("{secret:?}"), "***");
    }
}
