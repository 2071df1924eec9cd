//! The field names the proxy itself must understand, found without allocating.

/// A field name with a meaning for framing, reuse, routing or forwarding; all others pass untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldName {
    /// `connection` (RFC 9110 §7.6.1).
    Connection,
    /// `content-encoding` (RFC 9110 §8.4).
    ContentEncoding,
    /// `content-length` (RFC 9110 §8.6).
    ContentLength,
    /// `content-type` (RFC 9110 §8.3).
    ContentType,
    /// `date` (RFC 9110 §6.6.1).
    Date,
    /// `expect` (RFC 9110 §10.1.1).
    Expect,
    /// `forwarded` (RFC 7239 §4).
    Forwarded,
    /// `host` (RFC 9110 §7.2).
    Host,
    /// `http2-settings` (RFC 7540 §3.2.1): belongs to an upgrade that is never passed on.
    Http2Settings,
    /// `keep-alive` (RFC 2068 §19.7.1.1).
    KeepAlive,
    /// `max-forwards` (RFC 9110 §7.6.2).
    MaxForwards,
    /// `proxy-connection` (RFC 9110 §7.6.1).
    ProxyConnection,
    /// `te` (RFC 9110 §10.1.4).
    Te,
    /// `trailer` (RFC 9110 §6.6.2): trailers are dropped, so the announcement is too.
    Trailer,
    /// `traceparent` (W3C Trace Context §3.2).
    Traceparent,
    /// `tracestate` (W3C Trace Context §3.3).
    Tracestate,
    /// `transfer-encoding` (RFC 9112 §6.1).
    TransferEncoding,
    /// `upgrade` (RFC 9110 §7.8).
    Upgrade,
    /// `via` (RFC 9110 §7.6.3).
    Via,
    /// `x-forwarded-for`.
    XForwardedFor,
    /// `x-forwarded-host`.
    XForwardedHost,
    /// `x-forwarded-proto`.
    XForwardedProto,
    /// Any other `x-forwarded-…`.
    XForwardedOther,
    /// `x-request-id`.
    XRequestId,
    /// Any other name.
    Other,
}

const _: () = assert!((FieldName::Other as u32) < u32::BITS, "each name has a bit");

impl FieldName {
    /// A bit of its own.
    pub(super) fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Recognises `name` in any case.
    pub fn of(name: &[u8]) -> Self {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is(b"te") => Self::Te,
            3 if is(b"via") => Self::Via,
            4 if is(b"date") => Self::Date,
            4 if is(b"host") => Self::Host,
            6 if is(b"expect") => Self::Expect,
            7 if is(b"upgrade") => Self::Upgrade,
            7 if is(b"trailer") => Self::Trailer,
            9 if is(b"forwarded") => Self::Forwarded,
            10 if is(b"tracestate") => Self::Tracestate,
            10 if is(b"connection") => Self::Connection,
            10 if is(b"keep-alive") => Self::KeepAlive,
            11 if is(b"traceparent") => Self::Traceparent,
            12 if is(b"content-type") => Self::ContentType,
            12 if is(b"max-forwards") => Self::MaxForwards,
            12 if is(b"x-request-id") => Self::XRequestId,
            14 if is(b"content-length") => Self::ContentLength,
            14 if is(b"http2-settings") => Self::Http2Settings,
            15 if is(b"x-forwarded-for") => Self::XForwardedFor,
            16 if is(b"proxy-connection") => Self::ProxyConnection,
            16 if is(b"content-encoding") => Self::ContentEncoding,
            16 if is(b"x-forwarded-host") => Self::XForwardedHost,
            17 if is(b"transfer-encoding") => Self::TransferEncoding,
            17 if is(b"x-forwarded-proto") => Self::XForwardedProto,
            13.. if name[..12].eq_ignore_ascii_case(b"x-forwarded-") => Self::XForwardedOther,
            _ => Self::Other,
        }
    }

    /// Whether the field speaks of one connection only and never passes (RFC 9110 §7.6.1), or frames a message
    /// that is framed anew on the other side.
    pub fn is_hop_by_hop(self) -> bool {
        match self {
            Self::Connection
            | Self::Http2Settings
            | Self::KeepAlive
            | Self::ProxyConnection
            | Self::Te
            | Self::Trailer
            | Self::TransferEncoding
            | Self::Upgrade => true,
            Self::ContentEncoding
            | Self::ContentLength
            | Self::ContentType
            | Self::Date
            | Self::Expect
            | Self::Forwarded
            | Self::Host
            | Self::MaxForwards
            | Self::Traceparent
            | Self::Tracestate
            | Self::Via
            | Self::XForwardedFor
            | Self::XForwardedHost
            | Self::XForwardedOther
            | Self::XForwardedProto
            | Self::XRequestId
            | Self::Other => false,
        }
    }
}

/// Elements of a comma-separated list (RFC 9110 §5.6.1), trimmed; empty ones are skipped.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `text` is a token (RFC 9110 §5.6.2), as methods and the names of fields are.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(FieldName::of(b"Transfer-Encoding"), FieldName::TransferEncoding);
        assert_eq!(FieldName::of(b"HOST"), FieldName::Host);
        assert_eq!(FieldName::of(b"hosts"), FieldName::Other);
        assert_eq!(FieldName::of(b""), FieldName::Other);
    }

    #[test]
    fn lists_are_trimmed_and_empty_elements_skipped() {
        let got: Vec<_> = list(b" close ,, x-a\t, ").collect();
        assert_eq!(got, [&b"close"[..], b"x-a"]);
    }
}
