//! One element: what it asks for, and the request that is made of it.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::codec::field::{FieldName, is_token};
use crate::codec::head::RequestHead;
use crate::codec::reply::ErrorReply;
use crate::codec::split::request_apart;

/// How elements are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"id", "method", "path", "headers", "body"}`.
    Element,
    /// `{"custom_id", "method", "url", "body"}`, a line of an OpenAI batch file.
    Line,
}

/// What one element asks for.
#[derive(Debug)]
pub struct Asked {
    /// What it calls itself, as JSON: its `id` or `custom_id`.
    pub id: Option<Bytes>,
    method: String,
    path: String,
    fields: Vec<(String, String)>,
    /// Its body, empty where it has none.
    pub body: Bytes,
}

/// An element that is no request: what is told of it, and what it calls itself, where that could be read.
#[derive(Debug)]
pub struct Malformed {
    /// Its own 400.
    pub refusal: ErrorReply,
    /// As JSON.
    pub id: Option<Bytes>,
}

impl Malformed {
    /// In a box: most elements are none.
    pub fn boxed(refusal: ErrorReply, id: Option<Bytes>) -> Box<Self> {
        Box::new(Self { refusal, id })
    }
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    custom_id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
    headers: Option<HashMap<String, Values>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    encoding: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Several(Vec<String>),
}

/// Who asks: an element that brings one of these brings all that it wants of them.
const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "api-key", "cookie"];

impl Asked {
    /// Reads an element of `text`.
    ///
    /// # Errors
    ///
    /// It is malformed.
    pub fn read(text: &Bytes, shape: Shape) -> Result<Self, Box<Malformed>> {
        let written: Written<'_> = serde_json::from_slice(text).map_err(|error| {
            let why = error.to_string().replace("struct Written", "an object");
            Malformed::boxed(malformed(None, format!("it cannot be read: {why}")), None)
        })?;
        let (named, path, at) = match shape {
            Shape::Element => (written.id, written.path, "path"),
            Shape::Line => (written.custom_id, written.url, "url"),
        };
        let id = named.map(|raw| text.slice_ref(raw.get().as_bytes()));
        let fail = |param, why: &str| Malformed::boxed(malformed(Some(param), why.to_owned()), id.clone());
        if id.as_ref().is_some_and(|id| id.starts_with(b"{") || id.starts_with(b"[")) {
            return Err(fail("id", "it is neither a text nor a number"));
        }
        let Some(path) =
            path.filter(|path| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()))
        else {
            return Err(fail(at, "it is no path that begins with `/`"));
        };
        let fields = fields(written.headers.unwrap_or_default()).ok_or_else(|| {
            fail("headers", "one of them has a name that is none, or a value with a line end")
        })?;
        let is_base64 = match written.encoding.as_deref() {
            None => false,
            Some("base64") => true,
            Some(_) => return Err(fail("encoding", "the only encoding is \"base64\"")),
        };
        let body = body(text, written.body, (is_base64, &fields))
            .ok_or_else(|| fail("body", "it is not what its `encoding` says"))?;
        let usual = if body.is_empty() { "GET" } else { "POST" };
        let method = written.method.unwrap_or(Cow::Borrowed(usual)).into_owned();
        if !is_token(method.as_bytes()) {
            return Err(fail("method", "it is no method"));
        }
        Ok(Self { id, method, path: path.into_owned(), fields, body })
    }

    /// The head of its request. What frames it is ours; who sends it, for whom and on which way stands in the `outer` one, and
    /// so does its credential, unless it brings one.
    ///
    /// # Errors
    ///
    /// It breaks HTTP/1.1, or a limit: of `most` bytes is a head.
    pub fn head(&self, outer: &RequestHead, most: usize) -> Result<RequestHead, ErrorReply> {
        let has = |name: &str| self.fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut out = Vec::new();
        let mut line =
            |name: &[u8], value: &[u8]| out.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
        if !has("host") {
            line(b"host", outer.authority());
        }
        for (name, value) in &self.fields {
            if !is_ours(FieldName::of(name.as_bytes())) && !name.eq_ignore_ascii_case("accept-encoding") {
                line(name.as_bytes(), value.as_bytes());
            }
        }
        let brings = CREDENTIALS.iter().any(|name| has(name));
        for field in outer.head().fields() {
            let is_credential =
                || CREDENTIALS.iter().any(|name| field.raw.eq_ignore_ascii_case(name.as_bytes()));
            if tells_the_way(field.name) || (!brings && is_credential()) {
                line(field.raw, field.value);
            }
        }
        if !self.body.is_empty() {
            if !has("content-type") {
                line(b"content-type", b"application/json");
            }
            line(b"content-length", self.body.len().to_string().as_bytes());
        }
        let (method, path) = (self.method.as_bytes(), self.path.as_bytes());
        let text = [method, b" ", path, b" HTTP/1.1\r\n", &out, b"\r\n"].concat();
        if text.len() > most {
            let message = format!(
                "The head of this element is longer than {most} bytes; send fewer or shorter headers."
            );
            return Err(ErrorReply::new(431, "head_too_large", message));
        }
        request_apart(Bytes::from(text))
            .map_err(|broken| malformed(None, format!("as a request it breaks HTTP/1.1: {broken}")))
    }
}

