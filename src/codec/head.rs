//! Request and response heads: what was asked or answered, understood as far as framing and routing need it.

use super::field::FieldName;
use super::fields::{FieldTable, Head, Span};
use super::framing::Framing;
use super::method::Method;
use super::number::plain_number;
use super::target::Target;
use super::version::Version;

/// The one protocol that a connection may go on in.
pub const WEBSOCKET: &[u8] = b"websocket";

/// A request head: what was asked, understood as far as framing and routing need it.
#[derive(Debug, Clone)]
pub struct RequestHead {
    pub(super) head: Head,
    pub(super) method: Method,
    pub(super) method_raw: Span,
    pub(super) target: Target,
    pub(super) framing: Framing,
}

impl RequestHead {
    /// Fields and version.
    pub fn head(&self) -> &Head {
        &self.head
    }
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }
    /// The method as sent.
    pub fn method_bytes(&self) -> &[u8] {
        self.method_raw.of(&self.head.bytes)
    }
    /// Path and query as sent: `/v1/models?x=1`, or `*`.
    pub fn path_and_query(&self) -> &[u8] {
        self.target.path_and_query(&self.head.bytes)
    }
    /// The path without its query.
    pub fn path(&self) -> &[u8] {
        let whole = self.path_and_query();
        &whole[..memchr::memchr(b'?', whole).unwrap_or(whole.len())]
    }
    /// Host and port that the client named: from an absolute target, else from Host (RFC 9112 §3.2.2).
    /// Empty for an HTTP/1.0 request without either.
    pub fn authority(&self) -> &[u8] {
        self.target
            .authority(&self.head.bytes)
            .or_else(|| self.head.value(FieldName::Host))
            .unwrap_or_default()
    }
    /// Whether it is the opening handshake of a WebSocket (RFC 6455 §4.1). A request with a body is none: its bytes could
    /// be taken for those of the other protocol.
    pub fn offers_websocket(&self) -> bool {
        self.head.has(FieldName::Upgrade)
            && self.method == Method::Get
            && self.framing == Framing::Empty
            && self.head.upgrades_to(WEBSOCKET)
    }
    /// How the body is delimited.
    pub fn framing(&self) -> Framing {
        self.framing
    }
    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.head.version == Version::Http11
            && self.head.values(FieldName::Expect).any(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }
    /// How many times it may still be forwarded, where it says so and its method knows of that (RFC 9110 §7.6.2; the
    /// other such method, TRACE, is never forwarded).
    pub fn forwards_left(&self) -> Option<u64> {
        match self.method {
            Method::Options => self.head.value(FieldName::MaxForwards).and_then(plain_number),
            _ => None,
        }
    }
    /// Gives the field table back for the next head.
    pub fn into_table(self) -> FieldTable {
        self.head.into_table()
    }
}

/// A response head.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    pub(super) head: Head,
    pub(super) status: u16,
    pub(super) reason: Span,
}

impl ResponseHead {
    /// Fields and version.
    pub fn head(&self) -> &Head {
        &self.head
    }
    /// The status, 100 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }
    /// The reason phrase as sent.
    pub fn reason(&self) -> &[u8] {
        self.reason.of(&self.head.bytes)
    }
    /// Whether the connection goes on as a WebSocket behind it (RFC 6455 §4.2.2).
    pub fn is_switch(&self) -> bool {
        self.status == 101 && self.head.upgrades_to(WEBSOCKET)
    }
    /// Whether it says when it was made.
    pub fn is_dated(&self) -> bool {
        self.head.value(FieldName::Date).is_some()
    }
    /// Whether the body is a stream of server-sent events.
    pub fn is_event_stream(&self) -> bool {
        self.head.value(FieldName::ContentType).is_some_and(|value| {
            value.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
        })
    }
    /// Gives the field table back for the next head.
    pub fn into_table(self) -> FieldTable {
        self.head.into_table()
    }
}
