//! `cache-control`: what a client and an endpoint say of an answer that could be kept (RFC 9111 §5.2).

use std::time::{Duration, SystemTime};

use super::field::list;
use super::fields::Head;

/// What one message says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// Nothing of it is kept, nor read from what is.
    pub no_store: bool,
    /// What is kept is not taken without asking.
    pub no_cache: bool,
    /// It is for one client.
    pub is_private: bool,
    /// How long it holds; of `s-maxage`, which is for caches like this one, before `max-age`.
    pub max_age: Option<Duration>,
}

impl CacheControl {
    /// What `head` says; where it says a thing twice, the stricter holds.
    pub fn of(head: &Head) -> Self {
        let mut said = Self::default();
        let (mut own, mut shared): (Option<u64>, Option<u64>) = (None, None);
        for directive in head.values_of(b"cache-control").flat_map(list) {
            let text = String::from_utf8_lossy(directive).to_ascii_lowercase();
            let (name, value) = text.split_once('=').unwrap_or((&text, ""));
            // What cannot be read is stale (RFC 9111 §4.2.1).
            let seconds = || value.trim().trim_matches('"').parse().unwrap_or(0);
            match name.trim() {
                "no-store" => said.no_store = true,
                "no-cache" => said.no_cache = true,
                "private" => said.is_private = true,
                "max-age" => own = Some(own.map_or_else(seconds, |known| known.min(seconds()))),
                "s-maxage" => shared = Some(shared.map_or_else(seconds, |known| known.min(seconds()))),
                _ => {}
            }
        }
        // What HTTP/1.0 clients say (RFC 9111 §5.4).
        let pragma =
            || head.values_of(b"pragma").flat_map(list).any(|said| said.eq_ignore_ascii_case(b"no-cache"));
        said.no_cache |= head.values_of(b"cache-control").next().is_none() && pragma();
        said.max_age = shared.or(own).map(Duration::from_secs);
        said
    }
}

/// How old an answer says it is, by `age`, of which the first counts: what cannot be read is nothing, and what is too large
/// 2^31 seconds (RFC 9111 §1.2.2 and §5.1).
pub fn age(head: &Head) -> Duration {
    const MOST_S: u64 = 1 << 31;
    let Some(said) = head.values_of(b"age").next().map(<[u8]>::trim_ascii) else { return Duration::ZERO };
    if said.is_empty() || !said.iter().all(u8::is_ascii_digit) {
        return Duration::ZERO;
    }
    let seconds = std::str::from_utf8(said).ok().and_then(|said| said.parse().ok()).unwrap_or(MOST_S);
    Duration::from_secs(seconds.min(MOST_S))
}

/// How long an answer says by `expires` that it holds, none where it does not say; what cannot be read has expired (RFC 9111
/// §5.3).
pub fn expires(head: &Head, now: SystemTime) -> Option<Duration> {
    let said = head.values_of(b"expires").next()?;
    let until = std::str::from_utf8(said).ok().and_then(|said| httpdate::parse_http_date(said).ok());
    Some(until.and_then(|until| until.duration_since(now).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::fields::FieldTable;
    use crate::codec::split::split_response;

    #[test]
    fn the_stricter_of_two_holds_and_what_cannot_be_read_is_stale() {
        let of = |fields: &str| {
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            CacheControl::of(split_response(Bytes::from(head), FieldTable::default()).unwrap().head())
        };
        let age =
            |seconds| CacheControl { max_age: Some(Duration::from_secs(seconds)), ..CacheControl::default() };
        assert_eq!(of(""), CacheControl::default());
        assert_eq!(of("Cache-Control: max-age=60\r\ncache-control: max-age=30, public\r\n"), age(30));
        assert_eq!(of("cache-control: max-age=60, S-MaxAge=5\r\n"), age(5));
        assert_eq!(of("cache-control: max-age=x\r\n"), age(0));
        assert!(
            of("cache-control: No-Store\r\n").no_store && of("cache-control: private=\"a\"\r\n").is_private
        );
        assert!(of("cache-control: no-cache\r\n").no_cache && of("pragma: no-cache\r\n").no_cache);
        assert!(!of("pragma: no-cache\r\ncache-control: max-age=0\r\n").no_cache);
    }
}
