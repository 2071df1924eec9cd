//! One call for several requests: what of their heads it carries, and what of its answer each of them is told (CONTRACT §6).

use bytes::Bytes;

use super::encode::signs_body;
use super::error::CodecError;
use super::field::FieldName;
use super::framing::Framing;
use super::head::{RequestHead, ResponseHead};
use super::split::{request_apart, response_apart};

/// The head of an answer that several are told, and how its body comes.
#[derive(Debug)]
pub struct SharedHead {
    /// Without what is said of one exchange alone.
    pub head: ResponseHead,
    /// How the body is delimited.
    pub framing: Framing,
    /// The id of the call that carried several requests, and how many.
    pub batch: Option<(Bytes, usize)>,
}

/// Fields that several requests must have alike to be answered by one call.
const COMPARED: [&str; 7] =
    ["authorization", "x-api-key", "api-key", "cookie", "accept", "openai-organization", "openai-project"];

/// Fields that tell who asks.
const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "api-key", "cookie"];

/// The fields of a head that goes upstream in which requests must agree, as lines in an order of their own; `more` of them are
/// the operator's.
pub fn compared(upstream: &RequestHead, more: &[String]) -> Vec<u8> {
    lines(upstream, |name| is_among(&COMPARED, name) || more.iter().any(|other| is(other, name)))
}

/// The credentials of a request, as lines in an order of their own.
pub fn credentials(head: &RequestHead) -> Vec<u8> {
    lines(head, |name| is_among(&CREDENTIALS, name))
}

/// The compared fields but those that tell who asks.
pub fn uncredited(upstream: &RequestHead, more: &[String]) -> Vec<u8> {
    let is_compared = |name: &[u8]| is_among(&COMPARED, name) || more.iter().any(|other| is(other, name));
    lines(upstream, |name| is_compared(name) && !is_among(&CREDENTIALS, name))
}

fn lines(head: &RequestHead, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let wanted = head.head().fields().filter(|field| is_wanted(field.raw));
    let mut lines: Vec<Vec<u8>> = wanted
        .map(|field| [&field.raw.to_ascii_lowercase()[..], b": ", field.value, b"\r\n"].concat())
        .collect();
    // Stable: two fields of one name stay in their order.
    lines.sort_by(|one, other| name_of(one).cmp(name_of(other)));
    lines.concat()
}

fn name_of(line: &[u8]) -> &[u8] {
    line.split(|b| *b == b':').next().unwrap_or_default()
}

fn is_among(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|known| is(known, name))
}

fn is(known: &str, name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

/// The head of a call for a request whose target and host are those of `asked`: the `compared` lines, the type of its body and
/// its length, and on which way it came, so that a circle is still noticed. Nothing else of it.
///
/// # Errors
///
/// None that a head which was read once can cause.
pub fn call_head(
    asked: &RequestHead,
    upstream: &RequestHead,
    compared: &[u8],
    length: usize,
) -> Result<RequestHead, CodecError> {
    let mut out = [asked.method_bytes(), b" ", asked.path_and_query(), b" HTTP/1.1\r\n"].concat();
    let mut line = |name: &[u8], value: &[u8]| out.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
    line(b"host", asked.authority());
    for value in upstream.head().values(FieldName::ContentType) {
        line(b"content-type", value);
    }
    for value in asked.head().values(FieldName::Via) {
        line(b"via", value);
    }
    line(b"content-length", length.to_string().as_bytes());
    out.extend_from_slice(compared);
    out.extend_from_slice(b"\r\n");
    request_apart(Bytes::from(out))
}

/// The head of an answer without what it says of one exchange alone: its id, its cookies, and, where the `body` is not the
/// endpoint's own, what signs that.
///
/// # Errors
///
/// None that a head which was read once can cause.
pub fn shared(answer: &ResponseHead, changes_body: bool) -> Result<ResponseHead, CodecError> {
    let head = answer.head();
    let mut out =
        [b"HTTP/1.1 ", answer.status().to_string().as_bytes(), b" ", answer.reason(), b"\r\n"].concat();
    for field in head.fields() {
        let is_own = match field.name {
            FieldName::XRequestId | FieldName::ContentLength | FieldName::TransferEncoding => true,
            FieldName::Other => is("set-cookie", field.raw) || (changes_body && signs_body(field.raw)),
            _ => false,
        };
        if !is_own && head.passes(&field) {
            out.extend_from_slice(&[field.raw, b": ", field.value, b"\r\n"].concat());
        }
    }
    out.extend_from_slice(b"\r\n");
    response_apart(Bytes::from(out))
}
