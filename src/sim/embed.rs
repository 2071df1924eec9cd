//! Embeddings and rerankers in the dialects of OpenAI, TEI and Cohere.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::reply::{Reply, refuse};
use super::state::State;
use super::words::{hash, token_count, vector};

/// `/v1/embeddings`. A string, or an array of token ids, is one item; an array of either is several.
pub(super) fn openai(state: &State, body: &Value) -> Reply {
    let Some(items) = items(&body["input"]) else {
        return refuse(
            400,
            "invalid_request_error",
            "input must be a string, token ids, or an array of them",
        );
    };
    let as_base64 = body["encoding_format"] == "base64";
    let mut tokens = 0;
    let embedding = |item: &Vec<u8>| {
        let vector = vector(item, state.options.seed, state.options.dimensions);
        if as_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            json!(BASE64_STANDARD.encode(bytes))
        } else {
            json!(vector)
        }
    };
    let entries: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            tokens += token_count(item.len());
            json!({ "object": "embedding", "index": index, "embedding": embedding(item) })
        })
        .collect();
    Reply::json(json!({
        "object": "list",
        "data": entries,
        "model": body["model"],
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    }))
}

fn items(input: &Value) -> Option<Vec<Vec<u8>>> {
    let one = |item: &Value| match item {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(ids) if ids.iter().all(Value::is_u64) && !ids.is_empty() => {
            Some(item.to_string().into_bytes())
        }
        _ => None,
    };
    match (one(input), input) {
        (Some(item), _) => Some(vec![item]),
        (None, Value::Array(items)) => items.iter().map(one).collect(),
        (None, _) => None,
    }
}

/// `/embed` of TEI.
pub(super) fn tei(state: &State, body: &Value) -> Reply {
    match items(&body["inputs"]) {
        Some(items) => {
            let seed = state.options.seed;
            Reply::json(
                items.iter().map(|item| json!(vector(item, seed, state.options.dimensions))).collect(),
            )
        }
        None => refuse(422, "validation", "inputs must be a string or an array of strings"),
    }
}

/// `/rerank` of TEI (`texts`) and of Cohere (`documents`), best first.
pub(super) fn rerank(state: &State, body: &Value) -> Reply {
    let (texts, cohere) = match (&body["texts"], &body["documents"]) {
        (Value::Array(texts), _) => (texts, false),
        (_, Value::Array(documents)) => (documents, true),
        _ => return refuse(422, "validation", "texts or documents must be an array"),
    };
    let Value::String(query) = &body["query"] else {
        return refuse(422, "validation", "query must be a string");
    };
    let score = |text: &Value| {
        let text = text.as_str().or_else(|| text["text"].as_str()).unwrap_or_default();
        (hash(text.as_bytes(), hash(query.as_bytes(), state.options.seed)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut ranked: Vec<_> = texts.iter().map(score).enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    if cohere {
        let results: Vec<_> =
            ranked.iter().map(|(index, score)| json!({ "index": index, "relevance_score": score })).collect();
        return Reply::json(json!({ "id": "rerank-sim", "results": results }));
    }
    Reply::json(ranked.iter().map(|(index, score)| json!({ "index": index, "score": score })).collect())
}
