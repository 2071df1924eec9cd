//! Heads to bytes. What leaves is always written from parsed parts; no received line is passed on as it came.

use std::time::Duration;

use super::edit::{Edits, edit};
use super::field::FieldName;
use super::fields::Field;
use super::forwarded::{Sender, is_forwarding, write_forwarding};
use super::framing::Framing;
use super::head::{RequestHead, ResponseHead};
use super::method::Method;
use super::reply::{LocalReply, reason};
use super::trace::TraceContext;
use super::twin::is_twin;
use super::version::Version;
use super::write::{
    ConnectionField, write_connection, write_decimal, write_field, write_length, write_relayed_field,
    write_status_line,
};
use crate::base::time::whole_micros;

/// What the gateway itself says in a request it sends upstream.
#[derive(Debug)]
pub struct UpstreamHead<'a> {
    /// Path in front of the client's target: the endpoint's base, `""` or `/base`.
    pub base: &'a str,
    /// Path and query behind it: the client's own, or what a route made of them.
    pub target: &'a [u8],
    /// Whether the client's expectation is passed on (RFC 9110 §10.1.1).
    pub expects: bool,
    /// Whether its wish to go on as a WebSocket is (RFC 9110 §7.8).
    pub switches: bool,
    /// The Host sent.
    pub host: &'a [u8],
    /// Who asks.
    pub sender: &'a Sender,
    /// The trace it belongs to.
    pub trace: &'a TraceContext,
    /// The id of this exchange.
    pub request_id: &'a [u8],
    /// What becomes of the client's credential.
    pub credential: Credential<'a>,
    /// Names of fields that the operator's conditions look at, in any case: what differs from one only in `_` for `-` does
    /// not pass.
    pub judged: &'a [String],
    /// What the operator has changed in what passes, one after the other.
    pub edits: &'a [Edits],
    /// How the body is delimited: as it came, unless it was changed.
    pub framing: Framing,
    /// Whether the body was changed: fields that sign it are left out.
    pub is_changed: bool,
    /// Whether the answer is read here: then it is asked for as it was written (RFC 9110 §12.5.3).
    pub reads_answer: bool,
}

/// What becomes of a client's credential on its way upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// It passes: it is meant for the endpoint.
    Passes,
    /// It was meant for the gateway, and stays here.
    Stays,
    /// This bearer token goes in its place.
    Replaced(&'a str),
}

/// Whether `name` is that of a field in which clients show a credential.
fn is_credential(name: &[u8]) -> bool {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    match name.len() {
        7 => is(b"api-key"),
        9 => is(b"x-api-key"),
        13 => is(b"authorization"),
        _ => false,
    }
}

/// Appends the head of the request that goes upstream: start line, Host, framing, forwarding fields, and every
/// end-to-end field of the client in its order.
///
/// A field that CGI would take for one that is set, read or judged here stays behind. The body keeps its framing. `via` is added to (RFC 9110 §7.6.3); what a sender says of others is believed only from
/// one who is trusted.
pub fn write_request(out: &mut Vec<u8>, request: &RequestHead, upstream: &UpstreamHead<'_>) {
    out.extend_from_slice(request.method_bytes());
    out.push(b' ');
    if upstream.target != b"*" {
        out.extend_from_slice(upstream.base.as_bytes());
    }
    out.extend_from_slice(upstream.target);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(upstream.host);
    out.extend_from_slice(b"\r\n");
    let head = request.head();
    let passing = head.fields().filter(|field| goes_upstream(field, request, upstream));
    match upstream.edits {
        [] => {
            for field in passing {
                write_relayed_field(out, &field);
            }
        }
        edits => {
            let mut lines: Vec<_> = passing.map(|field| (field.raw, field.value)).collect();
            edits.iter().for_each(|edits| edit(&mut lines, edits));
            // Two credentials would be one too many.
            let is_replaced = matches!(upstream.credential, Credential::Replaced(_));
            lines.retain(|(name, _)| !is_replaced || !name.eq_ignore_ascii_case(b"authorization"));
            lines.iter().for_each(|(name, value)| write_field(out, name, value));
        }
    }
    if let Some(left) = request.forwards_left() {
        out.extend_from_slice(b"max-forwards: ");
        write_decimal(out, left.saturating_sub(1));
        out.extend_from_slice(b"\r\n");
    }
    if let Credential::Replaced(token) = upstream.credential {
        write_bearer(out, token);
    }
    if upstream.reads_answer {
        write_field(out, b"accept-encoding", b"identity");
    }
    if upstream.switches {
        write_connection(out, ConnectionField::Switch);
    }
    write_framing(out, upstream.framing, request_says_length(request));
    write_forwarding(out, request, upstream.sender);
    write_field(out, b"x-request-id", upstream.request_id);
    write_field(out, b"traceparent", upstream.trace.as_bytes());
    write_via(out, head.version());
    out.extend_from_slice(b"\r\n");
}

