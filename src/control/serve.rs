//! The admin API's connections: their clocks, and manners towards those that are refused.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use super::live;
use super::permission::{Over, Refusal, judge};
use super::places::{Place, WaitsFor};
use super::state::Control;
use crate::base::address::Address;
use crate::base::limits::{
    ADMIN_HEAD_TIME, ADMIN_REQUEST_BYTES_MAX, ADMIN_TIMEOUT, LINGER_PAUSE, LINGER_TIME, ROOM_PAUSE, TICK,
};
use crate::base::rng::entropy;
use crate::codec::encode::{OwnHead, write_reply};
use crate::codec::error::CodecError;
use crate::codec::field::FieldName;
use crate::codec::framing::Framing;
use crate::codec::head::RequestHead;
use crate::codec::method::Method;
use crate::codec::progress::Progress;
use crate::codec::reply::{ErrorReply, LocalReply};
use crate::codec::request::{RequestEvent, RequestReader};
use crate::codec::version::{Reuse, Version};
use crate::codec::write::ConnectionField;
use crate::net::listen::Listener;
use crate::net::stream::{Socket, Stream, Whole};
use crate::proxy::state::RequestId;

/// Serves the admin API for the life of the process, or until a successor does.
pub(super) async fn serve(listener: &Listener, control: &Rc<Control>) {
    let over = match listener.address() {
        Address::Tcp(_) => Over::Network,
        Address::Unix(_) => Over::UnixSocket,
    };
    let places = &control.places;
    while !control.replaced.is_set() {
        if !places.may_take_one() || ready(listener, control).await.is_err() {
            monoio::time::sleep(TICK).await;
            continue;
        }
        if places.are_taken() {
            // Whoever has said something by now is heard before somebody has to go.
            monoio::time::sleep(ROOM_PAUSE).await;
        }
        match listener.accept() {
            Ok(Some((socket, _))) => {
                let (place, control) = (places.take(), Rc::clone(control));
                monoio::spawn(async move {
                    let served = serve_one(socket, over, &place, Rc::clone(&control));
                    let _ = control.guarded(served).await;
                });
            }
            Ok(None) => {}
            // Out of descriptors: one that does nothing has to go.
            Err(_) => {
                places.clear_one();
                monoio::time::sleep(TICK).await;
            }
        }
    }
}

/// Waits for a connection, or until a successor takes them.
async fn ready(listener: &Listener, control: &Control) -> std::io::Result<()> {
    // Waiting for readiness takes nothing out of the socket, so it may be dropped.
    let mut ready = pin!(listener.ready());
    poll_fn(|cx| match control.replaced.poll_set(cx) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => ready.as_mut().poll(cx),
    })
    .await
}

/// What the wait for a request ended with.
enum Next {
    Head(RequestHead),
    /// The client is done.
    Over,
    Refused(ErrorReply),
}

