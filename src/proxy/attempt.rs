//! One attempt: a pooled or a new connection, the request sent, the response head awaited.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::decide::{Identity, write_upstream};
use super::downstream::Client;
use super::ear::{Ear, Interrupt};
use super::exchange::Exchange;
use super::hold::Held;
use super::state::{EndpointOnLane, InFlight, LaneState};
use super::upstream::{AnswerHead, Upstream, poll_head};
use crate::base::fault::{Fault, FaultKind, Sent, Side, Stage};
use crate::base::ids::EndpointId;
use crate::base::limits::{RELAY_BYTES, RELAY_BYTES_LARGE, WRITE_STALL};
use crate::base::time::{deadline, earlier};
use crate::cluster::dispatch::{Connection, Failure};
use crate::codec::chunked::{write_chunk, write_last_chunk};
use crate::codec::encode::write_interim;
use crate::codec::framing::Framing;
use crate::codec::head::ResponseHead;
use crate::codec::progress::Progress;
use crate::codec::request::RequestEvent;
use crate::codec::version::Version;
use crate::net::connect::connect_any;
use crate::plan::Timeouts;

/// An answer that began: its head is read, its body is still with the upstream.
pub(super) struct Answer {
    pub(super) upstream: Box<Upstream>,
    pub(super) head: ResponseHead,
    pub(super) framing: Framing,
    pub(super) in_flight: InFlight,
    /// Whether all of the request was sent before the answer came.
    pub(super) request: Upload,
    pub(super) timeouts: Timeouts,
}

/// How much of the request body went upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upload {
    /// All of it.
    Complete,
    /// The answer came first: both connections end with this exchange.
    CutShort,
}

/// Tries one endpoint.
pub(super) async fn run(
    exchange: &mut Exchange,
    client: &mut Client,
    lane: &LaneState,
    id: EndpointId,
    wanted: Connection,
) -> Result<Answer, Failure> {
    let endpoint = Rc::clone(&exchange.plan.endpoints[id]);
    let cluster = &exchange.plan.plan.clusters[exchange.plan.plan.endpoints[id].cluster];
    let timeouts = cluster.timeouts;
    let in_flight = InFlight::reserve(&endpoint, lane.lane);
    exchange.tally.endpoint = Some(id);
    exchange.tally.attempts += 1;

    // Nothing was waited for since the head was complete, unless the body was or another attempt.
    let is_first = exchange.tally.attempts == 1 && exchange.held.is_none();
    let begun = if is_first { exchange.tally.arrival.complete } else { Instant::now() };
    let (mut upstream, on, connected) = match take(exchange, &endpoint, id, wanted, begun) {
        Some(upstream) => (upstream, Connection::Pooled, begun),
        None => match connect(exchange, client, id, timeouts, begun).await {
            Ok((upstream, connected)) => (upstream, Connection::Fresh, connected),
            Err(fault) => return Err(Failure { fault, on: Connection::Fresh }),
        },
    };
    exchange.tally.reused = on == Connection::Pooled;
    let answered = converse(exchange, client, &mut upstream, id, timeouts, connected).await;
    match answered {
        Ok((head, framing, request)) => Ok(Answer { upstream, head, framing, in_flight, request, timeouts }),
        Err(fault) => Err(Failure { fault, on }),
    }
}

fn take(
    exchange: &Exchange,
    endpoint: &EndpointOnLane,
    id: EndpointId,
    wanted: Connection,
    now: Instant,
) -> Option<Box<Upstream>> {
    let upstream = match wanted {
        Connection::Pooled => endpoint.checkout(now),
        Connection::Fresh => None,
    };
    let counts = &mut exchange.plan.recorder.borrow_mut().endpoints[id];
    match upstream {
        Some(_) => counts.reused += 1,
        None => counts.connects += 1,
    }
    upstream
}

