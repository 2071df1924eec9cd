//! Splits one complete head into start line and fields, as offsets into one `Bytes`.

use bytes::Bytes;

use super::bare_line_feed;
use super::error::{CodecError, Rule};
use super::field::{FieldName, list};
use super::framing::{Framing, plain_number, request_framing};
use super::target::{Target, split_target};
use crate::base::limits::FIELDS_MAX;

/// A request method. The common ones are known; others keep their bytes in the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// RFC 9110 §9.3.1.
    Get,
    /// RFC 9110 §9.3.2.
    Head,
    /// RFC 9110 §9.3.3.
    Post,
    /// RFC 9110 §9.3.4.
    Put,
    /// RFC 9110 §9.3.5.
    Delete,
    /// RFC 9110 §9.3.6.
    Connect,
    /// RFC 9110 §9.3.7.
    Options,
    /// RFC 9110 §9.3.8.
    Trace,
    /// RFC 5789.
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    /// Recognises `name`; methods are case-sensitive (RFC 9110 §9.1).
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Whether repeating it changes nothing (RFC 9110 §9.2.2, safe methods only).
    pub fn is_safe(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Options | Self::Trace => true,
            Self::Post | Self::Put | Self::Delete | Self::Connect | Self::Patch | Self::Other => false,
        }
    }
}

/// The versions that are spoken (RFC 9112 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Whether the connection may carry another exchange (RFC 9112 §9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It may.
    KeepAlive,
    /// It ends with this exchange.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        // A head is at most a few MiB (base/limits.rs), so offsets fit.
        Self { start: start as u32, end: end as u32 }
    }
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

#[derive(Debug, Clone, Copy)]
struct FieldSpan {
    name: FieldName,
    raw: Span,
    value: Span,
}

/// The fields of a head, in order, each as offsets into the head's bytes.
#[derive(Debug, Clone, Default)]
pub struct FieldTable {
    spans: Vec<FieldSpan>,
    /// A bit for each name that is there: most names that are asked for are not.
    names: u32,
}

/// One field as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct Field<'h> {
    /// The name, if it is one the proxy knows.
    pub name: FieldName,
    /// The name's bytes as sent.
    pub raw: &'h [u8],
    /// The value, trimmed.
    pub value: &'h [u8],
}

/// What the Connection field says (RFC 9110 §7.6.1).
#[derive(Debug, Clone, Copy, Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    nominates: bool,
}

/// Bytes, fields and connection options: what both kinds of head have.
#[derive(Debug, Clone)]
pub struct Head {
    bytes: Bytes,
    fields: FieldTable,
    version: Version,
    options: ConnectionOptions,
}

impl Head {
    /// The version of the sender.
    pub fn version(&self) -> Version {
        self.version
    }

