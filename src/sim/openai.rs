//! Chat and text completions: what a request asks for, and the documents of its answer.

use serde_json::{Value, json};

use super::reply::{Reply, refuse};
use super::state::State;
use super::words::{token_count, tokens};

/// Which of the two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

/// One generation, understood.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) kind: Kind,
    pub(super) model: String,
    /// The tokens of each choice; one choice for chat, one a prompt for text.
    pub(super) choices: Vec<Vec<String>>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) prompt_tokens: usize,
    pub(super) cached_tokens: usize,
    finish_reason: &'static str,
}

impl Generation {
    /// Reads a request; the error is the answer to a wrong one.
    pub(super) fn of(state: &State, kind: Kind, body: &Value) -> Result<Self, Reply> {
        let bad = |message| refuse(400, "invalid_request_error", message);
        let Value::String(model) = &body["model"] else { return Err(bad("model must be a string")) };
        if !state.serves(model) {
            return Err(refuse(404, "model_not_found", &format!("The model `{model}` does not exist.")));
        }
        let prompts: Vec<String> = match (kind, &body["messages"], &body["prompt"]) {
            (Kind::Chat, Value::Array(messages), _) if !messages.is_empty() => {
                vec![messages.iter().map(|message| message["content"].to_string()).collect()]
            }
            (Kind::Chat, ..) => return Err(bad("messages must be an array with at least one message")),
            (Kind::Text, _, Value::String(prompt)) => vec![prompt.clone()],
            (Kind::Text, _, Value::Array(prompts)) if prompts.iter().all(Value::is_u64) => {
                vec![json!(prompts).to_string()]
            }
            (Kind::Text, _, Value::Array(prompts)) => prompts.iter().map(ToString::to_string).collect(),
            (Kind::Text, ..) => return Err(bad("prompt must be a string or an array")),
        };
        let limit = ["max_completion_tokens", "max_tokens"].iter().find_map(|name| body[name].as_u64());
        let usual = state.options.tokens;
        let count = limit.map_or(usual, |limit| usual.min(u32::try_from(limit).unwrap_or(u32::MAX)));
        let cached: usize =
            prompts.iter().map(|prompt| state.prefixes.borrow_mut().look_up(prompt.as_bytes())).sum();
        Ok(Self {
            kind,
            model: model.clone(),
            choices: prompts
                .iter()
                .map(|prompt| tokens(prompt.as_bytes(), state.options.seed, count))
                .collect(),
            stream: body["stream"] == true,
            include_usage: body["stream_options"]["include_usage"] == true,
            prompt_tokens: prompts.iter().map(|prompt| token_count(prompt.len())).sum(),
            cached_tokens: cached / 4,
            finish_reason: if count < usual { "length" } else { "stop" },
        })
    }

    /// How many tokens are generated in each choice.
    pub(super) fn steps(&self) -> usize {
        self.choices.first().map_or(0, Vec::len)
    }

    /// Tokens generated over all choices.
    pub(super) fn completion_tokens(&self) -> usize {
        self.choices.iter().map(Vec::len).sum()
    }

    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens(),
            "total_tokens": self.prompt_tokens + self.completion_tokens(),
            "prompt_tokens_details": { "cached_tokens": self.cached_tokens },
        })
    }

    fn envelope(&self, object: &str, choices: Value) -> Value {
        json!({ "id": "sim-1", "object": object, "created": 1_700_000_000, "model": self.model, "choices": choices })
    }

    /// The whole answer.
    pub(super) fn whole(&self) -> Value {
        let choices = self.choices.iter().enumerate().map(|(index, tokens)| {
            let text = tokens.concat();
            match self.kind {
                Kind::Chat => json!({
                    "index": index,
                    "message": { "role": "assistant", "content": text },
                    "finish_reason": self.finish_reason,
                }),
                Kind::Text => json!({ "index": index, "text": text, "finish_reason": self.finish_reason }),
            }
        });
        let object = match self.kind {
            Kind::Chat => "chat.completion",
            Kind::Text => "text_completion",
        };
        let mut document = self.envelope(object, choices.collect());
        document["usage"] = self.usage();
        document
    }

    fn event(&self, choices: Value) -> String {
        let object = match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Text => "text_completion",
        };
        format!("data: {}\n\n", self.envelope(object, choices))
    }

    /// What a stream starts with: for chat an event that only says who speaks.
    pub(super) fn opening(&self) -> Option<String> {
        let delta = json!({ "role": "assistant", "content": "" });
        (self.kind == Kind::Chat)
            .then(|| self.event(json!([{ "index": 0, "delta": delta, "finish_reason": null }])))
    }

    /// The events of one step: one for each choice.
    pub(super) fn step(&self, step: usize) -> String {
        let piece = |(index, tokens): (usize, &Vec<String>)| match self.kind {
            Kind::Chat => self.event(
                json!([{ "index": index, "delta": { "content": tokens[step] }, "finish_reason": null }]),
            ),
            Kind::Text => {
                self.event(json!([{ "index": index, "text": tokens[step], "finish_reason": null }]))
            }
        };
        self.choices.iter().enumerate().map(piece).collect()
    }

    /// What a stream ends with.
    pub(super) fn closing(&self) -> String {
        let last = match self.kind {
            Kind::Chat => json!([{ "index": 0, "delta": {}, "finish_reason": self.finish_reason }]),
            Kind::Text => json!([{ "index": 0, "text": "", "finish_reason": self.finish_reason }]),
        };
        let mut text = self.event(last);
        if self.include_usage {
            let mut usage = self.envelope("chat.completion.chunk", json!([]));
            usage["usage"] = self.usage();
            text.push_str(&format!("data: {usage}\n\n"));
        }
        text.push_str("data: [DONE]\n\n");
        text
    }
}
