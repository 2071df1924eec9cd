//! One request of several: an exchange of its own without a connection, answered, read to its end, booked and told.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::allowance::{Allowance, Taken};
use super::answer;
use super::answered::Answer;
use super::around::{Around, Finished};
use super::book::book;
use super::collect::{Collected, collect, collect_told};
use super::intake::Intake;
use super::listeners::Listeners;
use super::log;
use super::reply;
use super::request::{Call, Found, Request};
use super::spans::Attempts;
use super::state::{LaneState, RequestId};
use crate::base::fault::{Fault, FaultKind, Sent, Side, Stage};
use crate::base::summary::Ended;
use crate::board::buffered::Reservation;
use crate::codec::enclosed::{Enclosed, as_told};
use crate::codec::encode::{Said, Signature};
use crate::codec::head::{RequestHead, ResponseHead};
use crate::codec::reply::{ErrorReply, LocalReply};
use crate::multi::{Asked, Malformed, Telling};
use crate::plan::Action;

/// An element under way. Booked as left where it is dropped before its end.
struct Exchange<'c> {
    request: Request,
    call: Call<'c>,
    lane: &'c Rc<LaneState>,
    is_booked: bool,
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.is_booked {
            self.call.give_up(Instant::now());
            let notes = &mut self.call.notes;
            let (side, kind) = (Side::Downstream, FaultKind::ClientLeft);
            notes.fault = Some(Fault { side, stage: notes.stage, kind, sent: Sent::Partly });
            (notes.ended, notes.status) = (Ended::ClientLeft, 0);
            book(&mut self.request, &mut self.call, self.lane);
        }
    }
}

/// Begins the element in `text`, which is the one at that place; `most` of its answer is held.
pub(super) fn begin(
    around: Rc<Around>,
    place: usize,
    text: Bytes,
    most: Allowance,
) -> Pin<Box<dyn Future<Output = Finished>>> {
    Box::pin(run(around, place, text, most))
}

async fn run(around: Rc<Around>, place: usize, text: Bytes, most: Allowance) -> Finished {
    let length = text.len();
    let id = around.id_of(place);
    let telling = Telling(around.shape);
    let head_bytes = around.plan.plan.limits.head_bytes;
    let asked =
        Asked::read(&text, around.shape).and_then(|asked| match asked.head(&around.head, head_bytes) {
            Ok(head) => Ok((asked, head)),
            Err(refusal) => Err(Malformed::boxed(refusal, asked.id)),
        });
    let (asked, head) = match asked {
        Ok(asked) => asked,
        Err(malformed) => {
            let Malformed { refusal, id: named } = *malformed;
            let told = telling.refusal(named.as_ref(), id.as_str(), refusal);
            return Finished { place, length, told, _held: None };
        }
    };
    let clock = around.lane.watchdogs.watch();
    let (request, tried) = request(&around, head, &id);
    let mut exchange = Exchange {
        request,
        call: Call::apart(Intake::of_bytes(asked.body.clone()), &clock, &around.lane.turns),
        lane: &around.lane,
        is_booked: false,
    };
    exchange.call.notes.tried = tried;
    exchange.hear(&asked.body);
    let (head, body, room) = exchange.answer(most).await;
    book(&mut exchange.request, &mut exchange.call, &around.lane);
    exchange.is_booked = true;
    let told = telling.answer(asked.id.as_ref(), id.as_str(), &Enclosed::Told(&head, &body));
    Finished { place, length, told, _held: room }
}

/// The request of an element.
fn request(around: &Around, head: RequestHead, id: &RequestId) -> (Request, Option<Box<Attempts>>) {
    let (trace, tried) = around.lane.traced(head.head(), around.sender.is_trusted, &around.plan.plan);
    let request = Request {
        framing: head.framing(),
        is_changed: false,
        is_carried: false,
        standing: None,
        id: id.clone(),
        trace,
        head,
        sender: around.sender.clone(),
        listener: around.listener,
        plan: Rc::clone(&around.plan),
        route: None,
        found: Found::default(),
        dress: None,
    };
    (request, tried)
}

impl Exchange<'_> {
    /// What the log tells of a body is heard at once: all of it is there.
    fn hear(&mut self, body: &Bytes) {
        self.call.body.received = body.len() as u64;
        let is_traced = self.call.notes.tried.is_some();
        if let Some(heard) = log::heard(&self.request.plan.plan.observe, is_traced) {
            let mut listeners = Listeners::of_log(&self.request.head, heard);
            if let Some(listeners) = &mut listeners {
                listeners.comes(body);
            }
            self.call.body.listeners = listeners;
        }
    }

    /// Its answer as its client would have seen it, whole.
    async fn answer(&mut self, most: Allowance) -> (ResponseHead, Bytes, Option<(Reservation, Taken)>) {
        let Self { request, call, lane, .. } = self;
        let answer = Box::pin(answer::of(request, call, lane)).await;
        request.be_dressed();
        match answer {
            Answer::Own(reply) => self.own(&reply),
            Answer::OfRoute => match &Rc::clone(&request.plan).plan.routes[request.route().0].action {
                Action::Respond(reply) => self.own(reply),
                Action::Forward(_) | Action::Models | Action::Fanout(_) | Action::Multi(_) => {
                    unreachable!("a route that forwards says nothing itself")
                }
            },
            Answer::Lines(_) => unreachable!("a request of several is refused where it is one of several"),
            Answer::Relayed(relayed) => {
                call.notes.stage = Stage::Relay;
                let head = as_told(Said::Relayed(&relayed.head), request.signature(call));
                let Ok(head) = head else { return self.refuse(reply::head_too_long()) };
                let collected = collect(relayed, request, call, (lane, most)).await;
                self.told(head, collected)
            }
            Answer::Told(mut told) => {
                call.notes.stage = Stage::Relay;
                let head = as_told(Said::Relayed(&told.head.head), request.signature(call));
                let Ok(head) = head else { return self.refuse(reply::head_too_long()) };
                let collected = collect_told(&mut told, request, call, (lane, most)).await;
                self.told(head, collected)
            }
        }
    }

    fn told(
        &mut self,
        head: ResponseHead,
        collected: Result<Collected, ErrorReply>,
    ) -> (ResponseHead, Bytes, Option<(Reservation, Taken)>) {
        match collected {
            Ok(Collected { body, room, taken, .. }) => {
                self.call.notes.bytes_out += body.len() as u64;
                (head, Bytes::from(body), Some((room, taken)))
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: ErrorReply) -> (ResponseHead, Bytes, Option<(Reservation, Taken)>) {
        self.call.notes.code = Some(refusal.code);
        let reply = refusal.into_reply(self.request.id.as_str());
        self.own(&reply)
    }

    fn own(&mut self, reply: &LocalReply) -> (ResponseHead, Bytes, Option<(Reservation, Taken)>) {
        let signature = self.request.signature(&self.call);
        let head = as_told(Said::Own(reply), signature)
            .or_else(|_| as_told(Said::Own(reply), Signature { dress: None, ..signature }))
            .expect("an answer of our own has few fields");
        let notes = &mut self.call.notes;
        notes.status = reply.status;
        notes.bytes_out += reply.body.len() as u64;
        notes.ended = if reply.status < 500 { Ended::Well } else { Ended::Badly };
        notes.stage = Stage::Relay;
        (head, reply.body.clone(), None)
    }
}
