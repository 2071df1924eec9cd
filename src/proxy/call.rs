//! One cluster is asked: drives `Dispatch`, which says whom to try and what may be tried again.

use std::time::{Duration, Instant};

use super::attempt::{self, Failed};
use super::hold;
use super::intake::BodyFault;
use super::notes::Notes;
use super::reply;
use super::request::{Call, Request};
use super::source::{Relayed, served};
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::time::deadline;
use crate::cluster::dispatch::{Dispatch, Step};
use crate::codec::reply::ErrorReply;

/// Why a call was given up.
pub(super) struct GivenUp {
    pub(super) fault: Fault,
    /// What is told of the request's body, where that broke.
    pub(super) body: Option<BodyFault>,
    /// How long it takes until a place is free, where none is.
    pub(super) wait: Option<Duration>,
}

impl GivenUp {
    /// What is told of it.
    pub(super) fn told(self, notes: &mut Notes) -> ErrorReply {
        notes.fault = Some(self.fault);
        match self.body {
            Some(broken) => hold::of_body(broken, self.fault.sent),
            None => reply::within(reply::of_fault(&self.fault), self.wait),
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
    let model = if cluster.narrows() { request.model_upstream() } else { None };
    let (mut dispatch, mut step) = Dispatch::start(cluster, model, most, pick_time(call));
    // An answer in whose place another endpoint is asked, and the body's fault of the attempt that failed last.
    let (mut refused, mut body) = (None, None);
    loop {
        let (ticket, connection) = match step {
            Step::Attempt { ticket, connection, because } => {
                if let Some(reason) = because {
                    let endpoint = plan.endpoints[ticket.position()];
                    request.plan.recorder.borrow_mut().endpoints[endpoint].retries[reason as usize] += 1;
                }
                (ticket, connection)
            }
            Step::GiveUp(fault) => {
                let wait = || cluster.expected_wait(request.plan.plan.lanes);
                let wait = (fault.kind == FaultKind::QueueFull).then(wait);
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

/// When the first pick is made: the clock need not be asked where nothing was waited for.
fn pick_time(call: &Call<'_>) -> Instant {
    if call.notes.attempts == 0 { call.notes.arrival.complete } else { Instant::now() }
}

/// An answer in whose place somebody else is asked, and whose it is; it is delivered where nobody else answers.
pub(super) struct Aside(Relayed, Option<EndpointId>);

impl Aside {
    pub(super) fn of(mut answer: Relayed, call: &Call<'_>) -> Self {
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
            call.notes.endpoint = endpoint;
            Ok(answer)
        }
        _ => Err(given_up),
    }
}