    /// All fields in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let bytes = &self.bytes[..];
        self.fields.spans.iter().map(move |span| Field {
            name: span.name,
            raw: span.raw.of(bytes),
            value: span.value.of(bytes),
        })
    }

    /// Whether there is a field called `name`.
    pub fn has(&self, name: FieldName) -> bool {
        self.fields.names & name.bit() != 0
    }

    /// The values of each field called `name`.
    pub fn values(&self, name: FieldName) -> impl Iterator<Item = &[u8]> {
        let spans = if self.has(name) { &self.fields.spans[..] } else { &[] };
        spans.iter().filter(move |span| span.name == name).map(|span| span.value.of(&self.bytes))
    }

    /// The first value of the field called `name`.
    pub fn value(&self, name: FieldName) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The values of each field whose name is `name` in any case.
    pub fn values_of<'h>(&'h self, name: &'h [u8]) -> impl Iterator<Item = &'h [u8]> {
        self.fields().filter(move |field| field.raw.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Whether `field` passes to the other side: neither hop-by-hop nor named by Connection (RFC 9110 §7.6.1).
    pub fn passes(&self, field: &Field<'_>) -> bool {
        if field.name.is_hop_by_hop() {
            return false;
        }
        !self.options.nominates
            || !self
                .values(FieldName::Connection)
                .flat_map(list)
                .any(|nominated| nominated.eq_ignore_ascii_case(field.raw))
    }

    /// Whether the sender lets the connection live on (RFC 9112 §9.3).
    pub fn reuse(&self) -> Reuse {
        match (self.options.close, self.version, self.options.keep_alive) {
            (true, _, _) | (false, Version::Http10, false) => Reuse::Close,
            (false, Version::Http11, _) | (false, Version::Http10, true) => Reuse::KeepAlive,
        }
    }

    /// Gives the field table back, so that the next head needs no allocation.
    pub fn into_table(self) -> FieldTable {
        self.fields
    }
}

/// A request head: what was asked, understood as far as framing and routing need it.
#[derive(Debug, Clone)]
pub struct RequestHead {
    head: Head,
    method: Method,
    method_raw: Span,
    target: Target,
    framing: Framing,
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
    head: Head,
    status: u16,
    reason: Span,
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

type RawFields<'b> = [std::mem::MaybeUninit<httparse::Header<'b>>; FIELDS_MAX];

/// Splits a complete request head, ending with its empty line. `table` is cleared and reused.
///
/// Refuses what httparse tolerates: lone LF, bytes outside visible ASCII in the target, anything between fields.
pub fn split_request(bytes: Bytes, table: FieldTable) -> Result<RequestHead, CodecError> {
    let lines = request_lines(&bytes, table).map_err(|error| first_fault(&bytes, error))?;
    let RequestLines { method_end, target_end, version, fields, options } = lines;
    let kind = Method::of(&bytes[..method_end]);
    let target = split_target(kind, &bytes, method_end + 1, target_end)?;
    let method_raw = Span::new(0, method_end);
    let head = Head { fields, version, options, bytes };
    check_host(&head, &target)?;
    let framing = request_framing(&head)?;
    Ok(RequestHead { head, method: kind, method_raw, target, framing })
}

struct RequestLines {
    method_end: usize,
    target_end: usize,
    version: Version,
    fields: FieldTable,
    options: ConnectionOptions,
}

fn request_lines(bytes: &[u8], table: FieldTable) -> Result<RequestLines, CodecError> {
    let mut raw: RawFields<'_> = [const { std::mem::MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut raw) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(CodecError::at(Rule::LineEnd, 0)),
        Err(error) => return Err(of_httparse(error)),
    }
    let method = parsed.method.unwrap_or_default();
    let path = parsed.path.unwrap_or_default();
    let version = version_of(parsed.version)?;
    // METHOD SP TARGET SP "HTTP/1.x" CR LF, and nothing else
    let target_end = method.len() + 1 + path.len();
    let line_end = target_end + 1 + 8;
    if !bytes.starts_with(method.as_bytes()) || bytes.get(line_end..line_end + 2) != Some(b"\r\n") {
        return Err(CodecError::at(Rule::LineEnd, line_end));
    }
    let (fields, options) = fields_of(bytes, line_end + 2, parsed.headers, table)?;
    Ok(RequestLines { method_end: method.len(), target_end, version, fields, options })
}

/// Splits a complete response head, ending with its empty line. `table` is cleared and reused.
pub fn split_response(bytes: Bytes, table: FieldTable) -> Result<ResponseHead, CodecError> {
    let lines = response_lines(&bytes, table).map_err(|error| first_fault(&bytes, error))?;
    let ResponseLines { version, status, reason, fields, options } = lines;
    Ok(ResponseHead { head: Head { fields, version, options, bytes }, status, reason })
}

struct ResponseLines {
    version: Version,
    status: u16,
    reason: Span,
    fields: FieldTable,
    options: ConnectionOptions,
}

fn response_lines(bytes: &[u8], table: FieldTable) -> Result<ResponseLines, CodecError> {
    let mut raw: RawFields<'_> = [const { std::mem::MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut raw) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(CodecError::at(Rule::LineEnd, 0)),
        Err(error) => return Err(of_httparse(error)),
    }
    let status = parsed.code.unwrap_or_default();
    if !(100..=599).contains(&status) {
        return Err(CodecError::at(Rule::Status, 9));
    }
    let version = version_of(parsed.version)?;
    // "HTTP/1.x" SP 3DIGIT [ SP reason ] CR LF; the second space is often left out
    let line_end = match memchr::memchr(b'\n', bytes) {
        Some(lf) if lf >= 13 && bytes[lf - 1] == b'\r' => lf + 1,
        _ => return Err(CodecError::at(Rule::LineEnd, 0)),
    };
    let reason = Span::new((line_end - 2).min(13), line_end - 2);
    let (fields, options) = fields_of(bytes, line_end, parsed.headers, table)?;
    Ok(ResponseLines { version, status, reason, fields, options })
}