/// Whether a field of the client's goes on to the endpoint.
#[inline(always)] // asked of each field of each request
fn goes_upstream(field: &Field<'_>, request: &RequestHead, upstream: &UpstreamHead<'_>) -> bool {
    let head = request.head();
    match field.name {
        FieldName::Host | FieldName::ContentLength | FieldName::XRequestId | FieldName::Traceparent => false,
        // A state belongs to its trace (W3C Trace Context §3.3).
        FieldName::Tracestate if !upstream.trace.is_continued => false,
        name if is_forwarding(name) => false,
        FieldName::Expect if !upstream.expects => false,
        FieldName::MaxForwards if request.forwards_left().is_some() => false,
        // Ignored in HTTP/1.0 (RFC 9110 §10.1.1), and what goes out is HTTP/1.1, where it would count.
        FieldName::Expect if head.version() == Version::Http10 => false,
        FieldName::Other if is_twin(field.raw, upstream.judged) => false,
        FieldName::Other if upstream.is_changed && signs_body(field.raw) => false,
        FieldName::Other if upstream.reads_answer && field.raw.eq_ignore_ascii_case(b"accept-encoding") => {
            false
        }
        FieldName::Other if upstream.credential != Credential::Passes && is_credential(field.raw) => false,
        _ => head.passes(field),
    }
}

