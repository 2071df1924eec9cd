//! Numbers in fields.

/// A number of at most 18 digits and nothing else: no sign, no list, no white space; cannot overflow.
pub(super) fn plain_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value.iter().try_fold(0u64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}
