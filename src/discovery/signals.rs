//! What engines tell of their load in their metrics: which gauges they are, how they are read, and what they come to.
//!
//! The text format of Prometheus, version 0.0.4: `name{label="value",…} value [time]` a line, comments behind `#`. What cannot be
//! understood is passed over, line by line.

use super::engine::Question;
use crate::base::choice::Engine;

/// The gauges of an engine; of several names for one thing the first that it tells counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Requests that wait.
    waiting: &'static [&'static str],
    /// Requests that it works on.
    running: &'static [&'static str],
    /// How full its cache is, from 0 to 1.
    cache: &'static [&'static str],
    /// The port at which they stand, where that is another one.
    pub port: Option<u16>,
}

/// How every engine is asked for its metrics.
pub const METRICS: Question = Question { path: "/metrics", body: None };

/// What an engine's metrics tell of its load; none where it has none that do.
pub fn gauges(engine: Engine) -> Option<&'static Gauges> {
    match engine {
        Engine::Vllm => Some(&Gauges {
            waiting: &["vllm:num_requests_waiting"],
            running: &["vllm:num_requests_running"],
            cache: &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
            port: None,
        }),
        Engine::Sglang => Some(&Gauges {
            waiting: &["sglang:num_queue_reqs"],
            running: &["sglang:num_running_reqs"],
            cache: &["sglang:token_usage"],
            port: None,
        }),
        Engine::Tgi => Some(&Gauges {
            waiting: &["tgi_queue_size"],
            running: &["tgi_batch_current_size"],
            cache: &[],
            port: None,
        }),
        Engine::Llamacpp => Some(&Gauges {
            waiting: &["llamacpp:requests_deferred"],
            running: &["llamacpp:requests_processing"],
            // Older servers only.
            cache: &["llamacpp:kv_cache_usage_ratio"],
            port: None,
        }),
        Engine::Triton => Some(&Gauges {
            waiting: &["nv_inference_pending_request_count"],
            running: &[],
            cache: &[],
            port: Some(8002),
        }),
        Engine::Tei | Engine::Ollama | Engine::Openai | Engine::Generic => None,
    }
}

/// What an engine says of its load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signal {
    /// Requests that wait.
    pub waiting: f64,
    /// Requests that it works on; 0 where it does not say.
    pub running: f64,
    /// How full its cache is, from 0 to 1; 0 where it does not say.
    pub cache: f64,
}

/// Below this a cache is no reason to go elsewhere: a full one is what it is for. Above it generations are put off, or thrown out
/// and begun anew.
const CACHE_EASE: f64 = 0.8;
/// An engine that works on fewer may take some more at once: one that waits there will not wait for long.
const RUNNING_LEAST: f64 = 4.0;

impl Signal {
    /// How hard the engine is pressed, from 0 to 1: by those that wait beside those at work, or by a cache that is nearly full.
    pub fn pressure(&self) -> f64 {
        let queue = self.waiting / (self.waiting + self.running.max(RUNNING_LEAST));
        let cache = (self.cache - CACHE_EASE) / (1.0 - CACHE_EASE);
        queue.max(cache).clamp(0.0, 1.0)
    }
}

impl Gauges {
    /// What a text of metrics says: those that wait and those at work over all its models and ranks, and the fullest cache. None
    /// where it tells of neither.
    pub fn read(&self, text: &[u8]) -> Option<Signal> {
        let mut waiting = Found::new(self.waiting);
        let mut running = Found::new(self.running);
        let mut cache = Found::new(self.cache);
        for line in text.split(|byte| *byte == b'\n') {
            let Some((name, value)) = sample(line) else { continue };
            waiting.add(name, value, |sum, value| sum + value);
            running.add(name, value, |sum, value| sum + value);
            cache.add(name, value, f64::max);
        }
        let (waiting, running) = (waiting.value(), running.value());
        if waiting.is_none() && running.is_none() {
            return None;
        }
        let value = |found: Option<f64>| found.unwrap_or(0.0);
        Some(Signal { waiting: value(waiting), running: value(running), cache: value(cache.value()) })
    }
}

/// What was found under one of several names: that which is named first.
struct Found {
    names: &'static [&'static str],
    best: Option<(usize, f64)>,
}

impl Found {
    fn new(names: &'static [&'static str]) -> Self {
        Self { names, best: None }
    }

    fn add(&mut self, name: &[u8], value: f64, join: impl FnOnce(f64, f64) -> f64) {
        let Some(at) = self.names.iter().position(|known| known.as_bytes() == name) else { return };
        self.best = match self.best {
            Some((before, known)) if before == at => Some((at, join(known, value))),
            Some((before, known)) if before < at => Some((before, known)),
            _ => Some((at, value)),
        };
    }

    fn value(&self) -> Option<f64> {
        self.best.map(|(_, value)| value)
    }
}

/// The name and the value of one line; none where it is a comment, cannot be understood, or tells no amount.
fn sample(line: &[u8]) -> Option<(&[u8], f64)> {
    let line = line.trim_ascii();
    let end = line.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t'))?;
    let (name, mut rest) = line.split_at(end);
    if name.starts_with(b"#") {
        return None;
    }
    if rest.first() == Some(&b'{') {
        rest = &rest[labels_end(rest)?..];
    }
    let value = rest.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())?;
    let value: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some((name, value))
}

