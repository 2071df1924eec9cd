//! The Open Inference Protocol v2: readiness, metadata, and an identity model.

use serde_json::{Value, json};

use super::reply::{Reply, refuse};
use super::state::State;
use crate::codec::method::Method;

/// Answers `/v2/…`; `rest` is the path behind it.
pub(super) fn answer(state: &State, method: Method, rest: &str, body: &[u8]) -> Reply {
    let parts: Vec<_> = rest.split('/').collect();
    match (method, &parts[..]) {
        (Method::Get, ["health", "ready" | "live"]) => Reply::json(json!({})),
        (Method::Get, ["models", model]) if state.serves(model) => Reply::json(json!({
            "name": model, "platform": "sim", "inputs": [], "outputs": [],
        })),
        (Method::Get, ["models", model, "ready"]) if state.serves(model) => {
            Reply::json(json!({ "name": model, "ready": true }))
        }
        (Method::Post, ["models", model, "infer"]) if state.serves(model) => infer(model, body),
        (_, ["models", model, ..]) if !state.serves(model) => {
            refuse(404, "not_found", "there is no such model")
        }
        _ => refuse(404, "not_found", "there is no such path"),
    }
}

fn infer(model: &str, body: &[u8]) -> Reply {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return refuse(400, "invalid_request_error", "the body is not JSON");
    };
    let Value::Array(inputs) = &request["inputs"] else {
        return refuse(400, "invalid_request_error", "inputs must be an array");
    };
    Reply::json(json!({ "model_name": model, "id": request["id"], "outputs": inputs }))
}