/// Fields that the gateway writes itself, or that belong to one connection.
fn is_ours(name: FieldName) -> bool {
    tells_the_way(name)
        || name.is_hop_by_hop()
        || matches!(name, FieldName::ContentLength | FieldName::Expect | FieldName::XRequestId)
}

/// Fields that tell who sent a request and on which way it came: nobody may say that of himself in an element.
fn tells_the_way(name: FieldName) -> bool {
    matches!(
        name,
        FieldName::Forwarded
            | FieldName::Traceparent
            | FieldName::Tracestate
            | FieldName::Via
            | FieldName::XForwardedFor
            | FieldName::XForwardedHost
            | FieldName::XForwardedProto
            | FieldName::XForwardedOther
    )
}

/// Fields as they are sent; none where one of them cannot be.
fn fields(written: HashMap<String, Values>) -> Option<Vec<(String, String)>> {
    let mut all = Vec::new();
    for (name, values) in written {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Several(values) => values,
        };
        for value in values {
            let is_plain = !value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0));
            if !is_plain || !is_token(name.as_bytes()) {
                return None;
            }
            all.push((name.clone(), value));
        }
    }
    // A map has no order of its own: the same element makes the same request.
    all.sort();
    Some(all)
}

/// The bytes of its body: JSON as it was written, a text as itself where its type is not JSON, other bytes out of base64.
fn body(
    text: &Bytes,
    written: Option<&RawValue>,
    (is_base64, fields): (bool, &[(String, String)]),
) -> Option<Bytes> {
    let Some(raw) = written else { return (!is_base64).then(Bytes::new) };
    let json = text.slice_ref(raw.get().as_bytes());
    let kind = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let is_json = kind.is_none_or(|(_, kind)| kind.to_ascii_lowercase().contains("json"));
    if (is_json && !is_base64) || !json.starts_with(b"\"") {
        return (!is_base64).then_some(json);
    }
    let plain: String = serde_json::from_str(raw.get()).ok()?;
    match is_base64 {
        true => STANDARD.decode(plain).ok().map(Bytes::from),
        false => Some(Bytes::from(plain)),
    }
}

