//! Splits one complete head into start line and fields, as offsets into one `Bytes`.

use bytes::Bytes;

use super::connection::{ConnectionOptions, Nominated};
use super::error::{CodecError, Rule};
use super::field::FieldName;
use super::fields::{FieldSpan, FieldTable, Head, Span};
use super::framing::request_framing;
use super::head::{RequestHead, ResponseHead};
use super::head_end::bare_line_feed;
use super::method::Method;
use super::target::{Target, is_authority, split_target};
use super::version::Version;
use crate::base::limits::FIELDS_MAX;

type RawFields<'b> = [std::mem::MaybeUninit<httparse::Header<'b>>; FIELDS_MAX];

/// Splits a complete request head, ending with its empty line. `table` is cleared and reused.
///
/// Refuses what httparse tolerates: lone LF, bytes outside visible ASCII in the target, anything between fields.
#[inline(always)] // each exchange passes here; others ask `request_apart`
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
#[inline(always)] // each exchange passes here; others ask `response_apart`
pub fn split_response(bytes: Bytes, table: FieldTable) -> Result<ResponseHead, CodecError> {
    let lines = response_lines(&bytes, table).map_err(|error| first_fault(&bytes, error))?;
    let ResponseLines { version, status, reason, fields, options } = lines;
    Ok(ResponseHead { head: Head { fields, version, options, bytes }, status, reason })
}

/// The same as [`split_request`], for a head that did not come from a connection.
#[cold]
#[inline(never)]
pub fn request_apart(bytes: Bytes) -> Result<RequestHead, CodecError> {
    split_request(bytes, FieldTable::default())
}

/// The same as [`split_response`], for a head that did not come from a connection.
#[cold]
#[inline(never)]
pub fn response_apart(bytes: Bytes) -> Result<ResponseHead, CodecError> {
    split_response(bytes, FieldTable::default())
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
        // The name is a part of these bytes: that it is this one its place tells.
        let is_here = bytes.get(at..).is_some_and(|rest| std::ptr::eq(rest.as_ptr(), field.name.as_ptr()));
        if !is_here || bytes.get(name_end) != Some(&b':') {
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
            options.note(&bytes[value_start..value_end])?;
        }
        table.spans.push(FieldSpan {
            name,
            raw: Span::new(at, name_end),
            value: Span::new(value_start, value_end),
            is_nominated: false,
        });
        at = end + 2;
    }
    if bytes.get(at..) != Some(b"\r\n") {
        return Err(CodecError::at(Rule::LineEnd, at));
    }
    if options.nominates {
        mark_nominated(bytes, &mut table.spans);
    }
    Ok((table, options))
}

fn skip_blank(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Marks the fields that stay behind: once a head, so that each field is looked up, not each option at each field.
#[cold]
fn mark_nominated(bytes: &[u8], spans: &mut [FieldSpan]) {
    let connection = spans.iter().filter(|span| span.name == FieldName::Connection);
    let nominated = Nominated::of(connection.map(|span| span.value.of(bytes)));
    for span in spans {
        span.is_nominated = nominated.has(span.raw.of(bytes));
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
            if (host.is_empty() && may_be_empty) || is_authority(host) { Ok(()) } else { fault }
        }
    }
}