/// Where labels end that begin with their brace: one in a text is none.
fn labels_end(text: &[u8]) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'}' if !is_quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(engine: Engine, text: &str) -> Option<(f64, f64, f64)> {
        let signal = gauges(engine).unwrap().read(text.as_bytes())?;
        Some((signal.waiting, signal.running, signal.cache))
    }

    /// As a real one wrote it: llama.cpp's server, built of November 2026.
    const LLAMA_CPP: &str = "# HELP llamacpp:predicted_tokens_seconds Average generation throughput in tokens/s\n# TYPE llamacpp:predicted_tokens_seconds gauge\nllamacpp:predicted_tokens_seconds 0\n# HELP llamacpp:requests_processing Number of requests processing\n# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing 1\n# HELP llamacpp:requests_deferred Number of requests deferred\n# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_deferred 3\n# HELP llamacpp:n_busy_slots_per_decode Average number of busy slots per llama_decode() call\n# TYPE llamacpp:n_busy_slots_per_decode gauge\nllamacpp:n_busy_slots_per_decode 0\n";

    #[test]
    fn gauges_are_read_as_engines_write_them() {
        for (engine, text, told) in [
            (Engine::Llamacpp, LLAMA_CPP, Some((3.0, 1.0, 0.0))),
            (
                Engine::Vllm,
                "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\",model_name=\"a\"} 5.0\nvllm:num_requests_running{engine=\"1\",model_name=\"a\"} 2.0\nvllm:num_requests_waiting{engine=\"0\"} 1e1\nvllm:num_requests_waiting_by_reason{reason=\"x\"} 99\nvllm:kv_cache_usage_perc{engine=\"0\"} 0.25\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.5\nvllm:gpu_cache_usage_perc 0.9\n",
                Some((10.0, 7.0, 0.5)),
            ),
            // An older one, its gauges in any order, without the last line's end.
            (
                Engine::Vllm,
                "vllm:gpu_cache_usage_perc{m=\"a\"} 0.9\nvllm:num_requests_waiting{m=\"a\"} 2",
                Some((2.0, 0.0, 0.9)),
            ),
            (
                Engine::Sglang,
                "sglang:num_running_reqs{model_name=\"a\"} 8\nsglang:num_queue_reqs{model_name=\"a\"} 4\nsglang:token_usage{model_name=\"a\"} 0.52\n",
                Some((4.0, 8.0, 0.52)),
            ),
            (Engine::Tgi, "tgi_batch_current_size 4\ntgi_queue_size 7\n", Some((7.0, 4.0, 0.0))),
            (
                Engine::Triton,
                "nv_inference_pending_request_count{model=\"a\",version=\"1\"} 2\nnv_inference_pending_request_count{model=\"b\",version=\"1\"} 3\n",
                Some((5.0, 0.0, 0.0)),
            ),
            // Quotes hide braces, and are escaped themselves; a time may follow.
            (
                Engine::Tgi,
                "  tgi_queue_size{a=\"}\\\"} 9\",b=\"\\\\\"}\t7 1395066363000\r\n",
                Some((7.0, 0.0, 0.0)),
            ),
            // What is no amount is passed over, as is what cannot be understood.
            (
                Engine::Tgi,
                "tgi_queue_size NaN\ntgi_queue_size +Inf\ntgi_queue_size -1\ntgi_queue_size{a=\"\ntgi_queue_size\ntgi_queue_size {} \n}\n# tgi_queue_size 5\ntgi_queue_size x\ntgi_queue_size 1\n",
                Some((1.0, 0.0, 0.0)),
            ),
            (Engine::Tgi, "", None),
            (Engine::Tgi, "<html>tgi_queue_size 5</html>", None),
            (Engine::Vllm, "vllm:kv_cache_usage_perc 0.5\n", None),
        ] {
            assert_eq!(read(engine, text), told, "{text}");
        }
        assert_eq!([Engine::Tei, Engine::Ollama, Engine::Openai, Engine::Generic].map(gauges), [None; 4]);
        assert_eq!(gauges(Engine::Triton).unwrap().port, Some(8002));
    }

    #[test]
    fn no_text_breaks_the_reader_wherever_it_is_cut() {
        let text = "vllm:num_requests_waiting{a=\"}\\\"\"} 2 3\nvllm:num_requests_running 1\n\u{fffd}\0{}";
        for end in 0..=text.len() {
            let _ = gauges(Engine::Vllm).unwrap().read(&text.as_bytes()[..end]);
        }
    }

    #[test]
    fn those_that_wait_and_a_full_cache_press_and_nothing_else_does() {
        for (waiting, running, cache, pressure) in [
            (0.0, 0.0, 0.0, 0.0),
            (0.0, 200.0, 0.8, 0.0),
            (0.0, 200.0, 0.9, 0.5),
            (0.0, 0.0, 1.0, 1.0),
            (0.0, 0.0, 7.0, 1.0),
            (1.0, 1.0, 0.0, 0.2),
            (10.0, 10.0, 0.0, 0.5),
            (12.0, 0.0, 0.0, 0.75),
            (1e300, 1e300, 0.0, 0.5),
        ] {
            let found = Signal { waiting, running, cache }.pressure();
            assert!((found - pressure).abs() < 1e-9, "{waiting} {running} {cache}: {found}");
        }
    }
}
