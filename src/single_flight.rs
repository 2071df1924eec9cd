//! Which requests may be answered by one call, for the same question has the same answer.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::codec::operation::Operation;

/// What a body says of its chance.
#[derive(Deserialize)]
struct Chance<'a> {
    #[serde(borrow)]
    temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    n: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
}

/// Whether a request can be one, by its path as it goes upstream and what that asks for: then its body is looked at.
pub fn may_be(operation: Operation, path: &[u8]) -> bool {
    operation != Operation::Other || asks_for_list(path)
}

/// Whether the answer to `body` is always the same: embeddings and rankings are, and completions of chats and texts with
/// `temperature` zero, one choice and no tools.
pub fn is_deterministic(operation: Operation, path: &[u8], body: &[u8]) -> bool {
    match operation {
        Operation::Embeddings => true,
        Operation::Other => asks_for_list(path),
        Operation::Chat | Operation::Completions => {
            let Ok(Chance { temperature, n, tools }) = serde_json::from_slice(body) else { return false };
            let is_one = |raw: &RawValue| raw.get().parse() == Ok(1.0_f64);
            temperature.is_some_and(is_zero) && n.is_none_or(is_one) && tools.is_none()
        }
    }
}

/// Embeddings and rankings of those servers that are not asked as OpenAI's are.
fn asks_for_list(path: &[u8]) -> bool {
    let path = path.split(|b| *b == b'?').next().unwrap_or_default();
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    [&b"/embed"[..], b"/embed_all", b"/embed_sparse", b"/rerank"]
        .iter()
        .any(|name| path[..end].ends_with(name))
}

/// Whether a number is zero, exactly: one that a float rounds to zero is not.
fn is_zero(raw: &RawValue) -> bool {
    let digits = raw.get().split(['e', 'E']).next().unwrap_or_default();
    digits.bytes().all(|b| matches!(b, b'0' | b'.' | b'-')) && digits.contains('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_one_answer_is_shared() {
        let chat = |body: &str| is_deterministic(Operation::Chat, b"/v1/chat/completions", body.as_bytes());
        for (body, expected) in [
            ("{\"temperature\":0}", true),
            ("{\"temperature\":0.0,\"n\":1}", true),
            ("{\"temperature\":-0e5,\"n\":1.0,\"tools\":null}", true),
            ("{\"temperature\":0,\"n\":null}", true),
            ("{}", false),
            ("{\"temperature\":null}", false),
            ("{\"temperature\":1e-999}", false),
            ("{\"temperature\":\"0\"}", false),
            ("{\"temperature\":false}", false),
            ("{\"temperature\":0,\"n\":2}", false),
            ("{\"temperature\":0,\"n\":\"1\"}", false),
            ("{\"temperature\":0,\"tools\":[]}", false),
            ("{\"temperature\":0,\"temperature\":1}", false),
            ("[]", false),
            ("", false),
        ] {
            assert_eq!(chat(body), expected, "{body}");
        }
        assert!(is_deterministic(Operation::Embeddings, b"/v1/embeddings", b"{}"));
        for (path, expected) in [
            ("/rerank", true),
            ("/v2/rerank/?a", true),
            ("/embed", true),
            ("/embedding-jobs", false),
            ("/v1/models", false),
        ] {
            assert_eq!(may_be(Operation::Other, path.as_bytes()), expected, "{path}");
        }
    }
}
