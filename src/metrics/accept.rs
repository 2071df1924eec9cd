//! Which format a scraper asks for: Accept with its weights (RFC 9110 §12.5.1), and plain text where it has no preference.

use super::text::ExpositionFormat;

/// A range of media types that is accepted, with its weight in thousandths.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    weight: u16,
}

/// The format that the fields of Accept prefer. Of two that are liked the same it is plain text; also where neither is
/// acceptable, for a scraper can make more of that than of a refusal.
pub fn format<'a>(fields: impl Iterator<Item = &'a str>) -> ExpositionFormat {
    let ranges: Vec<_> = fields.flat_map(|field| split(field, ',')).filter_map(range).collect();
    let weight = |kind, subtype, version| {
        let fitting = ranges.iter().filter_map(|range| {
            range.fits(kind, subtype, version).map(|precision| (precision, range.weight))
        });
        // The most specific range decides, not the best.
        fitting.max().map_or(0, |(_, weight)| weight)
    };
    let open = weight("application", "openmetrics-text", "1.0.0");
    match open > weight("text", "plain", "0.0.4") {
        true => ExpositionFormat::OpenMetrics,
        false => ExpositionFormat::Prometheus,
    }
}

impl Range<'_> {
    /// How precisely it names this type, if it does. A version that is not ours names another type; other parameters
    /// (charset, escaping) ask for what need not be done.
    fn fits(&self, kind: &str, subtype: &str, version: &str) -> Option<usize> {
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (own, "*") if own.eq_ignore_ascii_case(kind) => Some(1),
            (own, part) if own.eq_ignore_ascii_case(kind) && part.eq_ignore_ascii_case(subtype) => {
                let versions =
                    self.parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case("version"));
                let fit = versions.clone().all(|(_, asked)| *asked == version);
                fit.then_some(2 + versions.count())
            }
            _ => None,
        }
    }
}

/// Reads `type/subtype;name=value;q=0.5`; none where it is malformed.
fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = split(text, ';');
    let (kind, subtype) = parts.next()?.trim().split_once('/')?;
    let mut range = Range { kind, subtype, parameters: Vec::new(), weight: 1000 };
    for part in parts {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        match name.eq_ignore_ascii_case("q") {
            true => range.weight = weight(value)?,
            false => range.parameters.push((name, value)),
        }
    }
    Some(range)
}

/// A weight of 0 to 1 with three decimals at most (RFC 9110 §12.4.2), in thousandths.
fn weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let plain = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let decimals: u16 = format!("{decimals:0<3}").parse().ok().filter(|_| plain)?;
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1000),
        _ => None,
    }
}

/// The parts of a text between marks that stand outside quotes.
fn split(text: &str, mark: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == mark && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_liked_best() {
        use ExpositionFormat::{OpenMetrics, Prometheus};
        for (fields, expected) in [
            (&[][..], Prometheus),
            (&["*/*"], Prometheus),
            (&["application/openmetrics-text"], OpenMetrics),
            (&["text/plain;q=0.9, application/openmetrics-text;q=0.1"], Prometheus),
            (&["text/plain;q=0.1, application/openmetrics-text;q=0.9"], OpenMetrics),
            (&["text/plain", "application/openmetrics-text"], Prometheus),
            (&["text/plain;q=0.5", "Application/OpenMetrics-Text;Q=0.6"], OpenMetrics),
            (&["application/openmetrics-text;q=0"], Prometheus),
            (&["application/openmetrics-text;q=0, */*"], Prometheus),
            (&["text/plain;q=0, */*;q=0.1"], OpenMetrics),
            (&["text/*;q=0.3, application/*;q=0.2"], Prometheus),
            (&["application/openmetrics-text;version=\"1.0.0\""], OpenMetrics),
            (&["application/openmetrics-text;version=2.0.0"], Prometheus),
            (&["application/openmetrics-text;x=\"a,b;q=0\";q=0.5"], OpenMetrics),
            (
                &["application/openmetrics-text;q=2", "application/openmetrics-text;q=0.0001", "nonsense"],
                Prometheus,
            ),
            // What Prometheus 2 and 3 send.
            (
                &[
                    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ],
                OpenMetrics,
            ),
            (
                &[
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ],
                OpenMetrics,
            ),
        ] {
            assert_eq!(format(fields.iter().copied()), expected, "{fields:?}");
        }
    }
}