/// A head that trickles in is refused at its first lone LF; one that comes whole is refused by the same rule, whatever
/// else is wrong with it.
fn first_fault(bytes: &[u8], error: CodecError) -> CodecError {
    bare_line_feed(bytes, 0).map_or(error, |offset| CodecError::at(Rule::LineEnd, offset))
}

fn version_of(minor: Option<u8>) -> Result<Version, CodecError> {
    match minor {
        Some(0) => Ok(Version::Http10),
        Some(1) => Ok(Version::Http11),
        _ => Err(CodecError::at(Rule::Version, 0)),
    }
}

fn of_httparse(error: httparse::Error) -> CodecError {
    let rule = match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Rule::FieldLine,
        httparse::Error::NewLine => Rule::LineEnd,
        httparse::Error::Status => Rule::Status,
        httparse::Error::Token => Rule::StartLine,
        httparse::Error::TooManyHeaders => Rule::FieldsMax,
        httparse::Error::Version => Rule::Version,
    };
    CodecError::at(rule, 0)
}

/// Turns httparse's slices into offsets and checks that the fields follow each other without a gap, each ended
/// by CR LF: what was tolerated on the way (lone LF, folding, odd white space) shows as a gap.
fn fields_of(
    bytes: &[u8],
    start: usize,
    parsed: &[httparse::Header<'_>],
    mut table: FieldTable,
) -> Result<(FieldTable, ConnectionOptions), CodecError> {
    table.spans.clear();
    table.names = 0;
    table.spans.reserve(parsed.len());
    let mut options = ConnectionOptions::default();
    let mut at = start;
    for field in parsed {
        let name_end = at + field.name.len();
        if bytes.get(at..name_end) != Some(field.name.as_bytes()) || bytes.get(name_end) != Some(&b':') {
            return Err(CodecError::at(Rule::FieldLine, at));
        }
        let value_start = skip_blank(bytes, name_end + 1);
        let value_end = value_start + field.value.len();
        let end = skip_blank(bytes, value_end);
        if bytes.get(end..end + 2) != Some(b"\r\n") {
            return Err(CodecError::at(Rule::LineEnd, end));
        }
        let name = FieldName::of(field.name.as_bytes());
        table.names |= name.bit();
        if name == FieldName::Connection {
            note_options(&bytes[value_start..value_end], &mut options);
        }
        table.spans.push(FieldSpan {
            name,
            raw: Span::new(at, name_end),
            value: Span::new(value_start, value_end),
        });
        at = end + 2;
    }
    if bytes.get(at..) != Some(b"\r\n") {
        return Err(CodecError::at(Rule::LineEnd, at));
    }
    Ok((table, options))
}

fn skip_blank(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

fn note_options(value: &[u8], options: &mut ConnectionOptions) {
    for option in list(value) {
        if option.eq_ignore_ascii_case(b"close") {
            options.close = true;
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            options.keep_alive = true;
        } else {
            options.nominates = true;
        }
    }
}

/// RFC 9112 §3.2: exactly one Host in HTTP/1.1, at most one in HTTP/1.0, and a well-formed one.
fn check_host(head: &Head, target: &Target) -> Result<(), CodecError> {
    let mut hosts = head.values(FieldName::Host);
    let fault = Err(CodecError::at(Rule::Host, 0));
    match (hosts.next(), hosts.next(), head.version) {
        (_, Some(_), _) | (None, None, Version::Http11) => fault,
        (None, None, Version::Http10) => Ok(()),
        (Some(host), None, _) => {
            // An absolute target overrides Host, so an empty one does no harm there.
            let may_be_empty = target.authority(&head.bytes).is_some() || head.version == Version::Http10;
            if (host.is_empty() && may_be_empty) || super::target::is_authority(host) {
                Ok(())
            } else {
                fault
            }
        }
    }
}
