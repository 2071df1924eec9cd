//! One call for several requests: what of their heads it carries, and what of its answer each of them is told (CONTRACT §6).

use bytes::Bytes;

use super::encode::signs_body;
use super::error::CodecError;
use super::field::{FieldName, list};
use super::fields::Head;
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
    /// Another cluster gave it in the place of the one that was asked first.
    pub is_substitute: bool,
}

impl SharedHead {
    /// That of a body which is there, so many bytes long.
    pub fn whole(head: ResponseHead, length: usize, batch: Option<(Bytes, usize)>) -> Self {
        let framing = if length == 0 { Framing::Empty } else { Framing::Length(length as u64) };
        Self { head, framing, batch, is_substitute: false }
    }
}

/// Fields that several requests must have alike to be answered by one call.
const COMPARED: [&str; 7] =
    ["authorization", "x-api-key", "api-key", "cookie", "accept", "openai-organization", "openai-project"];

/// Fields that tell who asks.
const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "api-key", "cookie"];

/// What a call for several carries of the head of `asked`, of which `upstream` is what would go upstream: the fields in which
/// they must agree, as lines in an order of their own, of which `more` are the operator's; the type of the body; and on which
/// way it came, so that a circle is still noticed. Credentials only where they are wanted.
pub fn carried(asked: &RequestHead, upstream: &RequestHead, more: &[String], credentials: bool) -> Vec<u8> {
    let compared =
        lines(upstream, |name| is_compared(name, more) && (credentials || !is_among(&CREDENTIALS, name)));
    let types = lines(upstream, |name| is("content-type", name));
    [types, lines(asked, |name| is("via", name)), compared].concat()
}

/// Whether requests that share a call must have this field alike, of which `more` are the operator's: then it travels too.
pub fn is_compared(name: &[u8], more: &[String]) -> bool {
    is_among(&COMPARED, name) || more.iter().any(|other| is(other, name))
}

/// The credentials of a request, as lines in an order of their own.
pub fn credentials(head: &RequestHead) -> Vec<u8> {
    lines(head, |name| is_among(&CREDENTIALS, name))
}

/// What a request says of its trace beside the trace itself, as lines: a call that is a part of that trace says it too.
pub fn trace_state(head: &RequestHead) -> Vec<u8> {
    lines(head, |name| is("tracestate", name))
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

/// The head of a call for a request whose method, target and host are those of `asked`, with what is `carried` of it and the
/// length of its body; nothing else of anybody. Its answer is read, so it must not be compressed.
///
/// # Errors
///
/// None that a head which was read once can cause.
pub fn call_head(asked: &RequestHead, carried: &[u8], length: usize) -> Result<RequestHead, CodecError> {
    let length = length.to_string();
    let text = [
        asked.method_bytes(),
        b" ",
        asked.path_and_query(),
        b" HTTP/1.1\r\nhost: ",
        asked.authority(),
        b"\r\naccept-encoding: identity\r\ncontent-length: ",
        length.as_bytes(),
        b"\r\n",
        carried,
        b"\r\n",
    ];
    request_apart(Bytes::from(text.concat()))
}

/// Whether an answer says that it depends on nothing but what requests that share it have alike (RFC 9110 §12.5.5): not on
/// who asks, where `anybody` is told it.
pub fn varies_with_key(answer: &Head, anybody: bool) -> bool {
    let alike = |name: &[u8]| {
        let is_compared = is_among(&COMPARED, name) && !(anybody && is_among(&CREDENTIALS, name));
        is_compared || is_among(&["accept-encoding", "content-type", "host"], name)
    };
    answer.values_of(b"vary").flat_map(list).all(alike)
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