/// Whether a field called `name` says something of the bytes of a body (RFC 9530, RFC 9421, RFC 2616 §14.15).
pub(super) fn signs_body(name: &[u8]) -> bool {
    let names: [&[u8]; 7] = [
        b"content-digest",
        b"content-md5",
        b"digest",
        b"repr-digest",
        b"signature",
        b"signature-input",
        b"x-amz-content-sha256",
    ];
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Appends a bearer token (RFC 6750 §2.1).
pub fn write_bearer(out: &mut Vec<u8>, token: &str) {
    out.extend_from_slice(b"authorization: Bearer ");
    out.extend_from_slice(token.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A request without a body says so only where the client did (`content-length: 0` on POST).
fn request_says_length(request: &RequestHead) -> Announce {
    match request.head().value(FieldName::ContentLength) {
        Some(_) => Announce::Zero,
        None => Announce::Nothing,
    }
}

/// What an empty body's head says of its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// `content-length: 0`.
    Zero,
    /// No length field.
    Nothing,
}

fn write_framing(out: &mut Vec<u8>, framing: Framing, empty: Announce) {
    match (framing, empty) {
        (Framing::Length(length), _) => write_length(out, length),
        (Framing::Empty, Announce::Zero) => write_length(out, 0),
        (Framing::Chunked, _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        (Framing::Empty, Announce::Nothing) | (Framing::UntilClose, _) => {}
    }
}

/// An answer to a client, before anything is added to it.
#[derive(Debug, Clone, Copy)]
pub enum Said<'a> {
    /// What an endpoint says.
    Relayed(&'a ResponseHead),
    /// What the gateway says itself.
    Own(&'a LocalReply),
}

/// What the gateway adds to the head of an answer.
#[derive(Debug)]
pub struct DownstreamHead<'a> {
    /// How the body is delimited towards the client.
    pub framing: Framing,
    /// Whether the connection lives on, and whether that must be said.
    pub connection: ConnectionField,
    /// When the answer came, where it does not say so itself (RFC 9110 §6.6.1).
    pub date: Option<&'a [u8]>,
    /// What it says of its exchange; none for those that are no exchange.
    pub signature: Option<Signature<'a>>,
}

/// What every answer to a client says of its exchange.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'a> {
    /// Its id.
    pub request_id: &'a [u8],
    /// Where its time went so far, if that is to be said.
    pub timing: Option<Timing>,
    /// What else the operator has it say.
    pub dress: Option<&'a Dress>,
}

/// What answers say because an operator wants them to, in the place of what an endpoint says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dress {
    /// An endpoint's fields whose names begin in one of these ways, in any case, are dropped.
    pub drops: Vec<&'static str>,
    /// These are said, names in lower case.
    pub fields: Vec<(&'static str, String)>,
    /// What is changed in what an endpoint says, one after the other.
    pub edits: Vec<Edits>,
}

impl Dress {
    fn drops(&self, name: &[u8]) -> bool {
        let begins = |start: &&str| {
            name.get(..start.len()).is_some_and(|name| name.eq_ignore_ascii_case(start.as_bytes()))
        };
        self.drops.iter().any(begins)
    }
}

/// Where the time of an exchange went until the head of its answer leaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Waiting in the gateway's queue.
    pub queue: Duration,
    /// The gateway's own share.
    pub gateway: Duration,
    /// Waiting for the upstream.
    pub upstream: Duration,
    /// Of that, for connections, and for the head of the answer.
    pub connect: Duration,
    /// See above.
    pub head: Duration,
}

/// Appends the head of an answer to a client.
///
/// A relayed one without a body keeps the endpoint's own Content-Length (HEAD, 304: RFC 9110 §8.6), except that 101 and 204
/// have none; and it keeps the id that the endpoint gave it, which is what the endpoint's own support asks for.
pub fn write_answer(out: &mut Vec<u8>, said: Said<'_>, downstream: &DownstreamHead<'_>) {
    let (has_id, version) = match said {
        Said::Relayed(response) => {
            let dress = downstream.signature.and_then(|signature| signature.dress);
            write_relayed(out, response, downstream.framing, dress);
            (response.head().has(FieldName::XRequestId), response.head().version())
        }
        Said::Own(reply) => {
            write_own(out, reply);
            let edits = downstream
                .signature
                .and_then(|signature| signature.dress)
                .map_or(&[][..], |dress| &dress.edits);
            write_said(out, reply, edits);
            (false, Version::Http11)
        }
    };
    write_framing(out, downstream.framing, Announce::Nothing);
    write_connection(out, downstream.connection);
    if let Some(date) = downstream.date {
        write_field(out, b"date", date);
    }
    if let Some(signature) = &downstream.signature {
        if !has_id {
            write_field(out, b"x-request-id", signature.request_id);
        }
        write_timing(out, signature.timing);
        for (name, value) in signature.dress.iter().flat_map(|dress| &dress.fields) {
            write_field(out, name.as_bytes(), value.as_bytes());
        }
        write_via(out, version);
    }
    out.extend_from_slice(b"\r\n");
}

/// What the gateway adds to an answer of its own.
#[derive(Debug)]
pub struct OwnHead<'a> {
    /// Whether the connection lives on, and whether that must be said.
    pub connection: ConnectionField,
    /// When it was made, an HTTP date (RFC 9110 §6.6.1).
    pub date: &'a [u8],
    /// What it says of its exchange; none for those that are no exchange.
    pub signature: Option<Signature<'a>>,
}

