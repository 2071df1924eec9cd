//! The codec from outside: every split of the same bytes gives the same events, and nothing is lost.

use bytes::BytesMut;
use corelane::codec::Progress;
use corelane::codec::error::CodecError;
use corelane::codec::head::Method;
use corelane::codec::request::{RequestEvent, RequestReader};
use corelane::codec::response::{ResponseEvent, ResponseReader};

/// What a reader made of some bytes: events with adjacent data joined, the bytes left, the error.
type Seen = (Vec<String>, Vec<u8>, Option<CodecError>);

fn note(events: &mut Vec<String>, event: String) {
    match events.last_mut() {
        Some(last) if last.starts_with("data ") && event.starts_with("data ") => last.push_str(&event[5..]),
        _ => events.push(event),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Feeds `pieces` one after the other to a request reader.
fn requests(pieces: &[&[u8]]) -> Seen {
    let mut reader = RequestReader::new(4096);
    let (mut input, mut events) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.next(&mut input) {
                Ok(Progress::Ready(RequestEvent::Head(head))) => note(
                    &mut events,
                    format!("head {:?} {:?} {:?}", head.method(), hex(head.path_and_query()), head.framing()),
                ),
                Ok(Progress::Ready(RequestEvent::Data(data))) => {
                    note(&mut events, format!("data {}", hex(&data)))
                }
                Ok(Progress::Ready(RequestEvent::End)) => note(&mut events, "end".into()),
                Ok(Progress::NeedMore) => break,
                Err(error) => return (events, Vec::new(), Some(error)),
            }
        }
    }
    (events, input.to_vec(), None)
}

fn responses(pieces: &[&[u8]]) -> Seen {
    let mut reader = ResponseReader::new();
    reader.expect(Method::Get);
    let (mut input, mut events) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.next(&mut input) {
                Ok(Progress::Ready(ResponseEvent::Interim(head))) => {
                    note(&mut events, format!("interim {}", head.status()))
                }
                Ok(Progress::Ready(ResponseEvent::Head(head, framing))) => {
                    note(&mut events, format!("head {} {framing:?}", head.status()));
                }
                Ok(Progress::Ready(ResponseEvent::Data(data))) => {
                    note(&mut events, format!("data {}", hex(&data)))
                }
                Ok(Progress::Ready(ResponseEvent::End)) => note(&mut events, "end".into()),
                Ok(Progress::NeedMore) => break,
                Err(error) => return (events, Vec::new(), Some(error)),
            }
        }
    }
    (events, input.to_vec(), None)
}

const REQUESTS: [&str; 12] = [
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "\r\nGET /a?b HTTP/1.0\r\n\r\nGET /c HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n1\r\nd\r\n0\r\nx: 1\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET http://b/x HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET / HTTP/1.1\nhost: a\n\n",
    "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd",
    "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nincomplete",
];

const RESPONSES: [&str; 9] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 204 None\r\n\r\n",
    "HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
    "HTTP/1.1 101 Switching\r\n\r\n",
    "HTTP/1.1 999 No\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcX",
    "ICY 200 OK\r\n\r\n",
];

#[test]
fn split_blind_and_conserving_for_every_split_into_two_and_into_single_bytes() {
    type Read = fn(&[&[u8]]) -> Seen;
    let readers: [(&[&str], Read); 2] = [(&REQUESTS, requests), (&RESPONSES, responses)];
    for (cases, read) in readers {
        for case in cases {
            let bytes = case.as_bytes();
            let whole = read(&[bytes]);
            for at in 0..=bytes.len() {
                let split = read(&[&bytes[..at], &bytes[at..]]);
                assert_same(&split, &whole, case, at);
            }
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_same(&read(&single), &whole, case, 1);
        }
    }
}

/// An error may show earlier than the bytes behind it, but never as another rule and never after more events.
fn assert_same(seen: &Seen, whole: &Seen, case: &str, at: usize) {
    assert_eq!(seen.0, whole.0, "{case:?} split at {at}");
    assert_eq!(seen.1, whole.1, "{case:?} split at {at}");
    assert_eq!(seen.2.map(|error| error.rule), whole.2.map(|error| error.rule), "{case:?} split at {at}");
}

#[test]
fn linear_however_the_bytes_trickle() {
    // A head of 4,000 bytes in single bytes would cost 8 million looks if each began at the start.
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(3900));
    let single: Vec<_> = head.as_bytes().chunks(1).collect();
    assert_eq!(requests(&single).0.len(), 2);
}

#[test]
fn bounded_heads_and_final_errors() {
    let endless = vec![b'x'; 5000];
    let (events, _, error) = requests(&[b"GET / HTTP/1.1\r\nhost: a\r\nx: ", &endless]);
    assert!(events.is_empty() && error.is_some_and(|error| error.status() == 431));
    let mut reader = RequestReader::new(4096);
    let mut input = BytesMut::from("GET / HTTP/1.1\n\n");
    let first = reader.next(&mut input).unwrap_err();
    let mut next = BytesMut::from("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(reader.next(&mut next).unwrap_err(), first);
}

/// Whatever the readers accept, httparse accepts and reads the same.
#[test]
fn what_is_accepted_httparse_reads_the_same() {
    for case in REQUESTS {
        let (events, _, error) = requests(&[case.as_bytes()]);
        if error.is_some() || events.is_empty() {
            continue;
        }
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut witness = httparse::Request::new(&mut fields);
        assert!(witness.parse(case.as_bytes()).unwrap().is_complete(), "{case:?}");
        assert!(
            events[0].contains(&hex(witness.path.unwrap().trim_start_matches("http://b").as_bytes())),
            "{case:?}"
        );
    }
}
