//! `kind = "rate-limit"`: so many requests in a time.

use std::time::Duration;

use super::token::token;
use crate::config::reader::Table;
use crate::config::table::table;
use crate::config::values::text_setting;
use crate::filter::rate_limit::By;

table! {
    /// `kind = "rate-limit"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RateLimitConfig checked by check_limit {
        /// "rate-limit": lets so many requests pass in a time, counted over all lanes and kept through reloads; answers tell how
        /// many are left.
        kind: String = key("kind", Choice(&["rate-limit"]), Required("nobody could know what it does", "\"rate-limit\"")),
        /// What requests are told apart by: "key", "ip", "header:NAME", "route", "model"; of a list each combination counts by itself.
        by: Vec<LimitedBy> = key("by", OneOrMore(&Text), Is("'key'")),
        /// How many requests in a "sec", "min", "hour" or "day"; they refill evenly.
        requests: Option<LimitRate> = key("requests", Text, Absent),
        /// How many tokens in such a time: estimated by the prompt and what is asked for, settled by the answer's usage. A
        /// stream that does not ask for its usage is asked for it, and what only we asked for is left out.
        tokens: Option<LimitRate> = key("tokens", Text, Absent),
        /// How many requests at once; as many as in that time without it.
        burst: Option<u64> = key("burst", Number(1, PERMITS_MAX), Absent),
    }
}

fn check_limit(table: &Table<'_, '_>, limit: &RateLimitConfig) {
    if !table.has("requests") && !table.has("tokens") {
        table.complain(
            "a rate-limit has neither `requests` nor `tokens`",
            "it would limit nothing",
            "add requests = \"60/min\" or tokens = \"100000/min\", or remove it",
        );
    }
    if limit.burst.is_some() && !table.has("requests") {
        table.complain(
            "a rate-limit of tokens has `burst`",
            "it says how many requests may come at once",
            "remove it: tokens may be as many at once as in that time",
        );
    }
    if limit.by.is_empty() && table.has("by") {
        table.complain(
            "a rate-limit tells requests apart by nothing",
            "all clients would share one bucket, and the first would use it up",
            "write by = \"key\", or remove it",
        );
    }
}

/// What a limit tells requests apart by.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitedBy(pub By);

impl LimitedBy {
    fn parse(text: &str) -> Result<Self, String> {
        let by = match (text, text.strip_prefix("header:")) {
            ("key", _) => By::Key,
            ("ip", _) => By::Ip,
            ("route", _) => By::Route,
            ("model", _) => By::Model,
            (_, Some(name)) if token(name).is_ok() => By::Header(name.to_ascii_lowercase()),
            _ => return Err("write \"key\", \"ip\", \"route\", \"model\" or \"header:NAME\"".to_owned()),
        };
        Ok(Self(by))
    }

    fn text(&self) -> String {
        match &self.0 {
            By::Key => "key".to_owned(),
            By::Ip => "ip".to_owned(),
            By::Route => "route".to_owned(),
            By::Model => "model".to_owned(),
            By::Header(name) => format!("header:{name}"),
        }
    }
}

text_setting!(LimitedBy, read by |value| value.parsed(LimitedBy::parse), shown by LimitedBy::text);

/// So many requests in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitRate {
    /// How many.
    pub permits: u64,
    /// In which time.
    pub period: Duration,
}

/// Most permits in a time: a second has as many nanoseconds.
const PERMITS_MAX: u64 = 1_000_000_000;
/// The times that permits are counted in.
const PERIODS: [(&str, u64); 4] = [("sec", 1), ("min", 60), ("hour", 3600), ("day", 86_400)];

impl LimitRate {
    fn parse(text: &str) -> Result<Self, String> {
        let fix = || {
            "write a number and its time, such as \"60/min\", \"5/sec\", \"1000/hour\" or \"10000/day\""
                .to_owned()
        };
        let (number, unit) = text.split_once('/').ok_or_else(fix)?;
        let (_, seconds) = PERIODS.iter().find(|(name, _)| *name == unit).ok_or_else(fix)?;
        let number = Some(number).filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
        let permits = number.and_then(|number| number.parse().ok()).filter(|n| (1..=PERMITS_MAX).contains(n));
        Ok(Self { permits: permits.ok_or_else(fix)?, period: Duration::from_secs(*seconds) })
    }

    fn text(&self) -> String {
        let unit = PERIODS.iter().find(|(_, seconds)| *seconds == self.period.as_secs());
        format!("{}/{}", self.permits, unit.map_or("sec", |(name, _)| name))
    }
}

text_setting!(LimitRate, read by |value| value.parsed(LimitRate::parse), shown by LimitRate::text);
