//! One exchange: the ordered steps, nothing else.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::action::{forward, respond};
use super::decide::{self, Found};
use super::downstream::{Arrival, Client, End};
use super::hold::{self, Held};
use super::log;
use super::pace::Pace;
use super::relay;
use super::reply;
use super::state::{LanePlan, LaneState, RequestId};
use super::tally::Tally;
use crate::base::fault::{Fault, FaultKind};
use crate::base::ids::RouteId;
use crate::base::summary::Ended;
use crate::codec::encode::Signature;
use crate::codec::error::CodecError;
use crate::codec::framing::Framing;
use crate::codec::head::RequestHead;
use crate::codec::progress::Progress;
use crate::codec::reply::ErrorReply;
use crate::codec::request::RequestEvent;
use crate::codec::trace::TraceContext;
use crate::plan::Action;

/// What is carried from step to step.
pub(super) struct Exchange {
    pub(super) head: RequestHead,
    pub(super) request_id: RequestId,
    pub(super) trace: TraceContext,
    /// The plan it started with; it never sees half of a reload.
    pub(super) plan: Rc<LanePlan>,
    /// Longest request body on its route.
    pub(super) body_max: u64,
    /// When the cluster's `total` runs out.
    pub(super) deadline: Option<Instant>,
    /// The body, where the route depended on it.
    pub(super) held: Option<Held>,
    /// How long the client kept us waiting for its body.
    pub(super) pace: Pace,
    /// What the client's bytes broke, if they did.
    pub(super) broken: Option<CodecError>,
    pub(super) tally: Tally,
    pub(super) ended: Ended,
    /// When it was over, if its last step looked at the clock.
    pub(super) over: Option<Instant>,
}

impl Exchange {
    /// What its answer says of it; its head is about to leave.
    pub(super) fn signature(&self) -> Signature<'_> {
        let says_time = self.plan.plan.observe.server_timing;
        Signature {
            request_id: self.request_id.as_bytes(),
            timing: says_time.then(|| self.tally.timing(Instant::now())),
        }
    }

    /// The client kept us waiting for its body this long.
    pub(super) fn waited_for_body(&mut self, time: Duration) {
        self.pace.waited(time);
        self.tally.waited_client += time;
    }
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
    let is_trusted = client.sender.is_trusted;
    let mut exchange = Exchange {
        request_id: lane.request_id(Some(head.head()), is_trusted),
        trace: lane.trace(head.head(), is_trusted),
        head,
        plan: lane.plan(),
        body_max: 0,
        deadline: None,
        held: None,
        pace: Pace::default(),
        broken: None,
        tally: Tally::new(arrival),
        ended: Ended::Well,
        over: None,
    };
    let end = steps(&mut exchange, client, lane).await;
    let now = exchange.over.unwrap_or_else(Instant::now);
    client.since = now;
    let summary = exchange.tally.summary(exchange.ended, now);
    exchange.plan.recorder.borrow_mut().record(&summary);
    log::exchange(&exchange, client, lane, &summary, now);
    client.ear.requests.recycle(exchange.head);
    end
}

async fn steps(exchange: &mut Exchange, client: &mut Client, lane: &Rc<LaneState>) -> End {
    let route = match find_route(exchange, client, lane).await {
        Ok(route) => route,
        Err(Stop::Refuse(refusal)) => return respond::refuse(refusal, exchange, client, lane).await,
        Err(Stop::ClientLeft) => {
            exchange.ended = Ended::ClientLeft;
            return End::Close;
        }
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

/// Why there is no route for a request.
pub(super) enum Stop {
    /// The client is told.
    Refuse(ErrorReply),
    /// Nobody is left to be told.
    ClientLeft,
}

impl From<ErrorReply> for Stop {
    fn from(refusal: ErrorReply) -> Self {
        Self::Refuse(refusal)
    }
}

/// The route: what the head alone decides, or head and body together.
async fn find_route(exchange: &mut Exchange, client: &mut Client, lane: &LaneState) -> Result<RouteId, Stop> {
    let route = match decide::by_head(&exchange.plan.plan, &exchange.head)? {
        Found::Route(route) => route,
        Found::NeedBody(rules) => {
            let decided = hold::decide(exchange, client, lane, rules).await;
            exchange.tally.phases.hold = exchange.tally.arrival.complete.elapsed();
            decided?
        }
    };
    exchange.tally.route = Some(route);
    exchange.plan.recorder.borrow_mut().routes[route].started += 1;
    exchange.body_max = exchange.plan.plan.routes[route].body_max;
    let length = match exchange.head.framing() {
        Framing::Length(length) => length,
        // What was held is known; what was not is counted as it passes.
        Framing::Empty | Framing::Chunked | Framing::UntilClose => exchange.tally.bytes_in,
    };
    match length > exchange.body_max {
        true => Err(reply::body_too_large().into()),
        false => Ok(route),
    }
}

async fn fail(fault: Fault, exchange: &mut Exchange, client: &mut Client, lane: &LaneState) -> End {
    exchange.tally.fault = Some(fault);
    exchange.tally.upstream_fault = fault.side == crate::base::fault::Side::Upstream;
    let refusal = match (fault.kind, exchange.broken) {
        (FaultKind::BadMessage, Some(broken)) => Some(reply::of_codec(broken)),
        (FaultKind::BodyTooLarge, _) => Some(reply::body_too_large()),
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
