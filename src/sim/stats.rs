//! What the simulated server counts, as `/sim/stats` and as vLLM's metrics.

use serde_json::{Value, json};

use super::state::State;

impl State {
    /// The document of `/sim/stats`.
    pub(super) fn stats(&self) -> Value {
        let counts = self.counts.borrow();
        json!({
            "started": counts.started,
            "finished": counts.finished,
            "cancelled": counts.cancelled,
            "running": counts.running,
            "waiting": self.slots.waiting(),
            "connections": counts.connections,
            "requests": counts.requests,
        })
    }

    /// The text of `/metrics`, under vLLM's names.
    pub(super) fn metrics(&self) -> String {
        let counts = self.counts.borrow();
        let model = self.options.models.first().map_or("", String::as_str);
        let mut text = String::new();
        let mut add = |kind: &str, name: &str, value: f64| {
            text.push_str(&format!(
                "# TYPE vllm:{name} {kind}\nvllm:{name}{{model_name=\"{model}\"}} {value}\n"
            ));
        };
        add("gauge", "num_requests_running", counts.running as f64);
        add("gauge", "num_requests_waiting", self.slots.waiting() as f64);
        add("gauge", "kv_cache_usage_perc", self.prefixes.borrow().usage());
        add("counter", "prompt_tokens_total", counts.prompt_tokens as f64);
        add("counter", "generation_tokens_total", counts.generation_tokens as f64);
        add("counter", "request_success_total", counts.finished as f64);
        text
    }
}
