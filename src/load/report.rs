//! What a run showed: a page for people, an object for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::compare::{Spread, Verdict, judge};
use super::tally::Tally;
use crate::metrics::times::Times;

/// The page for people: T, S, B, TTFT, ITL.
pub fn text(url: &str, tally: &Tally) -> String {
    let mut page = String::new();
    let line = |page: &mut String, text: std::fmt::Arguments<'_>| {
        page.write_fmt(text).and_then(|()| page.write_char('\n')).expect("a string takes all");
    };
    line(&mut page, format_args!("{url}, {:.1} s", tally.measured.as_secs_f64()));
    line(
        &mut page,
        format_args!(
            "  S     {:.4} %  ({} of {} right{})",
            100.0 * rate_of_success(tally),
            tally.success,
            tally.requests(),
            if tally.unfinished > 0 {
                format!(", {} cut by the end", tally.unfinished)
            } else {
                String::new()
            },
        ),
    );
    for (failure, count) in &tally.failures {
        line(&mut page, format_args!("        {count} failed: {failure}"));
    }
    line(
        &mut page,
        format_args!(
            "  B     {:.0} requests/s, {:.0} tokens/s, {:.1} KiB/s out, {:.1} KiB/s in, {} connections made",
            tally.per_second(tally.success),
            tally.per_second(tally.tokens),
            tally.per_second(tally.bytes_out) / 1024.0,
            tally.per_second(tally.bytes_in) / 1024.0,
            tally.connects,
        ),
    );
    line(
        &mut page,
        format_args!("  µs    {:>9} {:>9} {:>9} {:>9} {:>9}", "p50", "p90", "p99", "p99.9", "max"),
    );
    for (name, _, times) in measures(tally) {
        if times.count() > 0 {
            let [p50, p90, p99, p999] = QUANTILES.map(|(_, quantile)| times.quantile_us(quantile));
            line(
                &mut page,
                format_args!("  {name:<5} {p50:>9} {p90:>9} {p99:>9} {p999:>9} {:>9}", times.max_us()),
            );
        }
    }
    line(
        &mut page,
        format_args!("  the generator itself: {:.1} µs of CPU a request", tally.cpu_us_per_request()),
    );
    page
}

/// The object for programs; times in microseconds.
pub fn object(url: &str, tally: &Tally) -> Value {
    let mut object = json!({
        "url": url,
        "seconds": tally.measured.as_secs_f64(),
        "requests": tally.requests(),
        "success": tally.success,
        "unfinished": tally.unfinished,
        "S": rate_of_success(tally),
        "failures": tally.failures.iter().map(|(kind, count)| (kind.to_string(), json!(count)))
            .collect::<serde_json::Map<_, _>>(),
        "B": {
            "requests_per_s": tally.per_second(tally.success),
            "tokens_per_s": tally.per_second(tally.tokens),
            "bytes_out_per_s": tally.per_second(tally.bytes_out),
            "bytes_in_per_s": tally.per_second(tally.bytes_in),
        },
        "connects": tally.connects,
        "generator_cpu_us_per_request": tally.cpu_us_per_request(),
    });
    for (_, key, times) in measures(tally) {
        object[key] = spread(times);
    }
    object
}

/// Two targets side by side: ratios of the rounds, first to second.
pub fn versus(rounds: &[(Tally, Tally)]) -> String {
    let mut page = String::from("first / second, median of the rounds (quartiles)\n");
    for (name, figure) in COMPARED {
        let pairs: Vec<_> = rounds.iter().map(|(a, b)| (figure(a), figure(b))).collect();
        page += &match judge(&pairs) {
            (None, _) => continue,
            (Some(all), Verdict::CannotTell) => format!("  {name:<12} {} cannot be told apart\n", ratio(all)),
            (Some(_), Verdict::Differ(all)) => {
                let first = Spread::of(pairs.iter().map(|pair| pair.0)).map_or(0.0, |spread| spread.median);
                let second = Spread::of(pairs.iter().map(|pair| pair.1)).map_or(0.0, |spread| spread.median);
                format!("  {name:<12} {} differ: {first:.0} and {second:.0}\n", ratio(all))
            }
        };
    }
    page
}

/// The same for programs.
pub fn versus_object(rounds: &[(Tally, Tally)]) -> Value {
    let compared = COMPARED.iter().map(|(name, figure)| {
        let pairs: Vec<_> = rounds.iter().map(|(a, b)| (figure(a), figure(b))).collect();
        let (spread, verdict) = judge(&pairs);
        let ratio = spread.map(|s| json!({ "low": s.low, "median": s.median, "high": s.high }));
        let told = matches!(verdict, Verdict::Differ(_));
        ((*name).to_owned(), json!({ "ratio": ratio, "told_apart": told }))
    });
    Value::Object(compared.collect())
}

fn ratio(spread: Spread) -> String {
    format!("{:.3} ({:.3} to {:.3})", spread.median, spread.low, spread.high)
}

type Figure = fn(&Tally) -> f64;
/// What is compared: its name, and the figure of one slice.
const COMPARED: [(&str, Figure); 5] = [
    ("T p50", |tally| tally.total.quantile_us(0.5) as f64),
    ("T p99", |tally| tally.total.quantile_us(0.99) as f64),
    ("TTFT p50", |tally| tally.ttft.quantile_us(0.5) as f64),
    ("ITL p50", |tally| tally.itl.quantile_us(0.5) as f64),
    ("requests/s", |tally| tally.per_second(tally.success)),
];

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

/// Name on the page, key in the object, times.
fn measures(tally: &Tally) -> [(&'static str, &'static str, &Times); 5] {
    [
        ("T", "T_us", &tally.total),
        ("TTFT", "ttft_us", &tally.ttft),
        ("ITL", "itl_us", &tally.itl),
        ("delay", "delay_us", &tally.delay),
        ("late", "late_us", &tally.late),
    ]
}

fn spread(times: &Times) -> Value {
    let mut object = serde_json::Map::new();
    for (name, quantile) in QUANTILES {
        object.insert(name.into(), times.quantile_us(quantile).into());
    }
    object.insert("max".into(), times.max_us().into());
    object.insert("mean".into(), (times.sum_us() as f64 / times.count().max(1) as f64).into());
    Value::Object(object)
}

fn rate_of_success(tally: &Tally) -> f64 {
    if tally.requests() == 0 { 0.0 } else { tally.success as f64 / tally.requests() as f64 }
}
