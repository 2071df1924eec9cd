//! What engines tell of their load with an answer: `endpoint-load-metrics`, the Open Request Cost Aggregation (ORCA) of Envoy
//! and the xDS protocols, as text or as JSON.
//!
//! `TEXT named_metrics.num_requests_waiting=3, named_metrics.kv_cache_usage_perc=0.5`, or
//! `JSON {"named_metrics":{"kv_cache_utilization":0.5}}`; without the word in front it is told by its first byte. Its binary
//! form is passed over, and so is whatever cannot be understood.

use serde_json::{Map, Value};

use super::signals::Signal;

/// The field that has it, in lower case.
pub const FIELD: &[u8] = b"endpoint-load-metrics";

/// Longest value that is read; an engine that tells of all it has stays below.
const VALUE_BYTES_MAX: usize = 4096;

/// Names of what waits, what is at work and how full the cache is: vLLM's, and Triton's for the cache.
const WAITING: [&str; 1] = ["num_requests_waiting"];
const RUNNING: [&str; 1] = ["num_requests_running"];
const CACHE: [&str; 3] = ["kv_cache_usage_perc", "gpu_cache_usage_perc", "kv_cache_utilization"];

/// What an answer tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// The load; what it does not say is zero.
    pub signal: Signal,
    /// Whether it says how many wait.
    pub is_of_waiting: bool,
}

/// What a value of the field says; none where it says nothing of these.
pub fn read(value: &[u8]) -> Option<Told> {
    let text = std::str::from_utf8(value.get(..VALUE_BYTES_MAX.min(value.len()))?).ok()?.trim();
    let of_text = |text: &str| signal(|names| named(text, names));
    match text.split_once(' ') {
        _ if value.len() > VALUE_BYTES_MAX => None,
        Some(("TEXT", rest)) => of_text(rest),
        Some(("JSON", rest)) => of_json(rest),
        _ if text.starts_with('{') => of_json(text),
        _ => of_text(text),
    }
}

fn of_json(text: &str) -> Option<Told> {
    let told: Map<String, Value> = serde_json::from_str(text).ok()?;
    let members = told.get("named_metrics")?.as_object()?;
    signal(|names| names.iter().find_map(|name| members.get(*name)?.as_f64()))
}

/// The value of the first of these names in `key=value, key=value`.
fn named(text: &str, names: &[&str]) -> Option<f64> {
    let pairs = || text.split(',').filter_map(|pair| pair.split_once('='));
    let value = |name: &&str| {
        let (_, value) = pairs().find(|(key, _)| key.trim().strip_prefix("named_metrics.") == Some(name))?;
        value.trim().parse::<f64>().ok()
    };
    names.iter().find_map(value)
}

fn signal(find: impl Fn(&[&str]) -> Option<f64>) -> Option<Told> {
    let amount = |names: &[&str]| find(names).filter(|amount| amount.is_finite() && *amount >= 0.0);
    let (waiting, running, cache) = (amount(&WAITING), amount(&RUNNING), amount(&CACHE));
    let says = waiting.is_some() || running.is_some() || cache.is_some();
    let or_none = |amount: Option<f64>| amount.unwrap_or(0.0);
    let signal = Signal { waiting: or_none(waiting), running: or_none(running), cache: or_none(cache) };
    says.then_some(Told { signal, is_of_waiting: waiting.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(value: &str) -> Option<(f64, f64, f64)> {
        read(value.as_bytes()).map(|Told { signal, .. }| (signal.waiting, signal.running, signal.cache))
    }

    #[test]
    fn both_forms_are_read_and_everything_else_is_passed_over() {
        for (value, expected) in [
            (
                "TEXT named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=3.0",
                Some((3.0, 0.0, 0.4)),
            ),
            ("named_metrics.num_requests_running=7,cpu_utilization=0.3", Some((0.0, 7.0, 0.0))),
            (
                "JSON {\"named_metrics\": {\"kv_cache_usage_perc\": 0.9, \"num_requests_waiting\": 12}}",
                Some((12.0, 0.0, 0.9)),
            ),
            (
                "{\"named_metrics\":{\"kv_cache_utilization\":1,\"max_token_capacity\":1000}}",
                Some((0.0, 0.0, 1.0)),
            ),
            ("BIN AAAA", None),
            ("JSON {\"named_metrics\": 3}", None),
            ("JSON {", None),
            ("TEXT application_utilization=0.4", None),
            ("TEXT named_metrics.num_requests_waiting=-1", None),
            ("TEXT named_metrics.num_requests_waiting=NaN, named_metrics.num_requests_running=inf", None),
            ("num_requests_waiting=3", None),
            ("", None),
        ] {
            assert_eq!(told(value), expected, "{value}");
        }
        let of_waiting = |value: &str| read(value.as_bytes()).map(|told| told.is_of_waiting);
        assert_eq!(of_waiting("named_metrics.num_requests_waiting=0"), Some(true));
        assert_eq!(of_waiting("named_metrics.kv_cache_utilization=0"), Some(false));
        assert_eq!(read(b"TEXT \xff"), None);
        let long = format!("TEXT {}named_metrics.num_requests_waiting=1", "x=1,".repeat(2000));
        assert_eq!(read(long.as_bytes()), None);
    }
}
