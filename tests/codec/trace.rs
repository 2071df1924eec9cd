//! Feeds bytes to a reader in pieces and writes down each step that it takes.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use corelane::base::limits::{FIELDS_MAX, HEAD_BYTES_MAX};
use corelane::codec::encode::{
    Credential, DownstreamHead, Said, Signature, UpstreamHead, write_answer, write_interim, write_request,
};
use corelane::codec::error::CodecError;
use corelane::codec::field::FieldName;
use corelane::codec::fields::{FieldTable, Head};
use corelane::codec::framing::Framing;
use corelane::codec::head::{RequestHead, ResponseHead};
use corelane::codec::method::Method;
use corelane::codec::progress::Progress;
use corelane::codec::request::{RequestEvent, RequestReader};
use corelane::codec::response::{ResponseEvent, ResponseReader};
use corelane::codec::split::{split_request, split_response};
use corelane::codec::trace::TraceContext;
use corelane::codec::version::Reuse;
use corelane::codec::write::ConnectionField;

/// What one call of a reader gave.
#[derive(Debug)]
pub enum Event {
    Request(RequestHead),
    Interim(ResponseHead),
    Response(ResponseHead, Framing),
    Data(Bytes),
    End,
    NeedMore,
}

/// One call: its event, the bytes it took, and how many it left.
#[derive(Debug)]
pub struct Step {
    pub event: Event,
    pub took: Range<usize>,
    pub left: usize,
}

/// All that a reader did with some bytes.
#[derive(Debug)]
pub struct Trace {
    pub bytes: Vec<u8>,
    pub steps: Vec<Step>,
    pub error: Option<CodecError>,
    /// What it left unread; nothing is said of it after an error.
    pub left: Vec<u8>,
    /// What a reader of responses says of its connection at the end.
    pub reuse: Option<Reuse>,
}

/// Who sends, and what is asked of the reader.
#[derive(Debug, Clone, Copy)]
pub enum Sender {
    Client,
    /// Answers this method, and closes behind its bytes or not.
    Upstream {
        asked: Method,
        closes: bool,
    },
}

/// Reads `pieces` one after the other.
pub fn trace(sender: Sender, pieces: &[&[u8]]) -> Trace {
    match sender {
        Sender::Client => {
            let mut reader = RequestReader::new(HEAD_BYTES_MAX);
            feed(pieces, |input| request_event(&mut reader, input))
        }
        Sender::Upstream { asked, closes } => {
            let mut reader = ResponseReader::new();
            reader.expect(asked);
            let mut is_over = false;
            let mut trace = feed(pieces, |input| match is_over {
                // Nothing is expected behind the end: such bytes are left, and end the connection.
                true => Ok(Event::NeedMore),
                false => {
                    let event = response_event(&mut reader, input)?;
                    is_over = matches!(event, Event::End);
                    Ok(event)
                }
            });
            if closes && trace.error.is_none() && !is_over {
                match reader.finish() {
                    Ok(()) => {
                        let at = trace.bytes.len();
                        trace.steps.push(Step { event: Event::End, took: at..at, left: 0 });
                    }
                    Err(error) => trace.error = Some(error),
                }
            }
            let is_clean = trace.left.is_empty() && trace.error.is_none();
            trace.reuse = Some(if is_clean { reader.reuse() } else { Reuse::Close });
            trace
        }
    }
}

pub fn request_event(reader: &mut RequestReader, input: &mut BytesMut) -> Result<Event, CodecError> {
    Ok(match reader.next(input)? {
        Progress::Ready(RequestEvent::Head(head)) => Event::Request(head),
        Progress::Ready(RequestEvent::Data(data)) => Event::Data(data),
        Progress::Ready(RequestEvent::End) => Event::End,
        Progress::NeedMore => Event::NeedMore,
    })
}

pub fn response_event(reader: &mut ResponseReader, input: &mut BytesMut) -> Result<Event, CodecError> {
    Ok(match reader.next(input)? {
        Progress::Ready(ResponseEvent::Interim(head)) => Event::Interim(head),
        Progress::Ready(ResponseEvent::Head(head, framing)) => Event::Response(head, framing),
        Progress::Ready(ResponseEvent::Data(data)) => Event::Data(data),
        Progress::Ready(ResponseEvent::End) => Event::End,
        Progress::NeedMore => Event::NeedMore,
    })
}

fn feed(pieces: &[&[u8]], mut next: impl FnMut(&mut BytesMut) -> Result<Event, CodecError>) -> Trace {
    let mut trace =
        Trace { bytes: pieces.concat(), steps: Vec::new(), error: None, left: Vec::new(), reuse: None };
    let (mut input, mut fed, mut at) = (BytesMut::new(), 0, 0);
    for piece in pieces {
        input.extend_from_slice(piece);
        fed += piece.len();
        loop {
            match next(&mut input) {
                Ok(event) => {
                    let waits = matches!(event, Event::NeedMore);
                    let end = fed - input.len();
                    trace.steps.push(Step { event, took: at..end, left: input.len() });
                    at = end;
                    if waits {
                        break;
                    }
                }
                Err(error) => {
                    trace.error = Some(error);
                    return trace;
                }
            }
        }
    }
    trace.left = input.to_vec();
    trace
}

/// Fields that the gateway may add to a head: one that was read at the bound is longer than that when it is written, and
/// nobody who reads as strictly would take it back.
const ROOM: usize = 16;

/// Whether what is written for `head` stays within the bound on fields.
pub fn has_room(head: &Head) -> bool {
    head.fields().count() + ROOM <= FIELDS_MAX
}