async fn connect(
    exchange: &mut Exchange,
    client: &mut Client,
    id: EndpointId,
    timeouts: Timeouts,
    begun: Instant,
) -> Result<(Box<Upstream>, Instant), Fault> {
    let fault = |kind| Fault::upstream(Stage::Connect, kind, Sent::Nothing);
    let addresses = &exchange.plan.plan.endpoints[id].addresses;
    client.ear.wait_until(earlier(deadline(begun, Some(timeouts.connect)), exchange.deadline));
    let connected = client.ear.during(connect_any(addresses)).await;
    let now = Instant::now();
    exchange.tally.waited += now - begun;
    exchange.tally.phases.connect += now - begun;
    match connected {
        Ok(Ok(stream)) => Ok((Upstream::new(stream), now)),
        Ok(Err(_)) => Err(fault(FaultKind::Refused)),
        Err(Interrupt::Expired) => Err(fault(FaultKind::Timeout)),
        Err(Interrupt::ClientLeft) => Err(Fault::client_left(Stage::Connect, Sent::Nothing)),
    }
}

type Answered = (ResponseHead, Framing, Upload);

/// Sends the request and waits for the final head of its answer.
async fn converse(
    exchange: &mut Exchange,
    client: &mut Client,
    upstream: &mut Upstream,
    id: EndpointId,
    timeouts: Timeouts,
    connected: Instant,
) -> Result<Answered, Fault> {
    write_head(exchange, client, upstream, id);
    if let Some(held) = &mut exchange.held {
        held.rewind();
    }
    upstream.responses.expect(exchange.head.method());
    let kept_waiting = exchange.tally.waited_client;
    let early = send_request(exchange, client, upstream).await;
    let sent = Instant::now();
    exchange.tally.phases.send += sent - connected;
    let writing = (sent - connected).saturating_sub(exchange.tally.waited_client - kept_waiting);
    if writing > WRITE_STALL {
        exchange.tally.waited += writing;
    }
    if let Some((head, framing)) = early? {
        exchange.tally.answered = Some(sent);
        return Ok((head, framing, Upload::CutShort));
    }
    client.ear.wait_until(earlier(deadline(sent, timeouts.first_byte), exchange.deadline));
    let answered = await_head(exchange, client, upstream).await;
    let now = Instant::now();
    exchange.tally.waited += now - sent;
    exchange.tally.phases.wait += now - sent;
    let (head, framing) = answered?;
    exchange.tally.answered = Some(now);
    Ok((head, framing, Upload::Complete))
}

/// Sends head and body as the body comes. Some final head if the upstream answered before it had all of it.
async fn send_request(
    exchange: &mut Exchange,
    client: &mut Client,
    upstream: &mut Upstream,
) -> Result<Option<(ResponseHead, Framing)>, Fault> {
    loop {
        let body = take_body(exchange, &mut client.ear, upstream)?;
        client.ear.wait_until(exchange.deadline);
        let mut early = send(exchange, client, upstream, body).await?;
        if early.is_none() && body == Body::Starved {
            early = more_body(exchange, client, upstream).await?;
        }
        if early.is_some() || body == Body::Complete {
            return Ok(early);
        }
    }
}

/// Waits for the final head, relaying interim ones on the way.
async fn await_head(
    exchange: &Exchange,
    client: &mut Client,
    upstream: &mut Upstream,
) -> Result<(ResponseHead, Framing), Fault> {
    loop {
        let Upstream { reader, responses, .. } = upstream;
        let head = client.ear.during(poll_fn(|cx| poll_head(reader, responses, Sent::Wholly, cx))).await;
        match head {
            Ok(Ok(AnswerHead::Final(head, framing))) => return Ok((head, framing)),
            Ok(Ok(AnswerHead::Interim(head))) => relay_interim(exchange, client, &head).await?,
            Ok(Err(fault)) => return Err(fault),
            Err(interrupt) => return Err(interrupted(interrupt, Stage::Wait, Sent::Wholly)),
        }
    }
}

fn write_head(exchange: &Exchange, client: &Client, upstream: &mut Upstream, id: EndpointId) {
    upstream.out.clear();
    let route = exchange.tally.route.expect("a request is forwarded by the route that was found for it");
    let identity = Identity {
        sender: &client.sender,
        trace: &exchange.trace,
        request_id: exchange.request_id.as_bytes(),
        is_held: exchange.held.is_some(),
    };
    write_upstream(&mut upstream.out, &exchange.plan.plan, (route, id), &exchange.head, &identity);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// All of it is in the upstream's buffer.
    Complete,
    /// One step is; more has arrived.
    StepFull,
    /// What has arrived is; the client sends more.
    Starved,
}