async fn serve_one(socket: Socket, over: Over, place: &Place, control: Rc<Control>) -> std::io::Result<()> {
    let mut stream = Whole::adopt(socket)?.split();
    let mut requests = RequestReader::new(ADMIN_REQUEST_BYTES_MAX);
    loop {
        let next = place.unless_needed(WaitsFor::Request, next_head(&mut stream, &mut requests)).await;
        let (reply, head) = match next.unwrap_or(Next::Over) {
            Next::Over => return Ok(()),
            Next::Refused(refusal) => (Err(refusal), None),
            Next::Head(head) => {
                let reply = match admitted(&head, over, &control) {
                    Ok(()) if asks_for_events(&head) => {
                        let is_head = head.method() == Method::Head;
                        let told = live::tell(&mut stream, &control, is_head);
                        return place.unless_needed(WaitsFor::Rest, told).await.unwrap_or(Ok(()));
                    }
                    Ok(()) => {
                        let body = body(&mut stream, &mut requests, &head);
                        match place.unless_needed(WaitsFor::Rest, body).await {
                            Some(Ok(body)) => Ok(control.answer(&head, &body).await),
                            Some(Err(refusal)) => Err(refusal),
                            None => return Ok(()),
                        }
                    }
                    Err(refusal) => Err(refusal),
                };
                (reply, Some(head))
            }
        };
        let in_step = match &head {
            Some(_) if reply.is_ok() => true,
            // Nothing follows but the end of the request, which is an event of its own.
            Some(head) if head.framing() == Framing::Empty => requests.next(stream.reader.unread()).is_ok(),
            // The body of a refused request was not read: what follows cannot be the next one.
            Some(_) | None => false,
        };
        let connection = match &head {
            Some(_) if control.replaced.is_set() => ConnectionField::Close,
            Some(head) if in_step && head.head().reuse() == Reuse::KeepAlive => match head.head().version() {
                Version::Http10 => ConnectionField::KeepAlive,
                Version::Http11 => ConnectionField::Implied,
            },
            Some(_) | None => ConnectionField::Close,
        };
        // What was no request asked by no method that we know.
        let method = head.as_ref().map_or(Method::Other, |head| head.method());
        let reply = reply.unwrap_or_else(written_out);
        let sent = send(&mut stream, &reply, method, connection);
        match (place.unless_needed(WaitsFor::Rest, sent).await, connection) {
            (Some(Ok(())), ConnectionField::Implied | ConnectionField::KeepAlive) => {}
            (Some(Ok(())), ConnectionField::Close | ConnectionField::Switch) => {
                let _ = place.unless_needed(WaitsFor::Rest, linger(&mut stream)).await;
                return Ok(());
            }
            (Some(Err(error)), _) => return Err(error),
            (None, _) => return Ok(()),
        }
    }
}

/// Whether the answer goes on and on.
fn asks_for_events(head: &RequestHead) -> bool {
    matches!(head.method(), Method::Get | Method::Head) && head.path() == b"/live"
}

/// The next head. A client may keep silent for a while; a head that began has to come.
async fn next_head(stream: &mut Stream, requests: &mut RequestReader) -> Next {
    let mut due = Instant::now() + ADMIN_TIMEOUT;
    let mut began = false;
    loop {
        if !stream.reader.unread().is_empty() {
            match requests.next(stream.reader.unread()) {
                Ok(Progress::Ready(RequestEvent::Head(head))) => return Next::Head(head),
                Ok(Progress::Ready(RequestEvent::Data(_) | RequestEvent::End)) => {
                    unreachable!("between two requests a reader yields heads only")
                }
                Ok(Progress::NeedMore) if !began && !stream.reader.unread().is_empty() => {
                    began = true;
                    due = Instant::now() + ADMIN_HEAD_TIME;
                }
                Ok(Progress::NeedMore) => {}
                Err(broken) => return Next::Refused(of_codec(broken)),
            }
        }
        // The reader keeps a read that is left here.
        match monoio::time::timeout(left(due), stream.reader.fill()).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Next::Over,
            Err(_) if began => return Next::Refused(too_slow()),
            Err(_) => return Next::Over,
        }
    }
}

fn left(due: Instant) -> Duration {
    due.saturating_duration_since(Instant::now())
}

/// Whether the request is carried out, as far as its head says.
fn admitted(head: &RequestHead, over: Over, control: &Control) -> Result<(), ErrorReply> {
    judge(head, over, &control.plan().server).map_err(|refusal| match refusal {
        Refusal::ForeignHost => error(
            403,
            "forbidden",
            "This name is not one of the admin API's; use its address, or add the name to server.admin_hosts.",
        ),
        Refusal::ForeignPage => {
            error(403, "forbidden", "A page of another site sent this; only the admin API's own may.")
        }
        Refusal::NoToken => error(
            401,
            "unauthorized",
            "Show server.admin_token, as authorization: Bearer TOKEN or as the password of Basic.",
        ),
    })?;
    // An expectation in HTTP/1.0 is ignored (RFC 9110 §10.1.1).
    let mut expectations = head.head().values(FieldName::Expect);
    if head.head().version() == Version::Http11
        && expectations.any(|value| !value.eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(error(417, "expectation_failed", "The only expectation that is met is 100-continue."));
    }
    match head.framing() {
        Framing::Length(length) if length > ADMIN_REQUEST_BYTES_MAX as u64 => Err(too_large()),
        Framing::Length(_) | Framing::Empty | Framing::Chunked | Framing::UntilClose => Ok(()),
    }
}

