//! Figures for people: three digits and a unit.

/// A time in microseconds; `-` where there is none.
pub(super) fn time(us: Option<u64>) -> String {
    let Some(us) = us else { return "-".to_owned() };
    match us {
        0 => "0".to_owned(),
        1..1_000 => format!("{us}us"),
        1_000..10_000 => format!("{:.2}ms", us as f64 / 1e3),
        10_000..100_000 => format!("{:.1}ms", us as f64 / 1e3),
        100_000..1_000_000 => format!("{:.0}ms", us as f64 / 1e3),
        1_000_000..100_000_000 => format!("{:.2}s", us as f64 / 1e6),
        _ => format!("{:.0}s", us as f64 / 1e6),
    }
}

/// A number of things, or of things a second.
pub(super) fn count(number: f64) -> String {
    match number {
        ..10.0 if number.fract() != 0.0 => format!("{number:.1}"),
        ..10_000.0 => format!("{number:.0}"),
        ..1e6 => format!("{:.1}k", number / 1e3),
        ..1e9 => format!("{:.1}M", number / 1e6),
        _ => format!("{:.1}G", number / 1e9),
    }
}

/// A share, cut and never rounded up: 100 % is all of them.
pub(super) fn share(share: f64) -> String {
    if share >= 1.0 { "100%".to_owned() } else { format!("{:.2}%", (share * 1e4).floor() / 1e2) }
}

/// How long something lasts already, in seconds.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0}s"),
        ..7_200.0 => format!("{:.0}min", (seconds / 60.0).floor()),
        ..172_800.0 => format!("{:.0}h", (seconds / 3_600.0).floor()),
        _ => format!("{:.0}d", (seconds / 86_400.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        let told = [0, 7, 999, 1_000, 12_345, 123_456, 1_500_000, 120_000_000].map(|us| time(Some(us)));
        assert_eq!(told, ["0", "7us", "999us", "1.00ms", "12.3ms", "123ms", "1.50s", "120s"]);
        assert_eq!(time(None), "-");
        let told = [0.0, 0.25, 3.0, 42.7, 9_999.0, 12_345.0, 7.2e6, 1.5e9].map(count);
        assert_eq!(told, ["0", "0.2", "3", "43", "9999", "12.3k", "7.2M", "1.5G"]);
        assert_eq!([1.0, 0.99999, 0.5, 0.0].map(share), ["100%", "99.99%", "50.00%", "0.00%"]);
        assert_eq!([1.0, 130.0, 7_300.0, 200_000.0].map(span), ["1s", "2min", "2h", "2d"]);
    }
}