/// Moves what has arrived of the request body into the upstream's buffer, up to one step.
fn take_body(exchange: &mut Exchange, ear: &mut Ear, upstream: &mut Upstream) -> Result<Body, Fault> {
    if let Some(held) = &mut exchange.held {
        return Ok(take_held(held, exchange.head.framing(), upstream));
    }
    // A request without a body is complete already; one that is sent again has none.
    if ear.requests.is_between() {
        return Ok(Body::Complete);
    }
    ear.arrived = false;
    let framing = exchange.head.framing();
    let refused = |kind| Fault { side: Side::Downstream, stage: Stage::Send, kind, sent: Sent::Partly };
    // Pipelined bytes of the next request stay where they are: the reader stops at the end of this one.
    while upstream.out.len() < RELAY_BYTES_LARGE {
        match ear.requests.next(ear.reader.unread()) {
            Ok(Progress::Ready(RequestEvent::Data(data))) => {
                exchange.tally.bytes_in += data.len() as u64;
                if exchange.tally.bytes_in > exchange.body_max {
                    return Err(refused(FaultKind::BodyTooLarge));
                }
                match framing {
                    Framing::Chunked => write_chunk(&mut upstream.out, &data),
                    Framing::Length(_) | Framing::Empty | Framing::UntilClose => {
                        upstream.out.extend_from_slice(&data)
                    }
                }
            }
            Ok(Progress::Ready(RequestEvent::End)) => {
                if framing == Framing::Chunked {
                    write_last_chunk(&mut upstream.out);
                }
                return Ok(Body::Complete);
            }
            Ok(Progress::Ready(RequestEvent::Head(_))) => {
                unreachable!("a reader yields no second head before the end of the first request")
            }
            Ok(Progress::NeedMore) => return Ok(Body::Starved),
            Err(broken) => {
                exchange.broken = Some(broken);
                return Err(refused(FaultKind::BadMessage));
            }
        }
    }
    Ok(Body::StepFull)
}

/// Moves what is held of the request body into the upstream's buffer, up to one step.
fn take_held(held: &mut Held, framing: Framing, upstream: &mut Upstream) -> Body {
    while upstream.out.len() < RELAY_BYTES_LARGE {
        match (held.next(), framing) {
            (Some(piece), Framing::Chunked) => write_chunk(&mut upstream.out, &piece),
            (Some(piece), _) => upstream.out.extend_from_slice(&piece),
            (None, Framing::Chunked) => {
                write_last_chunk(&mut upstream.out);
                return Body::Complete;
            }
            (None, _) => return Body::Complete,
        }
    }
    Body::StepFull
}

/// Writes what is in the upstream's buffer. Some final head if the upstream answered before it took all.
async fn send(
    exchange: &Exchange,
    client: &mut Client,
    upstream: &mut Upstream,
    body: Body,
) -> Result<Option<(ResponseHead, Framing)>, Fault> {
    if upstream.out.is_empty() {
        return Ok(None);
    }
    // A small request is taken at once: its answer is what is waited for.
    let goes_alone = body == Body::Complete && upstream.out.len() <= RELAY_BYTES;
    upstream.writer.start(std::mem::take(&mut upstream.out));
    if goes_alone && upstream.writer.is_under_way() {
        return Ok(None);
    }
    loop {
        let Upstream { reader, writer, responses, .. } = upstream;
        let event = poll_fn(|cx| {
            if let Poll::Ready(result) = writer.poll_idle(cx) {
                return Poll::Ready(Ok(SendEvent::Written(result)));
            }
            // Beside the write, the read that the answer will come by is posted; an upstream that refuses a body
            // before reading it would otherwise never be heard.
            if let Poll::Ready(head) = poll_head(reader, responses, Sent::Partly, cx) {
                return Poll::Ready(head.map(SendEvent::Head));
            }
            client.ear.poll_interrupt(cx).map(|why| Err(interrupted(why, Stage::Send, Sent::Partly)))
        })
        .await?;
        match event {
            SendEvent::Written(Ok(())) => {
                upstream.take_buffer();
                return Ok(None);
            }
            SendEvent::Written(Err(_)) => return Ok(Some(last_words(client, reader, responses).await?)),
            SendEvent::Head(AnswerHead::Final(head, framing)) => return Ok(Some((head, framing))),
            SendEvent::Head(AnswerHead::Interim(head)) => relay_interim(exchange, client, &head).await?,
        }
    }
}

