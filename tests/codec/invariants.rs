//! The invariants of a reader as functions of a trace, so that rows and mutants are held to the same.

use bytes::BytesMut;
use corelane::base::limits::{HEAD_BYTES_MAX, TRAILER_BYTES_MAX};
use corelane::codec::field::FieldName;
use corelane::codec::fields::Field;
use corelane::codec::framing::Framing;
use corelane::codec::head::{RequestHead, ResponseHead};
use corelane::codec::method::Method;
use corelane::codec::request::RequestReader;
use corelane::codec::response::ResponseReader;
use corelane::codec::version::Reuse;

use crate::trace::{
    Event, Sender, Trace, has_room, line, passing, request_event, response_event, trace, written,
    written_answer, written_interim,
};

/// All that holds of a reader's whole input; gives back what it did.
pub fn all(sender: Sender, bytes: &[u8]) -> Trace {
    let whole = trace(sender, &[bytes]);
    conserving(&whole);
    bounded(&whole);
    like_httparse(&whole);
    round_trip(&whole);
    relayed_heads_read_back(&whole);
    last(sender, bytes);
    whole
}

/// Every input byte is in an event, counted as framing, or still in the input: a head is the bytes it was read from, a
/// body is what a decoder that shares nothing with ours makes of the bytes between two heads, and the rest is left.
pub fn conserving(trace: &Trace) {
    let (mut framing, mut body, mut start) = (Framing::Empty, Vec::new(), 0);
    let mut at = 0;
    for step in &trace.steps {
        assert_eq!(step.took.start, at, "a byte was skipped or given twice");
        at = step.took.end;
        let took = &trace.bytes[step.took.clone()];
        match &step.event {
            Event::Request(head) => framing = head.framing(),
            Event::Interim(_) => framing = Framing::Empty,
            Event::Response(_, found) => framing = *found,
            Event::Data(data) => {
                assert!(took.ends_with(data) && !data.is_empty(), "data that was not sent");
                body.extend_from_slice(data);
                continue;
            }
            Event::End => {
                let sent = &trace.bytes[start..at];
                match framing {
                    Framing::Chunked => {
                        assert_eq!(dechunked(sent), Some((std::mem::take(&mut body), sent.len())))
                    }
                    _ => assert_eq!(std::mem::take(&mut body), sent),
                }
                start = at;
                continue;
            }
            Event::NeedMore => continue,
        }
        assert!(took.ends_with(b"\r\n\r\n"), "a head ends with an empty line");
        start = at;
    }
    if trace.error.is_none() {
        assert_eq!(trace.bytes[at..], trace.left, "what is left is the end of the input, as it was");
    }
}

/// The plainest decoder of chunked coding: body and bytes read, none where it is incomplete.
fn dechunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    let line = |at: &mut usize| {
        let length = bytes[*at..].windows(2).position(|pair| pair == b"\r\n")?;
        let line = &bytes[*at..*at + length];
        *at += length + 2;
        Some(line)
    };
    loop {
        let text = String::from_utf8_lossy(line(&mut at)?).into_owned();
        let size = usize::from_str_radix(text.split(';').next()?.trim_end(), 16).ok()?;
        if size == 0 {
            while !line(&mut at)?.is_empty() {}
            return Some((body, at));
        }
        body.extend_from_slice(bytes.get(at..at + size)?);
        at += size;
        assert_eq!(line(&mut at)?, b"");
    }
}

/// What waits for more bytes is never longer than the limit of the part it belongs to.
pub fn bounded(trace: &Trace) {
    let mut max = HEAD_BYTES_MAX;
    let mut is_over = false;
    for step in &trace.steps {
        match &step.event {
            Event::Request(head) => max = body_max(head.framing()),
            Event::Response(_, framing) => max = body_max(*framing),
            Event::End => (max, is_over) = (HEAD_BYTES_MAX, trace.reuse.is_some()),
            Event::Interim(_) | Event::Data(_) => {}
            Event::NeedMore => assert!(is_over || step.left <= max, "{} bytes are kept", step.left),
        }
    }
}

fn body_max(framing: Framing) -> usize {
    match framing {
        Framing::Chunked => TRAILER_BYTES_MAX,
        Framing::Empty | Framing::Length(_) | Framing::UntilClose => 0,
    }
}

/// The division of `bytes` by `pieces` does not show.
pub fn split_blind(sender: Sender, whole: &Trace, pieces: &[&[u8]]) {
    let split = trace(sender, pieces);
    if split.lines() != whole.lines() {
        let lengths: Vec<_> = pieces.iter().map(|piece| piece.len()).collect();
        assert_eq!(split.lines(), whole.lines(), "split into {lengths:?}");
    }
}

