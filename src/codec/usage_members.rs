//! What an answer tells of its tokens, and under which names: OpenAI's chat, completions and responses, Anthropic's messages,
//! Ollama's lines.

use crate::base::limits::TOKENS_USED_MAX;

/// Tokens that were used, as far as an answer says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub input: Option<u64>,
    /// What the model wrote.
    pub output: Option<u64>,
    /// Of the prompt, those that the engine had read before.
    pub cached: Option<u64>,
    /// All of them.
    pub total: Option<u64>,
}

impl Usage {
    /// All tokens; none where the answer says too little.
    pub fn all(&self) -> Option<u64> {
        self.total.or_else(|| match (self.input, self.output) {
            (None, None) => None,
            (input, output) => Some(input.unwrap_or(0).saturating_add(output.unwrap_or(0))),
        })
    }

    /// In the order of [`TOKEN_KINDS`](crate::base::summary::TOKEN_KINDS), each at most what an answer is believed to use.
    pub fn counted(&self) -> [u64; 3] {
        [self.input, self.output, self.cached].map(|told| told.unwrap_or(0).min(TOKENS_USED_MAX))
    }

    /// What is said later counts, where it says something.
    pub(super) fn update(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.output = later.output.or(self.output);
        self.cached = later.cached.or(self.cached);
        self.total = later.total.or(self.total);
    }
}

/// Where a member belongs.
pub(super) type Of = fn(&mut Usage) -> &mut Option<u64>;

/// What members are read of a document, and where they belong.
pub(super) const MEMBERS: [(&str, Of); 11] = [
    ("usage.prompt_tokens", |usage| &mut usage.input),
    ("usage.input_tokens", |usage| &mut usage.input),
    ("prompt_eval_count", |usage| &mut usage.input),
    ("usage.completion_tokens", |usage| &mut usage.output),
    ("usage.output_tokens", |usage| &mut usage.output),
    ("eval_count", |usage| &mut usage.output),
    ("usage.total_tokens", |usage| &mut usage.total),
    ("usage.prompt_tokens_details.cached_tokens", |usage| &mut usage.cached),
    ("usage.input_tokens_details.cached_tokens", |usage| &mut usage.cached),
    ("usage.cache_read_input_tokens", |usage| &mut usage.cached),
    ("usage.prompt_cache_hit_tokens", |usage| &mut usage.cached),
];

/// Where a member of this name belongs, whatever it stands in: the ends of those paths. Each answer asks some times.
pub(super) fn field_named(name: &[u8]) -> Option<Of> {
    Some(match name {
        b"prompt_tokens" | b"input_tokens" | b"prompt_eval_count" => |usage| &mut usage.input,
        b"completion_tokens" | b"output_tokens" | b"eval_count" => |usage| &mut usage.output,
        b"total_tokens" => |usage| &mut usage.total,
        b"cached_tokens" | b"cache_read_input_tokens" | b"prompt_cache_hit_tokens" => {
            |usage| &mut usage.cached
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_is_known_by_its_name_alone() {
        for (path, of) in MEMBERS {
            let name = path.rsplit('.').next().unwrap();
            let (mut by_path, mut by_name) = (Usage::default(), Usage::default());
            *of(&mut by_path) = Some(1);
            *field_named(name.as_bytes()).unwrap()(&mut by_name) = Some(1);
            assert_eq!(by_path, by_name, "{path}");
        }
        assert!(field_named(b"tokens").is_none());
    }
}
