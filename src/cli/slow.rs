//! `corelane slow`: the slowest recent exchanges of a running gateway, phase by phase.

use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use super::admin::{self, address, encoded};
use super::figures::time;
use super::print::{complain, print};
use crate::base::address::Address;
use crate::config::units::duration;

/// Arguments of `slow`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  corelane slow --route chat --last 5m\n\nTimes: T, then its phases: reading the head, holding the body until the route was known, waiting in the queue,\nconnecting, sending, waiting for the head of the answer, relaying it. TTFT and the longest gap between tokens are\nof streams."
)]
pub(super) struct Slow {
    /// The admin API of the gateway. Its token, where it has one, is taken from CORELANE_ADMIN_TOKEN.
    #[arg(long, value_name = "ADDR", value_parser = address, default_value = "127.0.0.1:9901")]
    admin: Address,
    /// Only those of this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Only those of this endpoint, by its URL as in the configuration.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Only those that ended so long ago at most.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = span)]
    last: String,
    /// So many of them.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// One JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

/// A time as it stands in an argument, once it is one.
fn span(text: &str) -> Result<String, String> {
    duration(text).map(|_| text.to_owned())
}

impl Slow {
    pub(super) fn run(self) -> u8 {
        let mut target = format!("/slow?last={}&limit={}", encoded(&self.last), self.limit);
        for (name, value) in [("route", &self.route), ("endpoint", &self.endpoint)] {
            if let Some(value) = value {
                let _ = write!(target, "&{name}={}", encoded(value));
            }
        }
        match admin::get(&self.admin, &target) {
            Ok(told) if self.json => print(format_args!("{}\n", told.trim_end())),
            Ok(told) => print(table(&serde_json::from_str(&told).unwrap_or_default())),
            Err(error) => {
                complain(error);
                1
            }
        }
    }
}

/// Columns: their title, and the member that they show as a time.
const TIMES: [(&str, &str); 10] = [
    ("T", "T_us"),
    ("head", "head_us"),
    ("hold", "hold_us"),
    ("queue", "queue_us"),
    ("connect", "connect_us"),
    ("send", "send_us"),
    ("wait", "wait_us"),
    ("relay", "relay_us"),
    ("TTFT", "ttft_us"),
    ("gap", "itl_max_us"),
];

/// The exchanges as a table, one line each.
fn table(told: &Value) -> String {
    let exchanges = told["exchanges"].as_array().map(Vec::as_slice).unwrap_or_default();
    if exchanges.is_empty() {
        return "no exchange ended in that time, or the recorder is off (observe.recorder)\n".to_owned();
    }
    let titles = TIMES.iter().map(|(title, _)| (*title).to_owned());
    let mut rows: Vec<Vec<String>> = vec![
        titles
            .chain(["status", "route", "endpoint", "tokens", "time", "request id"].map(str::to_owned))
            .collect(),
    ];
    for exchange in exchanges {
        let text = |name: &str| exchange[name].as_str().unwrap_or("-").to_owned();
        let status = match exchange["code"].as_str() {
            Some(code) => format!("{} {code}", exchange["status"]),
            None => exchange["status"].to_string(),
        };
        let mut row: Vec<_> = TIMES.iter().map(|(_, name)| time(exchange[*name].as_u64())).collect();
        // The day is that of whoever looks, or yesterday's: the time tells them apart.
        let ended = text("time").get(11..23).unwrap_or("-").to_owned();
        row.extend([
            status,
            text("route"),
            text("endpoint"),
            exchange["tokens"].to_string(),
            ended,
            text("request_id"),
        ]);
        rows.push(row);
    }
    aligned(&rows)
}

/// Columns under each other: times to the right, texts to the left.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let mut page = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column < TIMES.len() {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        page.push_str(line.trim_end());
        page.push('\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_stands_in_columns_and_tells_what_there_was() {
        let page = table(&json!({ "exchanges": [
            { "T_us": 1_234_567, "head_us": 0, "hold_us": 12, "wait_us": 1_200_000, "ttft_us": null, "status": 504,
              "code": "upstream_timeout", "route": "chat", "endpoint": "http://a", "tokens": 0,
              "time": "2026-01-02T03:04:05.678901Z", "request_id": "abc" },
            { "T_us": 99, "status": 200, "code": null, "route": null, "endpoint": null, "tokens": 7,
              "time": "x", "request_id": "d" },
        ] }));
        let lines: Vec<_> = page.lines().collect();
        assert_eq!(lines.len(), 3);
        let words: Vec<_> = lines[1].split_whitespace().collect();
        assert_eq!(words[..4], ["1.23s", "0", "12us", "-"]);
        assert_eq!(words[10..], ["504", "upstream_timeout", "chat", "http://a", "0", "03:04:05.678", "abc"]);
        assert_eq!(lines[0].find("status"), lines[1].find("504"));
        assert!(table(&json!({ "exchanges": [] })).contains("observe.recorder"));
    }
}
