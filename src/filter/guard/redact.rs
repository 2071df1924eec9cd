//! What is taken out of texts: addresses, card numbers with a valid checksum, keys.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::Regex;

/// Something that is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redact {
    /// E-mail addresses.
    Email,
    /// Numbers of payment cards.
    Card,
    /// API keys, tokens and private keys.
    Key,
}

impl Redact {
    /// Their words.
    pub const WORDS: &'static [&'static str] = &["email", "card", "key"];

    /// By its word.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "email" => Some(Self::Email),
            "card" => Some(Self::Card),
            "key" => Some(Self::Key),
            _ => None,
        }
    }

    /// What stands in its place.
    pub(super) fn mark(self) -> &'static [u8] {
        match self {
            Self::Email => b"[EMAIL]",
            Self::Card => b"[CARD]",
            Self::Key => b"[KEY]",
        }
    }

    /// Where it stands in a text: the first `most` places.
    pub(super) fn find(self, text: &[u8], most: usize) -> Vec<Range<usize>> {
        match self {
            Self::Email => EMAIL.find_iter(text).map(|found| found.range()).take(most).collect(),
            Self::Key => KEY.find_iter(text).map(|found| found.range()).take(most).collect(),
            Self::Card => cards(text, most),
        }
    }
}

fn compiled(expression: &str) -> Regex {
    Regex::new(expression).expect("it is tested")
}

static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    // RFC 5322 §3.4.1 as people write it: no quotes, no comments, a domain of names.
    compiled(
        r"(?-u)[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]",
    )
});

static KEY: LazyLock<Regex> = LazyLock::new(|| {
    compiled(concat!(
        r"(?-u)\bsk-[A-Za-z0-9_-]{16,}",
        r"|\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"|\bgithub_pat_[A-Za-z0-9_]{20,}",
        r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        r"|\bxox[a-z]-[A-Za-z0-9-]{8,}",
        // A header and claims, each a JSON object in base64url (RFC 7515 §3.1).
        r"|\beyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*",
        r"|-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
    ))
});

/// Digits of a card's number (ISO/IEC 7812-1).
const CARD_DIGITS_MIN: usize = 13;
const CARD_DIGITS_MAX: usize = 19;

/// Numbers of cards: digits with single blanks or dashes between groups of them, where neither side has a further digit.
fn cards(text: &[u8], most: usize) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() && found.len() < most {
        let begins = is_digit(text, at) && (at == 0 || !is_digit(text, at - 1));
        match begins.then(|| card_at(text, at)).flatten() {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

/// The end of the longest number that begins at `at`.
fn card_at(text: &[u8], mut at: usize) -> Option<usize> {
    let (mut sums, mut end) = (Checksums::default(), None);
    for length in 1..=CARD_DIGITS_MAX {
        sums.push(text[at] - b'0');
        at += 1;
        let is_whole = length >= CARD_DIGITS_MIN && !is_digit(text, at);
        if is_whole && sums.is_met() {
            end = Some(at);
        }
        if matches!(text.get(at), Some(b' ' | b'-')) {
            at += 1;
        }
        if !is_digit(text, at) {
            break;
        }
    }
    end
}

fn is_digit(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(u8::is_ascii_digit)
}

/// Whether the last digit is the sum of the others (ISO/IEC 7812-1, annex B), for each length as digits come.
#[derive(Default)]
struct Checksums {
    /// The sums with every other digit doubled: with that of the last digit, and without.
    doubled: u32,
    plain: u32,
    has_other_than_zero: bool,
}

impl Checksums {
    fn push(&mut self, digit: u8) {
        let (once, twice) = (u32::from(digit), u32::from(digit) * 2);
        let twice = if twice > 9 { twice - 9 } else { twice };
        (self.doubled, self.plain) = (self.plain + twice, self.doubled + once);
        self.has_other_than_zero |= digit != 0;
    }

    fn is_met(&self) -> bool {
        self.plain.is_multiple_of(10) && self.has_other_than_zero
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(what: Redact, text: &str) -> String {
        let mut out = text.as_bytes().to_vec();
        for range in what.find(text.as_bytes(), usize::MAX).into_iter().rev() {
            out.splice(range, what.mark().iter().copied());
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_secret_is_found_and_what_only_looks_so_is_left() {
        let key = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8";
        let rows: [(Redact, String, &str); 22] = [
            (Redact::Email, "to a.b+c@mail.example.org, and <d@e.io>.".into(), "to [EMAIL], and <[EMAIL]>."),
            (Redact::Email, "a@b, @c.de, a@b.c, x@-y.de".into(), "a@b, @c.de, a@b.c, x@-y.de"),
            (Redact::Card, "4111 1111 1111 1111".into(), "[CARD]"),
            (Redact::Card, "card 4111-1111-1111-1111 12/27".into(), "card [CARD] 12/27"),
            (Redact::Card, "4111111111111111 2027".into(), "[CARD] 2027"),
            (Redact::Card, "no 1 4111111111111111".into(), "no 1 [CARD]"),
            (Redact::Card, "378282246310005,5555555555554444".into(), "[CARD],[CARD]"),
            (Redact::Card, "4222222222222".into(), "[CARD]"),
            (Redact::Card, "4111 1111 1111 1112".into(), "4111 1111 1111 1112"),
            (Redact::Card, "41111111111111111111111".into(), "41111111111111111111111"),
            (Redact::Card, "4111  1111 1111 1111".into(), "4111  1111 1111 1111"),
            (Redact::Card, "0000 0000 0000 0000".into(), "0000 0000 0000 0000"),
            (Redact::Key, format!("key sk-{key}."), "key [KEY]."),
            (Redact::Key, format!("sk-proj-{key}_x"), "[KEY]"),
            (Redact::Key, format!("ghp_{key}"), "[KEY]"),
            (Redact::Key, "AKIAIOSFODNN7EXAMPLE".into(), "[KEY]"),
            (Redact::Key, "xoxb-123456789012-abcdef".into(), "[KEY]"),
            (Redact::Key, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln rest".into(), "[KEY] rest"),
            (
                Redact::Key,
                "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n".into(),
                "[KEY]\n",
            ),
            (Redact::Key, "-----BEGIN PRIVATE KEY-----\nabc".into(), "[KEY]"),
            (
                Redact::Key,
                "task-force-of-sixteen sk-short AKIA xoxb- eyJ.eyJ.".into(),
                "task-force-of-sixteen sk-short AKIA xoxb- eyJ.eyJ.",
            ),
            (Redact::Key, "-----BEGIN PUBLIC KEY-----".into(), "-----BEGIN PUBLIC KEY-----"),
        ];
        for (what, text, expected) in rows {
            assert_eq!(redacted(what, &text), expected, "{what:?} {text}");
        }
    }
}