/// Reads the request's body.
async fn body(
    stream: &mut Stream,
    requests: &mut RequestReader,
    head: &RequestHead,
) -> Result<Vec<u8>, ErrorReply> {
    if head.expects_continue() && head.framing() != Framing::Empty && stream.reader.unread().is_empty() {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
        let written = monoio::time::timeout(ADMIN_TIMEOUT, stream.writer.write(interim)).await;
        if !matches!(written, Ok(Ok(()))) {
            return Err(too_slow());
        }
    }
    let due = Instant::now() + ADMIN_TIMEOUT;
    let mut read = Vec::new();
    loop {
        match requests.next(stream.reader.unread()) {
            Ok(Progress::Ready(RequestEvent::Data(data))) => read.extend_from_slice(&data),
            Ok(Progress::Ready(RequestEvent::End)) => return Ok(read),
            Ok(Progress::Ready(RequestEvent::Head(_))) => {
                unreachable!("a request ends before the next one begins")
            }
            Ok(Progress::NeedMore) => match monoio::time::timeout(left(due), stream.reader.fill()).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(_) => return Err(too_slow()),
            },
            Err(broken) => return Err(of_codec(broken)),
        }
        if read.len() > ADMIN_REQUEST_BYTES_MAX {
            return Err(too_large());
        }
    }
}

async fn send(
    stream: &mut Stream,
    reply: &LocalReply,
    method: Method,
    connection: ConnectionField,
) -> std::io::Result<()> {
    let mut out = Vec::new();
    let date = httpdate::fmt_http_date(SystemTime::now());
    write_reply(&mut out, reply, method, OwnHead { connection, date: date.as_bytes(), signature: None });
    match monoio::time::timeout(ADMIN_TIMEOUT, stream.writer.write(out)).await {
        Ok(written) => written,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

/// Ends our side and drops what the client still sends, within bounds, so that it reads the answer and not a reset
/// (RFC 9112 §9.6).
async fn linger(stream: &mut Stream) {
    if stream.writer.shutdown().is_err() {
        return;
    }
    let by = Instant::now() + LINGER_TIME;
    loop {
        stream.reader.unread().clear();
        match monoio::time::timeout(left(by).min(LINGER_PAUSE), stream.reader.fill()).await {
            Ok(Ok(1..)) if Instant::now() < by => {}
            Ok(Ok(_) | Err(_)) | Err(_) => return,
        }
    }
}

fn error(status: u16, code: &'static str, message: &str) -> ErrorReply {
    ErrorReply { should_retry: (status == 408).then_some(true), ..ErrorReply::new(status, code, message) }
}

fn too_slow() -> ErrorReply {
    error(408, "request_timeout", "The request did not arrive in time; send it again, faster.")
}

fn too_large() -> ErrorReply {
    error(413, "body_too_large", "No request here needs a body of this length; leave it out.")
}

fn of_codec(broken: CodecError) -> ErrorReply {
    let status = broken.status();
    let code = match status {
        414 => "uri_too_long",
        431 => "head_too_large",
        501 => "not_implemented",
        _ => "bad_request",
    };
    error(status, code, &format!("The message breaks HTTP/1.1: {broken}."))
}

/// An answer of the shape that the gateway's own answers have; a refused credential is asked for in both ways.
fn written_out(refusal: ErrorReply) -> LocalReply {
    let status = refusal.status;
    let mut reply = refusal.into_reply(RequestId::new(entropy(), entropy()).as_str());
    if status == 401 {
        for challenge in ["Bearer realm=\"corelane\"", "Basic realm=\"corelane\", charset=\"UTF-8\""] {
            reply.fields.push(("www-authenticate", challenge.to_owned()));
        }
    }
    reply
}