enum SendEvent {
    Written(std::io::Result<()>),
    Head(AnswerHead),
}

/// The upstream takes no more bytes: it may have answered before it closed.
async fn last_words(
    client: &mut Client,
    reader: &mut crate::net::reader::Reader,
    responses: &mut crate::codec::response::ResponseReader,
) -> Result<(ResponseHead, Framing), Fault> {
    loop {
        match client.ear.during(poll_fn(|cx| poll_head(reader, responses, Sent::Partly, cx))).await {
            Ok(Ok(AnswerHead::Final(head, framing))) => return Ok((head, framing)),
            Ok(Ok(AnswerHead::Interim(_))) => {}
            Ok(Err(fault)) => return Err(Fault { stage: Stage::Send, ..fault }),
            Err(why) => return Err(interrupted(why, Stage::Send, Sent::Partly)),
        }
    }
}

/// Waits for more of the request body. Some final head if the upstream answered instead of waiting for it.
async fn more_body(
    exchange: &mut Exchange,
    client: &mut Client,
    upstream: &mut Upstream,
) -> Result<Option<(ResponseHead, Framing)>, Fault> {
    loop {
        if client.ear.arrived {
            return Ok(None);
        }
        let since = Instant::now();
        let rate = exchange.plan.plan.limits.body_rate;
        let too_slow = exchange.pace.deadline(rate, exchange.tally.bytes_in, since);
        client.ear.wait_until(earlier(too_slow, exchange.deadline));
        let Upstream { reader, responses, .. } = upstream;
        let event = poll_fn(|cx| {
            if let Poll::Ready(filled) = client.ear.reader.poll_fill(cx) {
                return Poll::Ready(Ok(BodyEvent::Filled(filled)));
            }
            if let Poll::Ready(head) = poll_head(reader, responses, Sent::Partly, cx) {
                return Poll::Ready(head.map(BodyEvent::Head));
            }
            client.ear.watchdog.poll_fired(cx).map(|()| Ok(BodyEvent::Expired))
        })
        .await?;
        exchange.waited_for_body(since.elapsed());
        match event {
            BodyEvent::Expired if exchange.deadline.is_some_and(|due| due <= Instant::now()) => {
                return Err(interrupted(Interrupt::Expired, Stage::Send, Sent::Partly));
            }
            BodyEvent::Expired => {
                let kind = FaultKind::TooSlow;
                return Err(Fault { side: Side::Downstream, stage: Stage::Send, kind, sent: Sent::Partly });
            }
            // The end of the stream inside a request: the client left.
            BodyEvent::Filled(Ok(0) | Err(_)) => return Err(Fault::client_left(Stage::Send, Sent::Partly)),
            BodyEvent::Filled(Ok(_)) => return Ok(None),
            BodyEvent::Head(AnswerHead::Final(head, framing)) => return Ok(Some((head, framing))),
            BodyEvent::Head(AnswerHead::Interim(head)) => relay_interim(exchange, client, &head).await?,
        }
    }
}

enum BodyEvent {
    Filled(std::io::Result<usize>),
    Expired,
    Head(AnswerHead),
}

async fn relay_interim(exchange: &Exchange, client: &mut Client, head: &ResponseHead) -> Result<(), Fault> {
    // HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
    if exchange.head.head().version() == Version::Http10 {
        return Ok(());
    }
    write_interim(&mut client.out, head);
    client.flush().await.map_err(|_| Fault::client_left(Stage::Wait, Sent::Partly))
}

fn interrupted(why: Interrupt, stage: Stage, sent: Sent) -> Fault {
    match why {
        Interrupt::ClientLeft => Fault::client_left(stage, sent),
        Interrupt::Expired => Fault::upstream(stage, FaultKind::Timeout, sent),
    }
}
