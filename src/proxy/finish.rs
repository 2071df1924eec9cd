//! An answer that an endpoint gave is over: whose fault it was, if anybody's, and whether its connection lives on.

use std::time::Instant;

use super::intake::Rest;
use super::notes::Notes;
use super::reply;
use super::request::{Call, Request};
use super::source::{Cut, Relayed, served};
use super::state::LaneState;
use crate::base::fault::{Fault, FaultKind, Sent, Side, Stage};
use crate::base::summary::Ended;
use crate::cluster::{Outcome, Ticket};
use crate::codec::reply::ErrorReply;
use crate::codec::version::Reuse;

/// Books what became of a relayed answer, and keeps a connection that is whole.
#[inline(always)] // each exchange ends here, and what is relayed is large to hand on
pub(super) fn finish(
    relayed: Relayed,
    delivered: Result<(), Cut>,
    request: &Request,
    call: &mut Call<'_>,
    lane: &LaneState,
) {
    let Relayed { mut upstream, head, ticket, endpoint, upload, .. } = relayed;
    let status = head.status();
    let notes = &mut call.notes;
    let now = Instant::now();
    notes.over = Some(now);
    let (outcome, ended) = match delivered {
        Ok(()) => (served(&head), if status < 500 { Ended::Well } else { Ended::Badly }),
        Err(Cut::Upstream(kind)) => {
            let fault = Fault::upstream(Stage::Relay, kind, Sent::Wholly);
            notes.fault = Some(fault);
            (Outcome::Failed(fault), Ended::Badly)
        }
        Err(Cut::Body(_) | Cut::Unheld) => {
            let kind = FaultKind::BadMessage;
            let fault = Fault { side: Side::Downstream, stage: Stage::Relay, kind, sent: Sent::Partly };
            notes.fault = Some(fault);
            (Outcome::Cancelled, Ended::ClientLeft)
        }
    };
    notes.ended = ended;
    if ticket.is_learning() && delivered.is_ok() {
        learn(&ticket, notes);
    }
    request.settle(ticket, outcome, now);
    if delivered.is_ok()
        && upload.rest() == Rest::Read
        && upstream.responses.reuse() == Reuse::KeepAlive
        && upstream.reader.unread().is_empty()
    {
        upstream.responses.recycle(head);
        lane.give_back(&endpoint, upstream, now);
    }
}

/// What the answer says of its prompt corrects what was believed of its endpoint.
#[cold]
fn learn(ticket: &Ticket, notes: &Notes) {
    let usage = notes.usage.as_ref().map(|reader| reader.usage()).unwrap_or_default();
    if let (Some(cached), Some(prompt)) = (usage.cached, usage.input) {
        ticket.learn(cached, prompt);
    }
}

/// The same for one that broke off and that nobody was told of: what is told in its place.
pub(super) fn finish_cut(
    relayed: Relayed,
    cut: Cut,
    request: &Request,
    call: &mut Call<'_>,
    lane: &LaneState,
) -> ErrorReply {
    finish(relayed, Err(cut), request, call, lane);
    let fault = call.notes.fault.expect("an answer that was cut has a fault");
    reply::of_fault(&fault)
}
