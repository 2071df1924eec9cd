//! What a request shows of who asks: `authorization: Bearer` (RFC 6750 §2.1), `x-api-key`, `api-key`.

use crate::codec::head::RequestHead;
use crate::codec::reply::ErrorReply;

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown<'r> {
    /// Nothing.
    Nothing,
    /// This, once or several times.
    One(&'r [u8]),
    /// Several that differ: whoever stands behind could take another one than we do.
    Several,
}

/// What the head of a request shows, in any of its fields.
pub(super) fn shown(head: &RequestHead) -> Shown<'_> {
    let mut found = Shown::Nothing;
    for field in head.head().fields() {
        let value = match field.raw.len() {
            7 if field.raw.eq_ignore_ascii_case(b"api-key") => Some(field.value),
            9 if field.raw.eq_ignore_ascii_case(b"x-api-key") => Some(field.value),
            13 if field.raw.eq_ignore_ascii_case(b"authorization") => bearer(field.value),
            _ => None,
        };
        found = match (found, value) {
            (found, None) => found,
            (Shown::Nothing, Some(value)) => Shown::One(value),
            (Shown::One(known), Some(value)) if known == value => found,
            (Shown::One(_) | Shown::Several, Some(_)) => Shown::Several,
        };
    }
    found
}

/// The token of a bearer: the scheme is read in any case, and blanks around a token are not part of it (RFC 9110 §11.4).
pub(super) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The answer to whom nothing shows to be somebody we know. It does not tell what was wrong.
pub(super) fn unauthorized(message: &str) -> ErrorReply {
    ErrorReply {
        fields: vec![("www-authenticate", "Bearer".to_owned())],
        ..ErrorReply::new(401, "unauthorized", message)
    }
}