/// Appends a whole answer of our own to a request with the method `asked`, and tells how long its body is. HEAD is
/// answered with the length of the body, and none (RFC 9110 §9.3.2).
pub fn write_reply(out: &mut Vec<u8>, reply: &LocalReply, asked: Method, own: OwnHead<'_>) -> u64 {
    let framing = match reply.status {
        204 | 304 => Framing::Empty,
        _ => Framing::Length(reply.body.len() as u64),
    };
    let OwnHead { connection, date, signature } = own;
    let said = DownstreamHead { framing, connection, date: Some(date), signature };
    write_answer(out, Said::Own(reply), &said);
    if framing == Framing::Empty || asked == Method::Head {
        return 0;
    }
    out.extend_from_slice(&reply.body);
    reply.body.len() as u64
}

/// Says that the message, of this version, came through here (RFC 9110 §7.6.3).
fn write_via(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(match version {
        Version::Http10 => b"via: 1.0 corelane\r\n",
        Version::Http11 => b"via: 1.1 corelane\r\n",
    });
}

fn write_relayed(out: &mut Vec<u8>, response: &ResponseHead, framing: Framing, dress: Option<&Dress>) {
    write_status_line(out, response.status(), response.reason());
    let head = response.head();
    let passing = head.fields().filter(|field| match field.name {
        FieldName::ContentLength => framing == Framing::Empty && !matches!(response.status(), 101 | 204),
        FieldName::Other if dress.is_some_and(|dress| dress.drops(field.raw)) => false,
        _ => head.passes(field),
    });
    match dress.map_or(&[][..], |dress| &dress.edits) {
        [] => {
            for field in passing {
                write_relayed_field(out, &field);
            }
        }
        edits => {
            let mut lines: Vec<_> = passing.map(|field| (field.raw, field.value)).collect();
            edits.iter().for_each(|edits| edit(&mut lines, edits));
            lines.iter().for_each(|(name, value)| write_field(out, name, value));
        }
    }
}

/// What an operator has an answer of our own say beside what it says itself, which stays.
fn write_said(out: &mut Vec<u8>, reply: &LocalReply, edits: &[Edits]) {
    let is_own = |name: &[u8]| {
        let known = reply.fields.iter().any(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        known || name.eq_ignore_ascii_case(b"content-type")
    };
    let mut lines = Vec::new();
    edits.iter().for_each(|edits| edit(&mut lines, edits));
    lines.iter().filter(|(name, _)| !is_own(name)).for_each(|(name, value)| write_field(out, name, value));
}

fn write_own(out: &mut Vec<u8>, reply: &LocalReply) {
    write_status_line(out, reply.status, reason(reply.status).as_bytes());
    if !matches!(reply.status, 204 | 304) {
        write_field(out, b"content-type", &reply.content_type);
    }
    for (name, value) in &reply.fields {
        write_field(out, name.as_bytes(), value.as_bytes());
    }
}

fn write_timing(out: &mut Vec<u8>, timing: Option<Timing>) {
    let Some(Timing { queue, gateway, upstream, connect, head }) = timing else { return };
    out.extend_from_slice(b"server-timing: ");
    let all = [("queue", queue), ("gw", gateway), ("up", upstream), ("connect", connect), ("head", head)];
    for (position, (name, time)) in all.into_iter().enumerate() {
        if position > 0 {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b";dur=");
        // Milliseconds with three decimals (Server Timing §2): numbers with a point cost ten times as much to write.
        let us = whole_micros(time);
        write_decimal(out, us / 1000);
        out.push(b'.');
        out.extend([us / 100 % 10, us / 10 % 10, us % 10].map(|digit| b'0' + digit as u8));
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an interim response (1xx) that is relayed. It has no body and must not say a length (RFC 9110 §8.6); its
/// exchange is named by the final one.
pub fn write_interim(out: &mut Vec<u8>, response: &ResponseHead) {
    write_status_line(out, response.status(), response.reason());
    let head = response.head();
    for field in head.fields().filter(|field| head.passes(field)) {
        match field.name {
            FieldName::ContentLength | FieldName::XRequestId => {}
            _ => write_relayed_field(out, &field),
        }
    }
    out.extend_from_slice(b"\r\n");
}
