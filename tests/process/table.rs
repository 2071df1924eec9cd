//! Every row of the codec's case table, sent for real: what the upstream and the client see of it.

use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::cases::{Outcome, Request, RequestCase, Response, ResponseCase, request_cases, response_cases};
use crate::support::{Gateway, PATIENCE, one_cluster};
use crate::wire::{Body, End, Message, Wire};

/// Rows up to this many bytes are sent byte by byte too.
const TRICKLED_MAX: usize = 600;

/// What the gateway writes into each request by itself, besides Via.
const ADDED: [&str; 8] = [
    "host",
    "content-length",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
    "traceparent",
];

#[test]
fn each_request_of_the_table_reaches_the_upstream_as_its_row_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (sender, seen) = channel();
    std::thread::spawn(move || echo(listener, sender));
    let gateway = one_lane(&host);
    for case in request_cases() {
        told(&case.name, || {
            let story = Story { gateway: &gateway, seen: &seen, host: &host, case: &case };
            story.run(usize::MAX);
            if case.input.len() <= TRICKLED_MAX {
                story.run(1);
            }
            // Nothing but this one reaches the upstream: had the row left a request behind, it would come first.
            let mut next = connect(&gateway);
            next.send(b"GET /next HTTP/1.1\r\nhost: next\r\n\r\n");
            assert_eq!(seen.recv_timeout(PATIENCE).unwrap().start, b"GET /next HTTP/1.1");
            assert_eq!(answer(&mut next, "GET").body, b"/next");
        });
    }
    drop(gateway);
    assert!(seen.try_recv().is_err(), "a request came late");
}

/// An upstream that tells every complete request it gets, and answers each with its target.
fn echo(listener: TcpListener, seen: Sender<Message>) {
    for stream in listener.incoming().flatten() {
        let seen = seen.clone();
        std::thread::spawn(move || {
            let mut wire = Wire::new(stream);
            wire.wait_for_ever();
            while let Some(message) = wire.message(|_| Body::OfRequest) {
                if message.end.is_some() {
                    return;
                }
                let line = String::from_utf8(message.start.clone()).unwrap();
                let (method, target) = line.rsplit_once(' ').unwrap().0.split_once(' ').unwrap();
                let body = if method == "HEAD" { "" } else { target };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", target.len());
                if seen.send(message).is_err() {
                    return;
                }
                wire.send(answer.as_bytes());
            }
        });
    }
}

/// One row about requests, and those who play it.
struct Story<'s> {
    gateway: &'s Gateway,
    seen: &'s Receiver<Message>,
    host: &'s str,
    case: &'s RequestCase,
}

