//! The Prometheus exposition format, version 0.0.4, and OpenMetrics 1.0 where it differs.

use std::fmt::{Display, Write};

use super::names::Metric;
use super::recorder::{LIMITED_KINDS, RETRY_REASONS};
use super::times::Times;

/// The first and the last upper bound of histograms of times, microseconds.
const FIRST_US: u64 = 100;
const LAST_US: u64 = 600_000_000;

/// Upper bounds of histograms of times, microseconds: each at most 1.2 times the one before, so that a quantile read
/// from them is that much off at most, and of three figures, so that people can read them.
const BUCKETS_US: [u64; buckets()] = {
    let (mut bounds, mut at) = ([FIRST_US; buckets()], 1);
    while at < bounds.len() {
        bounds[at] = next_bound(bounds[at - 1]);
        at += 1;
    }
    bounds
};

const fn buckets() -> usize {
    let (mut count, mut bound) = (1, FIRST_US);
    while bound < LAST_US {
        bound = next_bound(bound);
        count += 1;
    }
    count
}

/// 1.2 times this one, cut to three figures.
const fn next_bound(bound: u64) -> u64 {
    let (next, mut unit) = (bound * 12 / 10, 1);
    while next / unit >= 1000 {
        unit *= 10;
    }
    let cut = next / unit * unit;
    if cut > LAST_US { LAST_US } else { cut }
}

/// Which of the two formats is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// `text/plain; version=0.0.4`.
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

impl ExpositionFormat {
    /// The media type of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes metrics one after the other.
#[derive(Debug)]
pub struct Exposition {
    out: String,
    format: ExpositionFormat,
}

/// Labels of one series, `name` and value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Series of a cluster that batches: how many its calls carried, their pieces, and how long they waited.
pub fn batch_series() -> usize {
    1 + (SIZE_POWERS as usize + 4) + (BUCKETS_US.len() + 3)
}

/// Bounds of sizes are the powers of two up to this one.
const SIZE_POWERS: u32 = 10;

impl Exposition {
    /// An empty text.
    pub fn new(format: ExpositionFormat) -> Self {
        Self { out: String::new(), format }
    }

    /// A counter with all its series. Its name ends in `_total`.
    pub fn counter<'a>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, u64)>,
    ) {
        // OpenMetrics names the family without the suffix that its samples carry.
        let family = match self.format {
            ExpositionFormat::Prometheus => metric.name,
            ExpositionFormat::OpenMetrics => metric.name.trim_end_matches("_total"),
        };
        self.family(family, metric.help, "counter");
        for (labels, value) in series {
            self.sample(metric.name, "", &labels, value);
        }
    }

    /// A gauge with all its series.
    pub fn gauge<'a>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        self.family(metric.name, metric.help, "gauge");
        for (labels, value) in series {
            self.sample(metric.name, "", &labels, value);
        }
    }

    /// A histogram with all its series.
    pub fn histogram<'a>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, &'a Times)>,
    ) {
        self.family(metric.name, metric.help, "histogram");
        for (labels, times) in series {
            for (bound, count) in BUCKETS_US.iter().zip(times.counts_up_to(&BUCKETS_US)) {
                let text = (*bound as f64 / 1e6).to_string();
                let mut labels = labels.clone();
                labels.push(("le", &text));
                self.sample(metric.name, "_bucket", &labels, count);
            }
            let mut infinite = labels.clone();
            infinite.push(("le", "+Inf"));
            self.sample(metric.name, "_bucket", &infinite, times.count());
            self.sample(metric.name, "_sum", &labels, times.sum_us() as f64 / 1e6);
            self.sample(metric.name, "_count", &labels, times.count());
        }
    }

    /// A histogram of how many there were of something.
    pub fn sizes<'a>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, &'a Times)>,
    ) {
        self.family(metric.name, metric.help, "histogram");
        for (labels, counts) in series {
            for power in 0..=SIZE_POWERS {
                let (bound, mut labels) = (1_u64 << power, labels.clone());
                let text = bound.to_string();
                labels.push(("le", &text));
                self.sample(metric.name, "_bucket", &labels, counts.count_up_to(bound));
            }
            let mut infinite = labels.clone();
            infinite.push(("le", "+Inf"));
            self.sample(metric.name, "_bucket", &infinite, counts.count());
            self.sample(metric.name, "_sum", &labels, counts.sum_us());
            self.sample(metric.name, "_count", &labels, counts.count());
        }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == ExpositionFormat::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: Labels<'_>, value: impl Display) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        for (position, (label, text)) in labels.iter().enumerate() {
            let _ =
                write!(self.out, "{}{label}=\"{}\"", if position == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// How many series `/metrics` shows for a plan of this size: a bound that no client can move.
///
/// Beside them stands one for each code with which somebody was refused, of which the program has some sixty.
pub fn series(
    routes: usize,
    (clusters, endpoints): (usize, usize),
    (lanes, limits): (usize, usize),
) -> usize {
    let histogram = BUCKETS_US.len() + 3;
    // twelve of the process, three a lane, a kind each a limit; six classes of status, six counters and six histograms a
    // route; five counters, four gauges and four histograms an endpoint; a reason to repeat each a cluster
    12 + 3 * lanes
        + limits * LIMITED_KINDS.len()
        + routes * (6 + 6 + 6 * histogram)
        + endpoints * (9 + 4 * histogram)
        + clusters * RETRY_REASONS
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::names;

    #[test]
    fn bounds_of_times_ascend_by_a_fifth_at_most() {
        assert_eq!((BUCKETS_US[0], *BUCKETS_US.last().unwrap()), (FIRST_US, LAST_US));
        for pair in BUCKETS_US.windows(2) {
            assert!(pair[0] < pair[1] && pair[1] * 10 <= pair[0] * 12, "{pair:?}");
        }
    }

    #[test]
    fn both_formats_write_what_their_readers_expect() {
        let mut times = Times::default();
        times.record(110);
        for (format, family, end) in [
            (ExpositionFormat::Prometheus, "# TYPE corelane_panics_total counter", ""),
            (ExpositionFormat::OpenMetrics, "# TYPE corelane_panics counter", "# EOF\n"),
        ] {
            let mut out = Exposition::new(format);
            out.counter(names::PANICS, [(vec![("lane", "a\"b")], 3)]);
            out.histogram(names::TOTAL, [(vec![("route", "r")], &times)]);
            let text = out.finish();
            assert!(text.contains(family), "{text}");
            assert!(text.contains("corelane_panics_total{lane=\"a\\\"b\"} 3\n"), "{text}");
            assert!(text.contains("corelane_request_duration_seconds_bucket{route=\"r\",le=\"0.0001\"} 0\n"));
            assert!(
                text.contains("corelane_request_duration_seconds_bucket{route=\"r\",le=\"0.00012\"} 1\n")
            );
            assert!(text.contains("corelane_request_duration_seconds_bucket{route=\"r\",le=\"600\"} 1\n"));
            assert!(text.contains("corelane_request_duration_seconds_sum{route=\"r\"} 0.00011\n"), "{text}");
            assert!(text.ends_with(end));
        }
    }
}
