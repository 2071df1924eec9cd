//! `[observe]`: what is told of exchanges besides metrics.

use std::path::PathBuf;
use std::time::Duration;

use super::table::table;
use super::url::{EndpointAddress, EndpointUrl};
use super::values::text_setting;
use crate::base::choice::{Level, LogTarget, Words};
use crate::base::limits::{LOG_PROMPT_BYTES_MAX, RECORDER_MAX};
use crate::base::problem::Placed;
use crate::metrics::access::Format;

table! {
    /// `[observe]`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ObserveConfig {
        /// One line for each exchange: "off", or a table as below. Lines go to "stdout", "stderr" or a file, opened
        /// anew at SIGUSR1; as "json", or by a template of the fields of the JSON line, such as "{time} {client}
        /// {method} {path} {status} {route} {endpoint} {T_us}".
        access_log: Option<AccessLogConfig> = key(
            "access_log",
            Or("off", &Table(AccessLogConfig::KEYS)),
            Is("'off'")
        ),
        /// What the program says of itself on stderr: "error", "warn", "info" or "debug"; in words on a terminal, else as JSON
        /// lines.
        log: Level = key("log", Choice(Level::WORDS), Is("'info'")),
        /// Answers carry server-timing: what of queue, gw, up, connect and head was over when the head left, in milliseconds.
        server_timing: bool = key("server_timing", Truth, Is("false")),
        /// Exchanges that the flight recorder keeps on each lane, phase by phase, for `corelane slow`; 192 bytes each, once
        /// there was one. 0 keeps none.
        recorder: usize = key("recorder", Number(0, RECORDER_MAX), Is("65536")),
        /// Spans of a `share` of exchanges are sent to an OpenTelemetry collector by OTLP over HTTP, to /v1/traces at the address
        /// `otlp`; a trace that a trusted sender began is recorded if that one says so. At most 2,048 spans wait.
        trace: Option<TraceConfig> = key("trace", Table(TraceConfig::KEYS), Absent),
        /// When a route's p99 of the last minute passes `p99`, its slowest exchanges of that minute are written into the folder
        /// `to`, as slow-TIME.json: once in 10 minutes, and the ten newest stay.
        dump: Option<Placed<DumpConfig>> = key("dump", Table(DumpConfig::KEYS), Absent),
    }
}

table! {
    /// `trace`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct TraceConfig {
        /// The collector.
        otlp: String = key("otlp", Form(collector), Required("nobody would be told", "\"http://127.0.0.1:4318\"")),
        /// The share of exchanges that are traced, of those that belong to nobody's trace.
        share: f64 = key("share", Share, Is("'1%'")),
    }
}

fn collector(text: &str) -> Result<String, String> {
    match EndpointUrl::parse(text) {
        Ok(url) if !matches!(url.address, EndpointAddress::Unix(_)) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => {
            Err("write the address of a collector, such as \"http://127.0.0.1:4318\" or the same at https://"
                .to_owned())
        }
    }
}

table! {
    /// `dump`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct DumpConfig {
        /// What a route's p99 must not pass.
        p99: Duration = key("p99", Time(INSTANT), Required("nobody would know what is slow", "\"2s\"")),
        /// The folder of the dumps.
        to: String = key("to", Form(folder), Required("they would go nowhere", "\"/var/log/corelane\"")),
    }
}

fn folder(text: &str) -> Result<String, String> {
    match text.starts_with('/') || text.starts_with("./") {
        true => Ok(text.to_owned()),
        false => Err("write the path of a folder, such as \"/var/log/corelane\" or \"./slow\"".to_owned()),
    }
}

impl ObserveConfig {
    /// Whether anything is told of single exchanges.
    pub fn tells_exchanges(&self) -> bool {
        self.recorder > 0 || self.access_log.is_some()
    }
}

table! {
    /// `access_log`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct AccessLogConfig {
        /// "stdout", "stderr", or the path of a file.
        to: Placed<LogTarget> = key(
            "to",
            Text,
            Required("the lines would go nowhere", "\"stdout\", or the path of a file")
        ),
        /// "json", or a template such as "{client} {method} {path} {status}".
        format: Format = key("format", Text, Is("'json'")),
        /// The share of exchanges that are logged.
        sample: f64 = key("sample", Share, Is("'100%'")),
        /// How much of a prompt's text joins the line, from its first byte on; what guards take out stays out.
        prompt: usize = key("prompt", Size(0, LOG_PROMPT_BYTES_MAX), Is("'0B'")),
    }
}

text_setting!(LogTarget, read by |value| value.parsed(target), shown by |target| match target {
    LogTarget::Stdout | LogTarget::Stderr => target.to_string(),
    LogTarget::File(path) => path.display().to_string(),
});

text_setting!(Format, read by |value| value.parsed(Format::parse), shown by ToString::to_string);

fn target(text: &str) -> Result<LogTarget, String> {
    match text {
        "stdout" => Ok(LogTarget::Stdout),
        "stderr" => Ok(LogTarget::Stderr),
        path if path.starts_with('/') || path.starts_with("./") => Ok(LogTarget::File(PathBuf::from(path))),
        _ => Err(
            "write \"stdout\", \"stderr\", or a path such as \"/var/log/corelane.log\" or \"./access.log\""
                .into(),
        ),
    }
}
