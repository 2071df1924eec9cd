//! `[filter.NAME]`: what looks at requests before they are answered.

use std::time::Duration;

use super::key::{Key, Kind};
use super::keys::KeysFile;
use super::reader::{Setting, Table, Value};
use super::table::table;
use super::values::text_setting;
use crate::base::network::Network;
use crate::codec::field::is_token;
use crate::filter::rate_limit::By;

/// One filter, of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterConfig {
    /// By address.
    Ip(IpConfig),
    /// By API key.
    Keys(KeysConfig),
    /// What answers say to browsers.
    Cors(CorsConfig),
    /// So many requests in a time.
    RateLimit(RateLimitConfig),
}

table! {
    /// `kind = "ip"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct IpConfig checked by check_ip {
        /// "ip": lets clients pass by their address; an unknown one fits no `allow` and every `deny`.
        kind: String = key("kind", Choice(&["ip"]), Required("nobody could know what it does", "\"ip\"")),
        /// Networks whose clients pass; all without it. "unix:" stands for whoever comes over a Unix socket.
        allow: Vec<Network> = key("allow", NonEmpty(&Text, EMPTY, "write networks, or remove it"), Absent),
        /// Networks whose clients do not; it wins over `allow`.
        deny: Vec<Network> = key("deny", NonEmpty(&Text, EMPTY, "write networks, or remove it"), Absent),
    }
}

table! {
    /// `kind = "keys"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct KeysConfig {
        /// "keys": lets those pass who show an API key, as `authorization: Bearer`, `x-api-key` or `api-key`; it stays here.
        kind: String = key("kind", Choice(&["keys"]), Required("nobody could know what it does", "\"keys\"")),
        /// The file of the keys, from the folder of this one; in force within a second of a change.
        file: KeysFile = key("file", File, Required("nobody could pass", "\"keys.toml\"")),
    }
}

table! {
    /// `kind = "cors"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct CorsConfig checked by check_cors {
        /// "cors": lets pages of other origins read answers, refusals too, and answers their preflights with 204, before any
        /// other filter; what an endpoint says of it itself is replaced.
        kind: String = key("kind", Choice(&["cors"]), Required("nobody could know what it does", "\"cors\"")),
        /// Origins of such pages: exact, "https://*.example", or "*" alone for all.
        origins: Vec<String> = key(
            "origins",
            NonEmpty(&Form(origin), "no page could read an answer", "add \"https://app.example\", or remove the filter"),
            Required("no page could read an answer", "[\"https://app.example\"]")
        ),
        /// Methods that they may use.
        methods: Vec<String> = key("methods", List(&Form(token)), Is("['GET', 'POST']")),
        /// Fields that they may send.
        headers: Vec<String> = key("headers", List(&Form(token)), Is("['authorization', 'content-type']")),
        /// Fields of answers that they may read, beside the usual ones.
        expose: Vec<String> = key("expose", List(&Form(token)), Is("['x-request-id']")),
        /// Whether their requests may carry cookies and the like; not with "*".
        credentials: bool = key("credentials", Truth, Is("false")),
        /// How long a browser may remember the answer to a preflight.
        max_age: Duration = key("max_age", Finite(Duration::ZERO, "a browser asks for a number of seconds"), Is("'10m'")),
    }
}

table! {
    /// `kind = "rate-limit"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RateLimitConfig checked by check_limit {
        /// "rate-limit": lets so many requests pass in a time, counted over all lanes and kept through reloads; answers tell how
        /// many are left.
        kind: String = key("kind", Choice(&["rate-limit"]), Required("nobody could know what it does", "\"rate-limit\"")),
        /// What requests are told apart by: "key", "ip", "header:NAME", "route"; of a list each combination counts by itself.
        by: Vec<LimitedBy> = key("by", OneOrMore(&Text), Is("'key'")),
        /// How many in a "sec", "min", "hour" or "day"; they refill evenly.
        requests: RequestRate = key("requests", Text, Required("it would limit nothing", "\"60/min\"")),
        /// How many at once; as many as in that time without it.
        burst: Option<u64> = key("burst", Number(1, PERMITS_MAX), Absent),
    }
}

fn check_limit(table: &Table<'_, '_>, limit: &RateLimitConfig) {
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
            (_, Some(name)) if token(name).is_ok() => By::Header(name.to_ascii_lowercase()),
            _ => return Err("write \"key\", \"ip\", \"route\" or \"header:NAME\"".to_owned()),
        };
        Ok(Self(by))
    }

    fn text(&self) -> String {
        match &self.0 {
            By::Key => "key".to_owned(),
            By::Ip => "ip".to_owned(),
            By::Route => "route".to_owned(),
            By::Header(name) => format!("header:{name}"),
        }
    }
}