/// A field as one line.
pub fn line(raw: &[u8], value: &[u8]) -> Vec<u8> {
    [raw, b": ", value].concat()
}

/// The head that goes upstream.
pub fn written(head: &RequestHead) -> RequestHead {
    let mut out = Vec::new();
    let said = UpstreamHead {
        base: "",
        target: head.path_and_query(),
        expects: true,
        switches: false,
        host: b"up",
        sender: &corelane::codec::forwarded::Sender::new("1.2.3.4".parse().ok(), &[]),
        trace: &TraceContext::of(head.head(), false, [1, 2], 3),
        request_id: b"id",
        credential: Credential::Passes,
        judged: &["x-team".to_owned()],
        edits: &[],
        framing: head.framing(),
        is_changed: false,
        reads_answer: false,
    };
    write_request(&mut out, head, &said);
    split_request(out.into(), FieldTable::default()).expect("what we write is well-formed")
}

/// The head that goes to the client.
pub fn written_answer(head: &ResponseHead, framing: Framing) -> ResponseHead {
    let mut out = Vec::new();
    let said = DownstreamHead {
        framing,
        connection: ConnectionField::Implied,
        date: None,
        signature: Some(Signature { request_id: b"id", timing: None, dress: None }),
    };
    write_answer(&mut out, Said::Relayed(head), &said);
    split_response(out.into(), FieldTable::default()).expect("what we write is well-formed")
}

/// The interim head that goes to the client.
pub fn written_interim(head: &ResponseHead) -> ResponseHead {
    let mut out = Vec::new();
    write_interim(&mut out, head);
    split_response(out.into(), FieldTable::default()).expect("what we write is well-formed")
}

/// What the gateway writes into heads by itself, besides Via.
const ADDED: [FieldName; 8] = [
    FieldName::Host,
    FieldName::ContentLength,
    FieldName::TransferEncoding,
    FieldName::Traceparent,
    FieldName::XForwardedFor,
    FieldName::XForwardedHost,
    FieldName::XForwardedProto,
    FieldName::XRequestId,
];

/// The fields of a written head, without those that the gateway writes itself.
pub fn passing(written: &Head) -> Vec<Vec<u8>> {
    let mut fields: Vec<_> = written
        .fields()
        .filter(|field| !ADDED.contains(&field.name))
        .map(|field| line(field.raw, field.value))
        .collect();
    fields.retain(|field| field != b"via: 1.1 corelane" && field != b"via: 1.0 corelane");
    fields
}

/// The name of a framing in the table.
pub fn framing_name(framing: Framing) -> &'static str {
    match framing {
        Framing::Empty => "empty",
        Framing::Length(_) => "length",
        Framing::Chunked => "chunked",
        Framing::UntilClose => "until-close",
    }
}

/// Bytes as they can be printed.
pub fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

impl Trace {
    /// The meaning of it all, line by line, however the bytes were split.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut body = Vec::new();
        let flush = |body: &mut Vec<u8>, lines: &mut Vec<String>| {
            if !body.is_empty() {
                lines.push(format!("body {}", shown(&std::mem::take(body))));
            }
        };
        for step in &self.steps {
            match &step.event {
                Event::Request(head) => {
                    lines.push(format!(
                        "{} {} for {:?} {} {:?}",
                        shown(head.method_bytes()),
                        shown(head.path_and_query()),
                        shown(head.authority()),
                        framing_name(head.framing()),
                        head.head().reuse(),
                    ));
                    if has_room(head.head()) {
                        lines.extend(passing(written(head).head()).iter().map(|field| shown(field)));
                    }
                }
                Event::Interim(head) => {
                    let written = has_room(head.head()).then(|| written_interim(head));
                    let fields = written.map_or_else(Vec::new, |written| passing(written.head()));
                    let fields: String = fields.iter().map(|field| format!("; {}", shown(field))).collect();
                    lines.push(format!("interim {}{fields}", head.status()));
                }
                Event::Response(head, framing) => {
                    let reason = shown(head.reason());
                    lines.push(format!("{} {reason:?} {}", head.status(), framing_name(*framing)));
                    if has_room(head.head()) {
                        let fields = passing(written_answer(head, *framing).head());
                        lines.extend(fields.iter().map(|field| shown(field)));
                    }
                }
                Event::Data(data) => body.extend_from_slice(data),
                Event::End => {
                    flush(&mut body, &mut lines);
                    lines.push("end".to_owned());
                }
                Event::NeedMore => {}
            }
        }
        flush(&mut body, &mut lines);
        match (&self.error, self.left.is_empty()) {
            // Only clients are told a status; what an upstream broke is a rule.
            (Some(error), _) if self.reuse.is_some() => lines.push(format!("{:?}", error.rule)),
            (Some(error), _) => lines.push(format!("{} {:?}", error.status(), error.rule)),
            (None, false) => lines.push(format!("left {}", shown(&self.left))),
            (None, true) => {}
        }
        lines.extend(self.reuse.map(|reuse| format!("{reuse:?}")));
        lines
    }

    /// The heads of requests, with the bytes that each was read from.
    pub fn requests(&self) -> impl Iterator<Item = (&RequestHead, &[u8])> {
        self.steps.iter().filter_map(|step| match &step.event {
            Event::Request(head) => Some((head, &self.bytes[step.took.clone()])),
            _ => None,
        })
    }

    /// The heads of responses, with the bytes that each was read from.
    pub fn responses(&self) -> impl Iterator<Item = (&ResponseHead, &[u8])> {
        self.steps.iter().filter_map(|step| match &step.event {
            Event::Interim(head) | Event::Response(head, _) => Some((head, &self.bytes[step.took.clone()])),
            _ => None,
        })
    }
}