impl Story<'_> {
    /// Sends the row in pieces of this size.
    fn run(&self, piece: usize) {
        let mut client = connect(self.gateway);
        self.case.input.chunks(piece).for_each(|piece| client.send(piece));
        for request in &self.case.requests {
            match (&request.answered, request.is_cut) {
                (Some((status, code)), is_cut) => {
                    let answer = answer(&mut client, &request.method);
                    refused(&answer, *status, code);
                    // A body that is still on its way is not waited for; behind CONNECT bytes of a tunnel may follow.
                    let closes = answer.value("connection").as_deref() == Some("close");
                    if closes && (!request.body.is_empty() || request.method == "CONNECT") {
                        assert_eq!(client.end(), End::Closed);
                        return;
                    }
                    assert!(!is_cut, "the rest of the body would be the next request");
                }
                (None, true) => break,
                (None, false) => {
                    self.reached(request);
                    let answer = answer(&mut client, &request.method);
                    let body = if request.method == "HEAD" { b"" } else { request.target.as_bytes() };
                    assert_eq!((&answer.start[..], &answer.body[..]), (&b"HTTP/1.1 200 OK"[..], body));
                    assert_eq!(answer.value("connection").as_deref() != Some("close"), request.keeps);
                }
            }
            if !request.keeps {
                assert_eq!(client.end(), End::Closed);
                return;
            }
        }
        let waits = !self.case.left.is_empty() || self.case.requests.last().is_some_and(|last| last.is_cut);
        match &self.case.refused {
            Some(refusal) => {
                let code = match refusal.status {
                    414 => "uri_too_long",
                    431 => "head_too_large",
                    501 => "not_implemented",
                    _ => "bad_request",
                };
                let answer = answer(&mut client, "GET");
                refused(&answer, refusal.status, code);
                assert_eq!(answer.value("connection").as_deref(), Some("close"));
                assert_eq!(client.end(), End::Closed);
            }
            // The client leaves in the middle.
            None if waits => {}
            // The connection lives on.
            None => {
                client.send(b"GET /again HTTP/1.1\r\nhost: a\r\n\r\n");
                assert_eq!(self.seen.recv_timeout(PATIENCE).unwrap().start, b"GET /again HTTP/1.1");
                assert_eq!(answer(&mut client, "GET").body, b"/again");
            }
        }
    }

    /// The upstream saw exactly this request.
    fn reached(&self, request: &Request) {
        let seen = self.seen.recv_timeout(PATIENCE).expect("the request does not reach the upstream");
        assert_eq!(
            String::from_utf8_lossy(&seen.start),
            format!("{} {} HTTP/1.1", request.method, request.target)
        );
        assert_eq!(seen.value("host").as_deref(), Some(self.host));
        let framing = match (seen.value("transfer-encoding"), seen.value("content-length")) {
            (Some(_), None) => "chunked",
            (None, Some(length)) if length != "0" => "length",
            (None, _) => "empty",
            (Some(_), Some(_)) => "both",
        };
        assert_eq!(framing, request.framing);
        assert!(seen.body == request.body, "the body changed on its way");
        assert_eq!(seen.value("x-forwarded-host").unwrap_or_default(), request.authority);
        assert_eq!(seen.value("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        assert_eq!(seen.values("x-request-id").len(), 1);
        let mut fields = seen.fields_but(&ADDED);
        let via = text(&fields.pop().unwrap());
        assert!(via == "via: 1.1 corelane" || via == "via: 1.0 corelane", "{via}");
        assert_eq!(texts(&fields), texts(&request.fields));
    }
}

#[test]
fn each_answer_of_the_table_reaches_the_client_as_its_row_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = one_lane(&listener.local_addr().unwrap().to_string());
    for case in response_cases() {
        told(&case.name, || {
            play(&case, usize::MAX, &gateway, &listener);
            // Bytes behind the end that come later cannot be told from the beginning of the next answer, by anyone.
            let has_more = matches!(&case.outcome, Outcome::Relayed(response) if !response.left.is_empty());
            if case.answer.len() <= TRICKLED_MAX && !has_more {
                play(&case, 1, &gateway, &listener);
            }
        });
    }
}

