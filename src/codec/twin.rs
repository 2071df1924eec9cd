//! Field names that differ from one that counts only in `_` for `-`.
//!
//! CGI and what is built on it (WSGI and others) turn both into one variable (RFC 3875 §4.1.18), so a client could say under
//! the one what is refused or replaced under the other.

use super::field::FieldName;

/// Names that the gateway sets, judges or reads on requests, beside those it knows as [`FieldName`]; in lower case.
const COUNTED: [&[u8]; 12] = [
    b"accept-encoding",
    b"access-control-request-headers",
    b"access-control-request-method",
    b"api-key",
    b"cache-control",
    b"idempotency-key",
    b"inference-header-content-length",
    b"proxy-authorization",
    b"x-api-key",
    b"x-deadline-ms",
    b"x-mirror",
    b"x-priority",
];

/// Longer than any name that counts, but for those that operators give.
const NAME_BYTES_MAX: usize = 40;

/// Whether `name` is the twin of a name that counts: one that the gateway knows, or one of `judged`, which are names in any
/// case that the operator's conditions look at. A name that is itself judged is no twin.
pub(super) fn is_twin(name: &[u8], judged: &[String]) -> bool {
    // Nearly no name has one.
    if memchr::memchr(b'_', name).is_none() {
        return false;
    }
    if judged.iter().any(|judged| name.eq_ignore_ascii_case(judged.as_bytes())) {
        return false;
    }
    let mut folded = [0; NAME_BYTES_MAX];
    let start = &name[..name.len().min(NAME_BYTES_MAX)];
    let folded = &mut folded[..start.len()];
    for (to, byte) in folded.iter_mut().zip(start) {
        *to = fold(*byte);
    }
    let counts = |folded: &[u8]| FieldName::of(folded) != FieldName::Other || COUNTED.contains(&folded);
    counts(folded) || judged.iter().any(|judged| is_same(name, judged.as_bytes()))
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| fold(*one) == fold(*other))
}

fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_of_what_counts_are_told_from_other_names() {
        let judged = ["x-team".to_owned(), "X_Kind-Of".to_owned()];
        for name in [
            "X_Forwarded_For",
            "x-forwarded_for",
            "x_forwarded_whatever",
            "x_forwarded-prefix_that_is_longer_than_most",
            "x_request_id",
            "content_length",
            "Transfer_Encoding",
            "max_forwards",
            "http2_settings",
            "keep_alive",
            "x_api_key",
            "X_API-Key",
            "api_key",
            "proxy_authorization",
            "x_deadline_ms",
            "x_team",
            "X_TEAM",
            "x_kind_of",
        ] {
            assert!(is_twin(name.as_bytes(), &judged), "{name}");
        }
        for name in [
            "x-forwarded-for",
            "x-team",
            "host",
            "x_custom",
            "x_",
            "_",
            "x_kind-of",
            "x_teams",
            "tracestate_",
        ] {
            assert!(!is_twin(name.as_bytes(), &judged), "{name}");
        }
        assert!(!is_twin(b"x_team", &[]));
    }

    #[test]
    fn all_names_that_count_fit() {
        assert!(
            COUNTED.iter().all(|name| name.len() < NAME_BYTES_MAX && **name == name.to_ascii_lowercase()[..])
        );
        assert!(COUNTED.iter().all(|name| FieldName::of(name) == FieldName::Other), "known already");
    }
}