text_setting!(LimitedBy, read by |value| value.parsed(LimitedBy::parse), shown by LimitedBy::text);

/// So many requests in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestRate {
    /// How many.
    pub permits: u64,
    /// In which time.
    pub period: Duration,
}

/// Most permits in a time: a second has as many nanoseconds.
const PERMITS_MAX: u64 = 1_000_000_000;
/// The times that permits are counted in.
const PERIODS: [(&str, u64); 4] = [("sec", 1), ("min", 60), ("hour", 3600), ("day", 86_400)];

impl RequestRate {
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

text_setting!(RequestRate, read by |value| value.parsed(RequestRate::parse), shown by RequestRate::text);

/// An origin (RFC 6454 §6.2), in the form in which browsers send it.
fn origin(text: &str) -> Result<String, String> {
    let fix = "write it as browsers send it, such as \"https://app.example\", \"https://*.example\" or \"*\"";
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = authority.map(|authority| authority.strip_prefix("*.").unwrap_or(authority));
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b);
    let is_origin = |host: &str| !host.is_empty() && host.bytes().all(is_plain);
    match text == "*" || host.is_some_and(is_origin) {
        true => Ok(text.to_owned()),
        false => Err(fix.to_owned()),
    }
}

/// A method or the name of a field.
fn token(text: &str) -> Result<String, String> {
    match is_token(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => {
            Err("write a name of letters, digits and \"-\", such as \"GET\" or \"content-type\"".to_owned())
        }
    }
}

fn check_cors(table: &Table<'_, '_>, cors: &CorsConfig) {
    if !cors.origins.iter().any(|origin| origin == "*") {
        return;
    }
    if cors.credentials {
        table.complain(
            "a cors filter is for all origins and has `credentials`",
            "any page could act for whoever visits it; browsers refuse it",
            "name the origins, or remove `credentials`",
        );
    }
    if cors.origins.len() > 1 {
        table.complain(
            "a cors filter has \"*\" beside other origins",
            "all are allowed by it, and the others say nothing",
            "leave \"*\" out, or the others",
        );
    }
}

/// Why a list of networks is not empty.
const EMPTY: &str = "it could mean everybody or nobody";

fn check_ip(table: &Table<'_, '_>, _: &IpConfig) {
    if !table.has("allow") && !table.has("deny") {
        table.complain(
            "an ip filter has neither `allow` nor `deny`",
            "it would let everybody pass",
            "add allow = [\"10.0.0.0/8\"], or remove it",
        );
    }
}

impl FilterConfig {
    /// All kinds, each the table that it is read by.
    pub const KINDS: Kind = Kind::Kinds(&[
        Kind::Table(IpConfig::KEYS),
        Kind::Table(KeysConfig::KEYS),
        Kind::Table(CorsConfig::KEYS),
        Kind::Table(RateLimitConfig::KEYS),
    ]);
}

/// The word by which a table is known.
fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Table([Key { kind: Kind::Choice([word]), .. }, ..]) => word,
        _ => super::values::unfit::<FilterConfig>(kind),
    }
}

impl Setting for FilterConfig {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Kinds(kinds) = kind else { super::values::unfit::<Self>(kind) };
        let words: Vec<_> = kinds.iter().map(word).collect();
        let found = value.kind(&words)?;
        let table = kinds.iter().find(|kind| word(kind) == found)?;
        match found {
            "ip" => IpConfig::read(value, table).map(Self::Ip),
            "rate-limit" => RateLimitConfig::read(value, table).map(Self::RateLimit),
            "cors" => CorsConfig::read(value, table).map(Self::Cors),
            "keys" => KeysConfig::read(value, table).map(Self::Keys),
            _ => None,
        }
    }

    fn show(&self, kind: &'static Kind) -> serde_json::Value {
        let Kind::Kinds(kinds) = kind else { super::values::unfit::<Self>(kind) };
        let of = |name: &str| kinds.iter().find(|kind| word(kind) == name).expect("each kind has its table");
        match self {
            Self::Ip(ip) => ip.show(of("ip")),
            Self::Keys(keys) => keys.show(of("keys")),
            Self::Cors(cors) => cors.show(of("cors")),
            Self::RateLimit(limit) => limit.show(of("rate-limit")),
        }
    }
}
