//! Whole answers of the simulated server.

use serde_json::{Value, json};

/// A finished answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(body: Value) -> Self {
        Self {
            status: 200,
            content_type: "application/json".to_owned(),
            fields: Vec::new(),
            body: body.to_string().into_bytes(),
        }
    }

    pub(super) fn text(body: impl Into<String>) -> Self {
        let content_type = "text/plain; version=0.0.4; charset=utf-8".to_owned();
        Self { status: 200, content_type, fields: Vec::new(), body: body.into().into_bytes() }
    }
}

/// An error in OpenAI's shape.
pub(super) fn refuse(status: u16, code: &str, message: &str) -> Reply {
    let error = json!({ "error": { "message": message, "type": code, "param": null, "code": code } });
    Reply { status, ..Reply::json(error) }
}
