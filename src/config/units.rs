//! Durations, sizes and shares as operators write them: a number and its unit, nothing bare.

use std::time::{Duration, SystemTime};

/// Longest duration that is accepted; above it somebody mistook a unit.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// When the year 9999 ends, from 1970 on.
const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);

/// Reads `"250ms"`, `"5s"`, `"10m"`, `"2h"`.
///
/// The error says what would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a number with its unit, such as \"250ms\", \"5s\", \"10m\" or \"2h\"".into()),
    };
    let value =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)).map(Duration::from_millis);
    match value {
        Some(value) if value <= LONGEST => Ok(value),
        _ => Err("write at most \"168h\" (seven days)".into()),
    }
}

/// Reads a point in time with its distance from UTC: `2027-01-01T00:00:00Z`, `2027-01-01 02:00:00+02:00` (RFC 3339).
pub fn instant(text: &str) -> Result<SystemTime, String> {
    let fix = || "write a date, a time and its distance from UTC, such as 2027-01-01T00:00:00Z".to_owned();
    let read =
        |local: &str| humantime::parse_rfc3339(&format!("{}Z", local.replacen([' ', 't'], "T", 1))).ok();
    if let Some(utc) = text.strip_suffix(['Z', 'z']) {
        return read(utc).ok_or_else(fix);
    }
    let (local, offset) =
        text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)).ok_or_else(fix)?;
    let number = |digits: Option<&str>, most: u64| {
        let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<u64>().ok().filter(|number| *number <= most)
    };
    let (hours, minutes) = (number(offset.get(1..3), 23), number(offset.get(4..6), 59));
    let (Some(local), Some(hours), Some(minutes)) = (read(local), hours, minutes) else { return Err(fix()) };
    let distance = Duration::from_secs(hours * 3600 + minutes * 60);
    let utc = match (offset.as_bytes()[0], offset.as_bytes()[3]) {
        (b'+', b':') => local.checked_sub(distance),
        (b'-', b':') => local.checked_add(distance),
        _ => None,
    };
    // What is shown again must have four digits for its year.
    let fits =
        |utc: &SystemTime| utc.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since < YEAR_10000);
    utc.filter(fits).ok_or_else(fix)
}

/// Writes a point in time as it is read.
pub fn show_instant(time: SystemTime) -> String {
    humantime::format_rfc3339(time).to_string()
}

/// Reads `"10%"` or `"0.5%"`, as a share from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    let is_plain = |number: &&str| {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        number.split_once('.').map_or(is_number(number), |(whole, rest)| is_number(whole) && is_number(rest))
    };
    let percent = text.strip_suffix('%').filter(is_plain).and_then(|number| number.parse::<f64>().ok());
    match percent {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("write a share in percent, such as \"10%\" or \"0.5%\"".into()),
    }
}

/// Reads `"512B"`, `"64KiB"`, `"16MiB"`, `"1GiB"`, `"1TiB"`, in bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        "K" | "KB" | "kB" | "k" => {
            return Err(format!("write \"{number}KiB\": sizes count in powers of 1024"));
        }
        "M" | "MB" | "m" => return Err(format!("write \"{number}MiB\": sizes count in powers of 1024")),
        "G" | "GB" | "g" => return Err(format!("write \"{number}GiB\": sizes count in powers of 1024")),
        _ => {
            return Err(
                "write a number with its unit, such as \"512B\", \"64KiB\", \"16MiB\" or \"1GiB\"".into()
            );
        }
    };
    let value = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    value.filter(|value| *value <= 1 << 40).ok_or_else(|| "write at most \"1TiB\"".into())
}

/// A duration as an operator would write it: in hours or seconds, or in milliseconds where they are not whole.
pub fn show_duration(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (seconds @ 1.., 0) if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}ms", duration.as_millis()),
    }
}

/// A size as an operator would write it, in the largest unit of which it is a whole number.
pub fn show_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |shift: u32| bytes > 0 && bytes.trailing_zeros() >= shift;
    match units.into_iter().find(|(shift, _)| fits(*shift)) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// A share as an operator would write it.
pub fn show_share(share: f64) -> String {
    // Ten digits hold whatever was written, and leave out what its binary form adds.
    let percent = format!("{:.10}", share * 100.0);
    format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
}

fn split(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
}

/// A whole number of at most 64 bits in JSON.
pub(super) fn whole(digits: &str, radix: u32) -> Option<serde_json::Value> {
    let signed = i64::from_str_radix(digits, radix).ok().map(serde_json::Value::from);
    signed.or_else(|| u64::from_str_radix(digits, radix).ok().map(Into::into))
}

/// Any other number in JSON, which has no infinities.
pub(super) fn finite(text: &str) -> Option<serde_json::Value> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["5", "", "s", "5 s", "-1s", "1.5s", "5d", "169h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn instants_say_how_far_from_utc_they_are() {
        for (text, utc) in [
            ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2027-01-01 00:00:00z", "2027-01-01T00:00:00Z"),
            ("2027-01-01T02:30:00.5+02:30", "2027-01-01T00:00:00.500000000Z"),
            ("2026-12-31T14:00:00-10:00", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(instant(text).map(show_instant), Ok(utc.to_owned()), "{text}");
        }
        for bad in [
            "",
            "Z",
            "2027-01-01",
            "2027-01-01T00:00:00",
            "2027-13-01T00:00:00Z",
            "2027-01-01T00:00:00+0200",
            "2027-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2027-01-01T00:00:00é0:00",
        ] {
            assert!(instant(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_count_in_powers_of_1024() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("0B"), Ok(0));
        assert!(size("64KB").unwrap_err().contains("64KiB"));
        for bad in ["64", "", "KiB", "2TiB", "1.5MiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read() {
        for text in ["0s", "1ms", "1500ms", "75s", "2h", "7201s"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["0B", "1B", "1025B", "64KiB", "1536KiB", "64MiB", "1GiB", "1TiB"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
        for text in ["0%", "7%", "0.5%", "12.34567%", "100%"] {
            assert_eq!(show_share(share(text).unwrap()), text);
        }
    }

    #[test]
    fn shares_are_plain_numbers() {
        for bad in ["5", "%", "-1%", "101%", "1e1%", "+5%", ".5%", "5.%", "NaN%", "5 %"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
