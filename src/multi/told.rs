//! How the answer to one element is written down.

use bytes::Bytes;

use super::asked::Shape;
use crate::codec::enclosed::Enclosed;
use crate::codec::reply::ErrorReply;

/// Writes the answers to the elements of one multi.
#[derive(Debug, Clone, Copy)]
pub struct Telling(pub Shape);

impl Telling {
    /// The answer of `request_id` to the element that calls itself `id`.
    pub fn answer(self, id: Option<&Bytes>, request_id: &str, answer: &Enclosed<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let named = id.map_or(&b"null"[..], |id| id);
        match self.0 {
            Shape::Element => {
                out.extend_from_slice(b"{\"id\":");
                out.extend_from_slice(named);
                out.push(b',');
                answer.write(&mut out);
            }
            Shape::Line => {
                open_line(&mut out, request_id, named);
                let head = format!(
                    "\"response\":{{\"status_code\":{},\"request_id\":\"{request_id}\",",
                    answer.status()
                );
                out.extend_from_slice(head.as_bytes());
                answer.write_body(&mut out);
                out.extend_from_slice(b"},\"error\":null");
            }
        }
        out.push(b'}');
        out
    }

    /// What is told of an element that was no request.
    pub fn refusal(self, id: Option<&Bytes>, request_id: &str, refusal: ErrorReply) -> Vec<u8> {
        match self.0 {
            Shape::Element => self.answer(id, request_id, &Enclosed::Own(&refusal.into_reply(request_id))),
            Shape::Line => {
                let mut out = Vec::new();
                open_line(&mut out, request_id, id.map_or(&b"null"[..], |id| id));
                let error = serde_json::json!({ "code": refusal.code, "message": refusal.message, "param": refusal.param });
                out.extend_from_slice(format!("\"response\":null,\"error\":{error}}}").as_bytes());
                out
            }
        }
    }
}

fn open_line(out: &mut Vec<u8>, request_id: &str, custom_id: &[u8]) {
    out.extend_from_slice(format!("{{\"id\":\"batch_req_{request_id}\",\"custom_id\":").as_bytes());
    out.extend_from_slice(custom_id);
    out.push(b',');
}
