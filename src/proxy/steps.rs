//! One exchange of a client: attend, answer, deliver, record.

use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use super::answer;
use super::book::book;
use super::client::Client;
use super::deliver;
use super::ear::attend;
use super::early::{Early, Way};
use super::element;
use super::ends::End;
use super::intake::{Intake, Manners};
use super::listeners::Listeners;
use super::log;
use super::mouth::Lost;
use super::notes::{Arrival, Notes};
use super::request::{Call, Found, Request};
use super::state::LaneState;
use crate::base::fault::{Fault, FaultKind, Sent, Side};
use crate::base::summary::Ended;
use crate::codec::framing::Framing;
use crate::codec::head::RequestHead;
use crate::codec::progress::Progress;
use crate::codec::request::RequestEvent;

/// Runs one exchange to its end and tells what becomes of the client's connection.
pub(super) async fn run(
    client: &mut Client,
    lane: &Rc<LaneState>,
    head: RequestHead,
    arrival: Arrival,
) -> End {
    let Client { ear, mouth, clock, sender, listener, .. } = client;
    if head.framing() == Framing::Empty {
        // Its end follows its head at once; from here on the client is only listened to.
        let ear = ear.get_mut();
        let end = ear.requests.next(ear.reader.unread());
        debug_assert!(matches!(end, Ok(Progress::Ready(RequestEvent::End))));
    }
    ear.get_mut().wait_until(None);
    let plan = lane.plan();
    mouth.get_mut().be_patient(plan.plan.limits.write_timeout);
    let sender = sender.judged(&plan.plan.listeners[*listener].trusted);
    let manners = Manners { rate: plan.plan.limits.body_rate, expects: head.expects_continue() };
    let way = Way { mouth, lane, version: head.head().version() };
    let mut call = Call {
        body: Intake::of_client(ear, manners),
        clock,
        turns: &lane.turns,
        deadline: None,
        affinity: None,
        may_move_on: false,
        may_wait: true,
        elements: Some(element::begin),
        early: Early::to(&way),
        flights: Vec::new(),
        begun: None,
        notes: Notes::new(arrival),
    };
    let trace;
    (trace, call.notes.tried) = lane.traced(head.head(), sender.is_trusted, &plan.plan);
    let mut request = Request {
        framing: head.framing(),
        is_changed: false,
        is_carried: false,
        standing: None,
        id: lane.request_id(Some(head.head()), sender.is_trusted),
        trace,
        head,
        sender,
        listener: *listener,
        plan,
        route: None,
        found: Found::default(),
        dress: None,
    };
    if let Some(heard) = log::heard(&request.plan.plan.observe, call.notes.tried.is_some()) {
        call.body.listeners = Listeners::of_log(&request.head, heard);
    }
    let served = {
        let work = pin!(async {
            let mut answer = answer::of(&mut request, &mut call, lane).await;
            request.be_dressed();
            deliver::run(&mut answer, &request, &mut call, mouth, lane).await
        });
        attend(ear, mouth, work).await.map_err(|lost| (lost, Instant::now()))
    };
    let end = match served {
        Ok(end) => end,
        Err((lost, noticed)) => lose(lost, noticed, &mut call),
    };
    client.since = book(&mut request, &mut call, lane);
    client.ear.get_mut().requests.recycle(request.head);
    end
}

/// Books an exchange that was given up, and tells how its connection ends. What was done for it has ended by now, and with it
/// its connection upstream.
fn lose(lost: Lost, noticed: Instant, call: &mut Call<'_>) -> End {
    call.give_up(noticed);
    let notes = &mut call.notes;
    let (side, kind, ended) = match lost {
        Lost::Left => (Side::Downstream, FaultKind::ClientLeft, Ended::ClientLeft),
        Lost::Slow => (Side::Downstream, FaultKind::ClientSlow, Ended::ClientLeft),
        Lost::Drained => (Side::Proxy, FaultKind::Draining, Ended::Badly),
    };
    notes.fault = Some(Fault { side, stage: notes.stage, kind, sent: Sent::Partly });
    notes.ended = ended;
    notes.cancelled = (ended == Ended::ClientLeft && notes.attempts > 0).then(|| noticed.elapsed());
    // Without a length or a last chunk only a reset tells a cut answer from a whole one.
    if notes.looks_whole { End::Reset } else { End::Close }
}
