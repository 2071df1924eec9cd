//! `retry-after`: how long a server wants to be left alone (RFC 9110 §10.2.3).

use std::time::{Duration, SystemTime};

use super::fields::Head;
use super::number::plain_number;
use crate::base::limits::RETRY_AFTER_MAX;

/// The time that the answer names, from `now` on; none where it names none. OpenAI's `retry-after-ms` is finer.
pub fn retry_after(head: &Head, now: SystemTime) -> Option<Duration> {
    let millis = head.values_of(b"retry-after-ms").next().and_then(plain_number).map(Duration::from_millis);
    let time = millis.or_else(|| {
        let value = head.values_of(b"retry-after").next()?;
        match plain_number(value) {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => {
                let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
                Some(date.duration_since(now).unwrap_or_default())
            }
        }
    });
    time.map(|time| time.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::fields::FieldTable;
    use crate::codec::split::split_response;

    #[test]
    fn seconds_dates_and_milliseconds_are_read_and_nonsense_is_not() {
        let now = httpdate::parse_http_date("Thu, 26 Nov 2026 08:00:00 GMT").unwrap();
        for (fields, expected) in [
            ("", None),
            ("retry-after: 7\r\n", Some(7000)),
            ("Retry-After: 0\r\n", Some(0)),
            ("retry-after: Thu, 26 Nov 2026 08:00:09 GMT\r\n", Some(9000)),
            ("retry-after: Thu, 26 Nov 2026 07:00:00 GMT\r\n", Some(0)),
            ("retry-after: 7\r\nretry-after-ms: 1500\r\n", Some(1500)),
            ("retry-after: 999999999\r\n", Some(RETRY_AFTER_MAX.as_millis() as u64)),
            ("retry-after: -1\r\n", None),
            ("retry-after: soon\r\n", None),
        ] {
            let head = Bytes::from(format!("HTTP/1.1 429 X\r\n{fields}\r\n"));
            let head = split_response(head, FieldTable::default()).unwrap();
            let read = retry_after(head.head(), now).map(|time| time.as_millis() as u64);
            assert_eq!(read, expected, "{fields:?}");
        }
    }
}