fn malformed(param: Option<&str>, why: String) -> ErrorReply {
    ErrorReply {
        param: param.map(Into::into),
        ..ErrorReply::new(400, "invalid_body", format!("This request of several is malformed: {why}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fields::FieldTable;
    use crate::codec::split::split_request;

    fn outer() -> RequestHead {
        let head = "POST /multi HTTP/1.1\r\nhost: outer\r\nauthorization: Bearer mine\r\nx-api-key: k\r\nx-forwarded-for: 1.2.3.4\r\n\
                    via: 1.1 a\r\nx-team: t\r\ncontent-length: 9\r\n\r\n";
        split_request(Bytes::from_static(head.as_bytes()), FieldTable::default()).unwrap()
    }

    fn lines(element: &'static str) -> Result<(Vec<String>, Bytes), String> {
        let asked = Asked::read(&Bytes::from_static(element.as_bytes()), Shape::Element)
            .map_err(|other| format!("{:?}: {}", other.refusal.param, other.refusal.message))?;
        let head = asked.head(&outer(), 1 << 16).map_err(|refusal| refusal.message.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut lines = vec![format!("{} {}", text(head.method_bytes()), text(head.path_and_query()))];
        lines.extend(head.head().fields().map(|field| format!("{}: {}", text(field.raw), text(field.value))));
        lines.sort();
        Ok((lines, asked.body))
    }

    #[test]
    fn an_element_has_the_outer_credential_unless_it_brings_one_and_never_another_way() {
        let (plain, body) = lines("{\"path\":\"/a?b=c\",\"body\":{\"n\": 1e2}}").unwrap();
        assert_eq!(
            plain,
            [
                "POST /a?b=c",
                "authorization: Bearer mine",
                "content-length: 10",
                "content-type: application/json",
                "host: outer",
                "via: 1.1 a",
                "x-api-key: k",
                "x-forwarded-for: 1.2.3.4",
            ]
        );
        assert_eq!(body, "{\"n\": 1e2}");
        let (own, _) = lines(
            "{\"path\":\"/\",\"headers\":{\"X-Api-Key\":\"other\",\"x-forwarded-for\":\"9.9.9.9\",\"Via\":\"none\",\"content-length\":\"7\",\
             \"connection\":\"close\",\"transfer-encoding\":\"chunked\",\"x-a\":[\"1\",\"2\"],\"host\":\"inner\",\"accept-encoding\":\"gzip\"}}",
        )
        .unwrap();
        assert_eq!(
            own,
            [
                "GET /",
                "X-Api-Key: other",
                "host: inner",
                "via: 1.1 a",
                "x-a: 1",
                "x-a: 2",
                "x-forwarded-for: 1.2.3.4"
            ]
        );
    }

    #[test]
    fn what_cannot_be_a_request_is_refused_and_says_why() {
        for (element, param) in [
            ("3", "None"),
            ("{\"path\":\"/\",\"path\":\"/b\"}", "None"),
            ("{}", "Some(\"path\")"),
            ("{\"path\":\"a\"}", "Some(\"path\")"),
            ("{\"path\":\"/a b\"}", "Some(\"path\")"),
            ("{\"path\":\"/a\\r\\nx: y\"}", "Some(\"path\")"),
            ("{\"path\":\"/\",\"id\":{}}", "Some(\"id\")"),
            ("{\"path\":\"/\",\"method\":\"G T\"}", "Some(\"method\")"),
            ("{\"path\":\"/\",\"headers\":{\"a b\":\"1\"}}", "Some(\"headers\")"),
            ("{\"path\":\"/\",\"headers\":{\"a\":\"1\\r\\nx-forwarded-for: 9.9.9.9\"}}", "Some(\"headers\")"),
            ("{\"path\":\"/\",\"body\":\"%\",\"encoding\":\"base64\"}", "Some(\"body\")"),
            ("{\"path\":\"/\",\"body\":{},\"encoding\":\"base64\"}", "Some(\"body\")"),
            ("{\"path\":\"/\",\"body\":\"a\",\"encoding\":\"gzip\"}", "Some(\"encoding\")"),
        ] {
            let why = lines(element).unwrap_err();
            assert!(why.starts_with(param), "{element}: {why}");
        }
    }

    #[test]
    fn a_body_is_json_a_text_or_bytes() {
        let body = |element| lines(element).unwrap().1;
        assert_eq!(body("{\"path\":\"/\",\"body\":\"a\\u0041\"}"), "\"a\\u0041\"");
        let text = "{\"path\":\"/\",\"body\":\"a\\u0041\",\"headers\":{\"Content-Type\":\"text/plain\"}}";
        assert_eq!(body(text), "aA");
        assert_eq!(body("{\"path\":\"/\",\"body\":\"/wA=\",\"encoding\":\"base64\"}"), &[255, 0][..]);
        assert_eq!(body("{\"path\":\"/\",\"body\":null}"), "");
    }
}
