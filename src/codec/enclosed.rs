//! An answer written inside another one: `{"status", "headers", "body"}` (CONTRACT §6).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::content::is_encoded;
use super::encode::{DownstreamHead, Said, Signature, write_answer};
use super::error::CodecError;
use super::field::FieldName;
use super::framing::Framing;
use super::head::ResponseHead;
use super::reply::LocalReply;
use super::split::response_apart;
use super::write::ConnectionField;

/// The head of an answer as its client would have seen it: what filters change in it holds where it is enclosed too.
///
/// # Errors
///
/// It has so many fields that what is added to them is more than a head may have.
pub fn as_told(said: Said<'_>, signature: Signature<'_>) -> Result<ResponseHead, CodecError> {
    let mut out = Vec::new();
    let (framing, connection) = (Framing::UntilClose, ConnectionField::Implied);
    write_answer(
        &mut out,
        said,
        &DownstreamHead { framing, connection, date: None, signature: Some(signature) },
    );
    response_apart(Bytes::from(out))
}

/// An answer that is enclosed.
#[derive(Debug, Clone, Copy)]
pub enum Enclosed<'a> {
    /// What an endpoint said, and its whole body.
    Told(&'a ResponseHead, &'a [u8]),
    /// What the gateway says itself.
    Own(&'a LocalReply),
}

impl Enclosed<'_> {
    /// Its status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Told(head, _) => head.status(),
            Self::Own(reply) => reply.status,
        }
    }

    /// Writes the members `status`, `headers` and `body`, without braces. A JSON body is a JSON value, byte for byte but
    /// for line ends between its tokens, which would break a line in two; text is a string; other bytes are base64, with
    /// `"encoding":"base64"`; no body is null. Fields of one name are joined by `, `, `set-cookie` is a list; what says how
    /// the message was framed stays behind.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("\"status\":{},\"headers\":{{", self.status()).as_bytes());
        match self {
            Self::Told(head, _) => write_fields(out, head),
            Self::Own(reply) => {
                let typed = (!reply.body.is_empty()).then(|| ("content-type", text(&reply.content_type)));
                let fields = reply.fields.iter().map(|(name, value)| (*name, value.clone()));
                for (position, (name, value)) in typed.into_iter().chain(fields).enumerate() {
                    write_name(out, position, name);
                    write_text(out, &value);
                }
            }
        }
        out.extend_from_slice(b"},");
        self.write_body(out);
    }

    /// Writes `body` alone, with its `encoding` where it has one.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Told(head, body) => {
                let is_json = head.head().value(FieldName::ContentType).is_some_and(is_json);
                write_body(out, body, (is_json, is_encoded(head.head())));
            }
            Self::Own(reply) => write_body(out, &reply.body, (is_json(&reply.content_type), false)),
        }
    }
}

/// Fields as members, names in lower case, in the order in which they first come.
fn write_fields(out: &mut Vec<u8>, head: &ResponseHead) {
    let head = head.head();
    let mut fields: Vec<(String, Vec<String>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for field in head.fields() {
        let is_framing = matches!(field.name, FieldName::ContentLength | FieldName::TransferEncoding);
        if is_framing || !head.passes(&field) {
            continue;
        }
        let name = text(field.raw).to_ascii_lowercase();
        match places.entry(name) {
            Entry::Occupied(place) => fields[*place.get()].1.push(text(field.value)),
            Entry::Vacant(place) => {
                fields.push((place.key().clone(), vec![text(field.value)]));
                place.insert(fields.len() - 1);
            }
        }
    }
    for (position, (name, values)) in fields.iter().enumerate() {
        write_name(out, position, name);
        match name == "set-cookie" {
            true => write_json(out, values),
            false => write_text(out, &values.join(", ")),
        }
    }
}

fn write_name(out: &mut Vec<u8>, position: usize, name: &str) {
    if position > 0 {
        out.push(b',');
    }
    write_text(out, name);
    out.push(b':');
}

/// Whether a media type is one of JSON (RFC 6839 §3.1).
fn is_json(media_type: &[u8]) -> bool {
    let essence =
        media_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    essence == b"application/json" || essence.ends_with(b"+json")
}

fn write_body(out: &mut Vec<u8>, body: &[u8], (is_json, is_encoded): (bool, bool)) {
    out.extend_from_slice(b"\"body\":");
    let readable = std::str::from_utf8(body).ok().filter(|_| !is_encoded);
    match readable {
        Some("") => out.extend_from_slice(b"null"),
        Some(text) => match serde_json::from_str::<&RawValue>(text).ok().filter(|_| is_json) {
            // A line end inside a string is escaped: any other one is white space.
            Some(value) => {
                out.extend(value.get().bytes().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b }));
            }
            None => write_text(out, text),
        },
        None => {
            write_text(out, &STANDARD.encode(body));
            out.extend_from_slice(b",\"encoding\":\"base64\"");
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_json(out, &text);
}

fn write_json(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    serde_json::to_writer(out, value).expect("texts are written to memory");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
