//! One cluster is asked: drives `Dispatch`, which says whom to try and what may be tried again.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::attempt::{self, Failed};
use super::hold;
use super::intake::BodyFault;
use super::placing;
use super::reply;
use super::request::{Call, Request};
use super::source::{Relayed, served};
use super::waiting::{self, Place, TurnedAway};
use crate::balance::{Affinity, Positions};
use crate::base::fault::{Fault, FaultKind, Sent, Side, Stage};
use crate::base::hash::hash64;
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::deadline;
use crate::cluster::Cluster;
use crate::cluster::dispatch::{Dispatch, Step};
use crate::codec::reply::ErrorReply;
use crate::plan::{ClusterPlan, Placing};
use crate::retry::RetryOn;

/// Why a call was given up.
pub(super) struct GivenUp {
    pub(super) fault: Fault,
    /// What is told of the request's body, where that broke.
    pub(super) body: Option<BodyFault>,
    /// How long it takes until a place is free, where none is.
    pub(super) wait: Option<Duration>,
}

/// What is told where nobody knows how long it takes until a place is free.
const WAIT_UNKNOWN: Duration = Duration::from_secs(1);

impl GivenUp {
    /// What is told of it.
    pub(super) fn told(self, call: &mut Call<'_>) -> ErrorReply {
        call.notes.fault = Some(self.fault);
        match self.body {
            Some(broken) => hold::of_body(broken, self.fault.sent, call),
            None => match self.fault.kind {
                FaultKind::QueueFull | FaultKind::QueueTimeout => {
                    let wait = self.wait.unwrap_or(WAIT_UNKNOWN);
                    reply::within(reply::of_fault(&self.fault), Some(wait))
                }
                _ => reply::of_fault(&self.fault),
            },
        }
    }
}

/// Sends the request to the endpoints of one cluster, `most` times at most, until one answers or nothing may be tried any
/// more. What is kept of the body for another attempt is the caller's to let go.
pub(super) async fn run(
    request: &Request,
    call: &mut Call<'_>,
    id: ClusterId,
    most: u32,
) -> Result<Relayed, GivenUp> {
    let plan = &request.plan.plan.clusters[id];
    let cluster = &request.plan.clusters[id];
    call.deadline = plan.settings.timeouts.total.and_then(|total| deadline(Instant::now(), Some(total)));
    call.notes.stage = Stage::Pick;
    let affinity = match plan.placing {
        Placing::Nothing => Affinity::None,
        Placing::Header(_) | Placing::Body(_) | Placing::Prompt => placing::affinity(request, call, id),
    };
    let asked = placing::asked(request, call, &affinity);
    let model = if cluster.narrows() { request.model_upstream() } else { None };
    // Whom one waits for where there is a line; nobody where nobody lists the model, which is told at once.
    let only = plan.settings.queue.as_ref().and_then(|_| cluster.who_lists(model).ok());
    let mut seat = match &only {
        Some(only) => pass(request, call, (plan, cluster, only.as_ref()), (None, false)).await?,
        None => None,
    };
    let (mut dispatch, mut step) = Dispatch::start(cluster, (asked, model), most, pick_time(call));
    while let (Some(only), true) = (&only, is_full(&step)) {
        // Somebody else had the place.
        seat = pass(request, call, (plan, cluster, only.as_ref()), (seat, true)).await?;
        step = dispatch.begin(cluster, Instant::now());
    }
    if let (Some(seat), Step::Attempt { .. }) = (seat, &step) {
        seat.claim();
    }
    // An answer in whose place another endpoint is asked, and the body's fault of the attempt that failed last.
    let (mut refused, mut body) = (None, None);
    loop {
        let (ticket, connection) = match step {
            Step::Attempt { ticket, connection, because } => {
                call.flights.iter().for_each(|flight| flight.start());
                count_retry(request, plan.endpoints[ticket.position()], because);
                (ticket, connection)
            }
            Step::GiveUp(fault) => {
                let is_full = fault.kind == FaultKind::QueueFull;
                let wait = if is_full { cluster.expected_wait(Instant::now()) } else { None };
                let wait = wait.map(|wait| spread(wait, request));
                return or_aside(GivenUp { fault, body, wait }, refused, call);
            }
        };
        let position = ticket.position();
        match attempt::run(request, call, (plan.endpoints[position], ticket), connection).await {
            Ok(answer) => {
                if let Some(before) = refused.take() {
                    before.abandon(request);
                }
                let status = answer.head.status();
                let at_hand = call.body.at_hand_behind_answer();
                match dispatch.answered(cluster, (position, status), at_hand, Instant::now()) {
                    Some(another) => {
                        refused = Some(Aside::of(answer, call));
                        step = another;
                    }
                    None => return Ok(answer),
                }
            }
            Err(Failed { failure, body: broken }) => {
                body = broken;
                step = dispatch.failed(cluster, &failure, Instant::now());
            }
        }
    }
}

