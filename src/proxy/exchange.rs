//! One exchange: the ordered steps, nothing else.

use std::rc::Rc;
use std::time::Instant;

use super::action::{forward, respond};
use super::downstream::{Arrival, Client, End};
use super::relay;
use super::reply;
use super::state::{LanePlan, LaneState, RequestId};
use super::tally::Tally;
use crate::base::fault::{Fault, FaultKind};
use crate::base::ids::RouteId;
use crate::base::summary::Ended;
use crate::codec::Progress;
use crate::codec::error::CodecError;
use crate::codec::field::FieldName;
use crate::codec::framing::Framing;
use crate::codec::head::{Method, RequestHead, Version};
use crate::codec::reply::ErrorReply;
use crate::codec::request::RequestEvent;
use crate::plan::Action;
use crate::route::Lookup;

/// What is carried from step to step.
pub(super) struct Exchange {
    pub(super) head: RequestHead,
    pub(super) request_id: RequestId,
    /// The plan it started with; it never sees half of a reload.
    pub(super) plan: Rc<LanePlan>,
    /// Longest request body on its route.
    pub(super) body_max: u64,
    /// When the cluster's `total` runs out.
    pub(super) deadline: Option<Instant>,
    /// What the client's bytes broke, if they did.
    pub(super) broken: Option<CodecError>,
    pub(super) tally: Tally,
    pub(super) ended: Ended,
}

/// Runs one exchange to its end and tells what becomes of the client's connection.
pub(super) async fn run(
    client: &mut Client,
    lane: &Rc<LaneState>,
    head: RequestHead,
    arrival: Arrival,
) -> End {
    if head.framing() == Framing::Empty {
        // Its end follows its head at once; from here on the client is only listened to.
        let end = client.ear.requests.next(client.ear.reader.unread());
        debug_assert!(matches!(end, Ok(Progress::Ready(RequestEvent::End))));
    }
    let mut exchange = Exchange {
        head,
        request_id: lane.request_id(),
        plan: lane.plan(),
        body_max: 0,
        deadline: None,
        broken: None,
        tally: Tally::new(arrival),
        ended: Ended::Well,
    };
    let end = steps(&mut exchange, client, lane).await;
    let summary = exchange.tally.summary(exchange.ended, Instant::now());
    exchange.plan.recorder.borrow_mut().record(&summary);
    client.ear.requests.recycle(exchange.head);
    end
}

async fn steps(exchange: &mut Exchange, client: &mut Client, lane: &Rc<LaneState>) -> End {
    let route = match find_route(exchange) {
        Ok(route) => route,
        Err(refusal) => return respond::refuse(refusal, exchange, client, lane).await,
    };
    if exchange.head.forwards_left() == Some(0) {
        return respond::answer(&reply::last_stop(), exchange, client, lane).await;
    }
    let plan = Rc::clone(&exchange.plan);
    match &plan.plan.routes[route].action {
        Action::Respond(reply) => respond::answer(reply, exchange, client, lane).await,
        Action::Forward(targets) => match forward::run(targets, exchange, client, lane).await {
            Ok(answer) => relay::run(answer, exchange, client, lane).await,
            Err(fault) => fail(fault, exchange, client, lane).await,
        },
    }
}

/// What the head alone decides: the route, or why there is none.
fn find_route(exchange: &mut Exchange) -> Result<RouteId, ErrorReply> {
    let head = &exchange.head;
    if matches!(head.method(), Method::Connect | Method::Trace) {
        return Err(reply::method_not_implemented());
    }
    // An expectation in HTTP/1.0 is ignored (RFC 9110 §10.1.1).
    if head.head().version() == Version::Http11
        && head.head().values(FieldName::Expect).any(|value| !value.eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(reply::expectation());
    }
    let route = match exchange.plan.plan.table.find(head) {
        Lookup::Route(route) => route,
        Lookup::NotFound => return Err(reply::no_route()),
        Lookup::OtherMethods(methods) => return Err(reply::other_methods(&methods)),
        Lookup::BadPath => return Err(reply::bad_path()),
    };
    exchange.tally.route = Some(route);
    exchange.plan.recorder.borrow_mut().routes[route].started += 1;
    exchange.body_max = exchange.plan.plan.routes[route].body_max;
    match head.framing() {
        Framing::Length(length) if length > exchange.body_max => {
            Err(reply::body_too_large(exchange.body_max))
        }
        Framing::Length(_) | Framing::Empty | Framing::Chunked | Framing::UntilClose => Ok(route),
    }
}

async fn fail(fault: Fault, exchange: &mut Exchange, client: &mut Client, lane: &LaneState) -> End {
    exchange.tally.upstream_fault = fault.side == crate::base::fault::Side::Upstream;
    let refusal = match (fault.kind, exchange.broken) {
        (FaultKind::BadMessage, Some(broken)) => Some(reply::of_codec(broken)),
        (FaultKind::BodyTooLarge, _) => Some(reply::body_too_large(exchange.body_max)),
        _ => reply::of_fault(&fault),
    };
    match refusal {
        Some(refusal) => respond::refuse(refusal, exchange, client, lane).await,
        None => {
            exchange.ended = Ended::ClientLeft;
            End::Close
        }
    }
}
