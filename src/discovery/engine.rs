//! What holds of an engine where the operator says nothing else: paths, and how what stands there is read.

use crate::base::choice::Engine;

/// Where an engine tells whether it is well, for `health` without a path; none where no path is known to tell it.
pub fn health_path(engine: Engine) -> Option<&'static str> {
    match engine {
        Engine::Vllm | Engine::Sglang | Engine::Tgi | Engine::Tei | Engine::Llamacpp => Some("/health"),
        Engine::Triton => Some("/v2/health/ready"),
        Engine::Ollama => Some("/"),
        Engine::Openai | Engine::Generic => None,
    }
}