/// Counts another attempt where it is one.
fn count_retry(request: &Request, endpoint: EndpointId, because: Option<RetryOn>) {
    if let Some(reason) = because {
        request.plan.recorder.borrow_mut().endpoints[endpoint].retries[reason as usize] += 1;
    }
}

/// Whether there was no place.
fn is_full(step: &Step) -> bool {
    matches!(step, Step::GiveUp(fault) if fault.kind == FaultKind::QueueFull)
}

/// Lets a request in where requests wait. In a box: it is rare, and large.
#[cold]
fn pass<'f>(
    request: &'f Request,
    call: &'f mut Call<'_>,
    cluster: (&'f ClusterPlan, &'f Cluster, Option<&'f Positions>),
    seat: (Option<Place>, bool),
) -> Pin<Box<dyn Future<Output = Result<Option<Place>, GivenUp>> + 'f>> {
    Box::pin(async move {
        let passed = waiting::pass(request, call, cluster, seat).await;
        passed.map_err(|TurnedAway { kind, body, wait }| {
            let side = if body.is_some() { Side::Downstream } else { Side::Proxy };
            let fault = Fault { side, stage: Stage::Pick, kind, sent: Sent::Nothing };
            GivenUp { fault, body, wait: wait.map(|wait| spread(wait, request)) }
        })
    })
}

/// Up to a tenth more, by chance, so that those who are told the same do not come back at once.
fn spread(wait: Duration, request: &Request) -> Duration {
    let chance = hash64(request.id.as_bytes()) % 1024;
    wait + wait / 10 * u32::try_from(chance).unwrap_or(0) / 1024
}

/// When the first pick is made: the clock need not be asked where nothing was waited for.
fn pick_time(call: &Call<'_>) -> Instant {
    if call.notes.is_prompt() { call.notes.arrival.complete } else { Instant::now() }
}

/// An answer in whose place somebody else is asked, and whose it is; it is delivered where nobody else answers.
pub(super) struct Aside(Relayed, Option<EndpointId>);

impl Aside {
    pub(super) fn of(mut answer: Relayed, call: &mut Call<'_>) -> Self {
        call.notes.answered = None;
        // What is left of the request goes to whoever is asked next.
        answer.upload.give_up();
        Self(answer, call.notes.endpoint)
    }

    /// Somebody else answered: it goes to nobody.
    pub(super) fn abandon(self, request: &Request) {
        let Relayed { ticket, head, .. } = self.0;
        request.settle(ticket, served(&head), Instant::now());
    }
}

/// Nobody else answered: the answer that was set aside, unless somebody may have executed the request since.
pub(super) fn or_aside(
    given_up: GivenUp,
    aside: Option<Aside>,
    call: &mut Call<'_>,
) -> Result<Relayed, GivenUp> {
    match aside {
        Some(Aside(answer, endpoint)) if given_up.fault.sent == Sent::Nothing => {
            (call.notes.endpoint, call.notes.answered) = (endpoint, Some(Instant::now()));
            Ok(answer)
        }
        _ => Err(given_up),
    }
}
