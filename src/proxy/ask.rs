//! A service is asked whether a request may pass: the doer of the filter `ask`.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::decide;
use super::request::{Call, Request};
use crate::base::digest::Digest;
use crate::base::ids::FilterId;
use crate::codec::edit::Edits;
use crate::codec::operation::Operation;
use crate::codec::reply::{ErrorReply, LocalReply};
use crate::filter::ask::{Ask, Decision};
use crate::filter::{FilterPlan, View};

/// Why a request does not pass.
pub(super) enum Stop {
    /// A filter refuses it.
    Refused(ErrorReply),
    /// The service does, in its own words.
    Denied(LocalReply),
}

impl From<ErrorReply> for Stop {
    fn from(refusal: ErrorReply) -> Self {
        Self::Refused(refusal)
    }
}

/// Asks the service of the filter `id`, and does what it says.
pub(super) async fn run(request: &mut Request, call: &mut Call<'_>, id: FilterId) -> Result<(), Stop> {
    let plan = Rc::clone(&request.plan);
    let FilterPlan::Ask(ask) = &plan.plan.filters[id].1 else { return Ok(()) };
    let Some(service) = plan.services.get(&id) else { return Ok(()) };
    let body = first_bytes(call.body.held(), ask.body);
    let (message, question) = told(request, ask, &body);
    let now = Instant::now();
    let known = ask.cache.and_then(|_| service.known(&question, now));
    let decision = match known {
        Some(decision) => Some(decision),
        None => {
            let due = now.checked_add(ask.timeout);
            call.notes.since = Some(now);
            // In a box: it is rare, and holds a connection.
            let mut asking = Box::pin(service.ask(ask, message));
            let decision = call.clock.within(due, |cx| asking.as_mut().poll(cx)).await.flatten();
            call.notes.kept(now);
            if let (Some(decision), Some(lasts)) = (&decision, ask.cache) {
                service.remember(question, decision.clone(), now, now.checked_add(lasts));
            }
            decision
        }
    };
    let edits: Edits = match decision {
        Some(Decision::Allow(edits)) => edits,
        Some(Decision::Deny(reply)) => return Err(Stop::Denied(reply)),
        None => ask.without_answer()?,
    };
    request.found.set_fields(edits);
    Ok(())
}

/// The message to the service, and what its answer is remembered by.
fn told(request: &Request, ask: &Ask, body: &[u8]) -> (Vec<u8>, Digest) {
    let plan = &request.plan.plan;
    let head = &request.head;
    let view = View {
        head,
        client: request.sender.client(head.head(), &plan.listeners[request.listener].trusted),
        route: None,
        path_model: None,
        asks_model: false,
        edits: None,
        operation: request.route.map_or(Operation::Other, |id| decide::operation(plan, id, head)),
        now: Instant::now(),
        today: SystemTime::now(),
    };
    let mut message = Vec::new();
    ask.write(&mut message, &view, body);
    (message, ask.question(&view, body))
}

fn first_bytes(pieces: &[Bytes], most: usize) -> Vec<u8> {
    let mut first = Vec::new();
    for piece in pieces {
        let room = most - first.len();
        first.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    first
}