/// Plays one row about answers, sent in pieces of this size. Each begins without an idle connection to the upstream and leaves none.
fn play(case: &ResponseCase, piece: usize, gateway: &Gateway, listener: &TcpListener) {
    let mut client = connect(gateway);
    let length = if case.asked == "POST" { "content-length: 0\r\n" } else { "" };
    let ask = format!("{} / HTTP/{}\r\nhost: a\r\n{length}\r\n", case.asked, case.version);
    client.send(ask.as_bytes());
    let mut upstream = accept(listener);
    upstream.message(|_| Body::OfRequest).unwrap();
    case.answer.chunks(piece).for_each(|piece| upstream.send(piece));
    if case.closes {
        upstream.finish();
    }
    let interim = if case.version == "1.0" { &[][..] } else { &case.interim };
    for expected in interim {
        let got = client.message(|_| Body::Never).expect("an interim answer");
        let fields: String = texts(&got.fields).iter().map(|field| format!("; {field}")).collect();
        assert_eq!(format!("{}{fields}", &text(&got.start)[9..12]), *expected);
    }
    let got = answer(&mut client, &case.asked);
    let reuse = match &case.outcome {
        Outcome::Refused { code, .. } => {
            if case.asked == "HEAD" {
                assert!(got.start.starts_with(b"HTTP/1.1 502 "));
            } else {
                refused(&got, 502, code);
            }
            assert!(got.value("proxy-status").unwrap().starts_with("corelane; error="));
            false
        }
        Outcome::Relayed(response) => {
            relayed(&got, response);
            response.reuse
        }
    };
    if got.end.is_some() || got.value("connection").as_deref() == Some("close") {
        if got.end.is_none() {
            assert_eq!(client.end(), End::Closed);
        }
        client = connect(gateway);
    }
    if !reuse {
        // Nothing more is asked on it: it ends. What the gateway left unread there makes that a reset.
        upstream.end();
        client.send(b"GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
        upstream = accept(listener);
    } else {
        client.send(b"GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    assert_eq!(upstream.message(|_| Body::OfRequest).unwrap().start, b"GET /next HTTP/1.1");
    upstream.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nnext");
    assert_eq!(answer(&mut client, "GET").body, b"next");
    upstream.end();
}

/// The client saw exactly this answer, whole or visibly broken.
fn relayed(got: &Message, expected: &Response) {
    let start = [format!("HTTP/1.1 {} ", expected.status).as_bytes(), &expected.reason].concat();
    assert_eq!(text(&got.start), text(&start));
    let framing = match (got.value("transfer-encoding"), got.value("content-length")) {
        (Some(_), None) => "chunked",
        (None, length) if expected.to_client == "empty" => {
            assert_eq!(length, expected.length);
            "empty"
        }
        (None, Some(_)) => "length",
        (None, None) => "close",
        (Some(_), Some(_)) => "both",
    };
    assert_eq!(framing, expected.to_client);
    match (expected.broken.is_some(), framing) {
        // Without a length or a last chunk only a reset tells a cut answer; it may overtake the body.
        (true, "close") => assert_eq!(got.end, Some(End::Reset)),
        (true, _) => {
            assert!(got.end.is_some(), "a broken answer looks whole");
            assert_eq!(text(&got.body), text(&expected.body));
        }
        (false, _) => {
            assert_eq!(got.end, (framing == "close").then_some(End::Closed));
            assert!(got.body == expected.body, "the body changed on its way");
        }
    }
    assert_eq!(got.values("x-request-id").len(), 1);
    let mut fields = got.fields_but(&["content-length", "transfer-encoding", "connection", "x-request-id"]);
    let via = text(&fields.pop().unwrap());
    assert!(via == "via: 1.1 corelane" || via == "via: 1.0 corelane", "{via}");
    // An answer that is not dated is dated here, and only here.
    assert_eq!(got.values("date").len(), 1);
    if !expected.fields.iter().any(|field| field.to_ascii_lowercase().starts_with(b"date:")) {
        fields.retain(|field| !field.starts_with(b"date: "));
    }
    assert_eq!(texts(&fields), texts(&expected.fields));
}

/// An answer of our own, in the shape that clients parse.
fn refused(answer: &Message, status: u16, code: &str) {
    let start = text(&answer.start);
    assert!(start.starts_with(&format!("HTTP/1.1 {status} ")), "{start} instead of {status}");
    if code.is_empty() {
        assert!(answer.body.is_empty());
        return;
    }
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["code"], code);
    assert_eq!(answer.value("x-request-id").as_deref(), body["error"]["request_id"].as_str());
}

/// The next final answer that a client gets.
fn answer(client: &mut Wire, method: &str) -> Message {
    let kind = |start: &[u8]| match &start[9..12] {
        _ if method == "HEAD" => Body::Never,
        b"204" | b"304" => Body::Never,
        _ => Body::OfAnswer,
    };
    client.message(kind).expect("an answer")
}

/// One lane, so that what one exchange leaves behind is there for the next.
fn one_lane(upstream: &str) -> Gateway {
    let config = one_cluster(&[&format!("http://{upstream}")])
        .replace("[[route]]", "keep_alive = { idle = \"60s\" }\n[[route]]");
    Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", "1"])
}

fn connect(gateway: &Gateway) -> Wire {
    Wire::new(TcpStream::connect(&gateway.listening[0]).unwrap())
}

fn accept(listener: &TcpListener) -> Wire {
    Wire::new(listener.accept().unwrap().0)
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn texts(lines: &[Vec<u8>]) -> Vec<String> {
    lines.iter().map(|line| text(line)).collect()
}

/// Says which row it was, should `check` fail.
fn told(name: &str, check: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(check)) {
        eprintln!("in the row {name}");
        resume_unwind(panic);
    }
}
