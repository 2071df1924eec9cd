//! What holds of an engine where the operator says nothing else: paths, and how what stands there is read.

use super::models::Listing;
use crate::base::choice::Engine;

/// Something that an endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Where, behind the endpoint's own base.
    pub path: &'static str,
    /// What is posted there; none where it is a GET.
    pub body: Option<&'static str>,
}

/// Where an engine tells whether it is well, for `health` without a path; none where no path is known to tell it.
pub fn health_path(engine: Engine) -> Option<&'static str> {
    match engine {
        Engine::Vllm | Engine::Sglang | Engine::Tgi | Engine::Tei | Engine::Llamacpp => Some("/health"),
        Engine::Triton => Some("/v2/health/ready"),
        Engine::Ollama => Some("/"),
        Engine::Openai | Engine::Generic => None,
    }
}

/// How an engine is asked for its models, and how it answers; the first answer that is understood counts.
pub fn model_lists(engine: Engine) -> &'static [(Question, Listing)] {
    const OPENAI: (Question, Listing) = (Question { path: "/v1/models", body: None }, Listing::Openai);
    match engine {
        Engine::Vllm | Engine::Sglang | Engine::Tgi | Engine::Llamacpp | Engine::Openai | Engine::Generic => {
            &[OPENAI]
        }
        Engine::Tei => &[OPENAI, (Question { path: "/info", body: None }, Listing::Tei)],
        Engine::Ollama => &[(Question { path: "/api/tags", body: None }, Listing::Ollama)],
        // It is asked for by a POST alone.
        Engine::Triton => {
            &[(Question { path: "/v2/repository/index", body: Some("{\"ready\":true}") }, Listing::Triton)]
        }
    }
}