/// After an error every call gives the same error, and the connection is not used again.
pub fn last(sender: Sender, bytes: &[u8]) {
    let mut input = BytesMut::from(bytes);
    let mut fresh = BytesMut::from("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    match sender {
        Sender::Client => {
            let mut reader = RequestReader::new(HEAD_BYTES_MAX);
            let Some(error) = first_error(|| request_event(&mut reader, &mut input)) else { return };
            assert_eq!(reader.next(&mut input).unwrap_err(), error);
            assert_eq!(reader.next(&mut fresh).unwrap_err(), error);
            assert!(!reader.is_between());
        }
        Sender::Upstream { asked, .. } => {
            let mut reader = ResponseReader::new();
            reader.expect(asked);
            let Some(error) = first_error(|| response_event(&mut reader, &mut input)) else { return };
            assert_eq!(reader.next(&mut input).unwrap_err(), error);
            assert_eq!(reader.next(&mut fresh).unwrap_err(), error);
            assert_eq!(reader.finish(), Err(error));
            assert_eq!(reader.reuse(), Reuse::Close);
        }
    }
}

fn first_error<E>(mut next: impl FnMut() -> Result<Event, E>) -> Option<E> {
    loop {
        match next() {
            Ok(Event::NeedMore) => return None,
            Ok(_) => {}
            Err(error) => return Some(error),
        }
    }
}

/// Whatever is accepted, httparse accepts and reads the same.
pub fn like_httparse(trace: &Trace) {
    for (head, bytes) in trace.requests() {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut witness = httparse::Request::new(&mut fields);
        assert_eq!(witness.parse(bytes), Ok(httparse::Status::Complete(bytes.len())));
        assert_eq!(witness.method.unwrap().as_bytes(), head.method_bytes());
        let (authority, path) = split_target(witness.path.unwrap());
        let root = if head.method() == Method::Options { "*" } else { "/" };
        let path = if path.is_empty() { root } else { path };
        assert_eq!(path.as_bytes(), head.path_and_query());
        assert!(authority.is_none_or(|authority| authority.as_bytes() == head.authority()));
        same_fields(witness.headers, head.head());
    }
    for (head, bytes) in trace.responses() {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut witness = httparse::Response::new(&mut fields);
        assert_eq!(witness.parse(bytes), Ok(httparse::Status::Complete(bytes.len())));
        assert_eq!(witness.code.unwrap(), head.status());
        let reason = witness.reason.unwrap().as_bytes();
        assert!(reason == head.reason() || reason.is_empty() && !head.reason().is_ascii());
        same_fields(witness.headers, head.head());
    }
}

/// Authority and path of an absolute target; any other is all path.
fn split_target(target: &str) -> (Option<&str>, &str) {
    match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (Some(authority), path)
        }
        _ => (None, target),
    }
}

fn same_fields(witness: &[httparse::Header<'_>], head: &corelane::codec::fields::Head) {
    let ours: Vec<_> = head.fields().map(|field| (field.raw, field.value)).collect();
    let theirs: Vec<_> = witness.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
    assert_eq!(ours, theirs);
}

/// What is written for an accepted request reads back as the same request; but for the names in it that concern one
/// hop, and those that change on each, its fields stay.
pub fn round_trip(trace: &Trace) {
    const CHANGED: [&[u8]; 4] = [b"expect", b"forwarded", b"max-forwards", b"tracestate"];
    let kept = |head: &RequestHead| -> Vec<Vec<u8>> {
        let is_kept = |field: &Field<'_>| {
            // The sender here is a stranger: what it says of others goes no further.
            head.head().passes(field)
                && field.name != FieldName::XForwardedOther
                // One with `_` may be the twin of a name that counts; rows of the table say which stay behind.
                && !field.raw.contains(&b'_')
                && !CHANGED.iter().any(|name| field.raw.eq_ignore_ascii_case(name))
        };
        let sent: Vec<_> =
            head.head().fields().filter(is_kept).map(|field| line(field.raw, field.value)).collect();
        passing(head.head()).into_iter().filter(|field| sent.contains(field)).collect()
    };
    for (head, _) in trace.requests().filter(|(head, _)| has_room(head.head())) {
        let again = written(head);
        assert_eq!(again.method_bytes(), head.method_bytes());
        assert_eq!(again.path_and_query(), head.path_and_query());
        assert_eq!(again.framing(), head.framing());
        assert_eq!(kept(&again), kept(head));
        assert_eq!(again.authority(), b"up");
        assert_eq!(again.head().reuse(), Reuse::KeepAlive);
        assert!(
            again
                .head()
                .fields()
                .all(|field| again.head().passes(&field) || field.raw == b"transfer-encoding")
        );
    }
}

/// A relayed head is never one that a client could misread: what is written for it reads back as itself.
pub fn relayed_heads_read_back(trace: &Trace) {
    let same = |again: &ResponseHead, head: &ResponseHead, lengths_max: usize| {
        assert_eq!((again.status(), again.reason()), (head.status(), head.reason()));
        assert!(again.head().values_of(b"content-length").count() <= lengths_max);
    };
    for step in &trace.steps {
        match &step.event {
            Event::Interim(head) | Event::Response(head, _) if !has_room(head.head()) => {}
            Event::Interim(head) => same(&written_interim(head), head, 0),
            Event::Response(head, framing) => same(&written_answer(head, *framing), head, 1),
            Event::Request(_) | Event::Data(_) | Event::End | Event::NeedMore => {}
        }
    }
}
