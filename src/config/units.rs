//! Durations and sizes as operators write them: a number and its unit, nothing bare.

use std::time::Duration;

/// Longest duration that is accepted; above it somebody mistook a unit.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

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

/// Reads `"10%"` or `"0.5%"`, as a share from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
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

fn split(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
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
    fn sizes_count_in_powers_of_1024() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("0B"), Ok(0));
        assert!(size("64KB").unwrap_err().contains("64KiB"));
        for bad in ["64", "", "KiB", "2TiB", "1.5MiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
