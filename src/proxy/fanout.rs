//! One request to several clusters at once: drives the legs and a `Gather`, and tells what it makes of them.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::answered::Answer;
use super::held::Held;
use super::hold;
use super::leg::{self, Ended, Legs, Said};
use super::notes::{Notes, Phases};
use super::reply;
use super::request::{Call, Request};
use super::state::LaneState;
use crate::codec::enclosed::{Enclosed, as_told};
use crate::codec::encode::{self, Dress, Signature};
use crate::codec::reply::{ErrorReply, LocalReply};
use crate::fanout::{Gather, Step};
use crate::plan::Fanout;

/// Asks all clusters of `fanout`.
pub(super) async fn run(
    request: &mut Request,
    call: &mut Call<'_>,
    lane: &LaneState,
    fanout: &Fanout,
) -> Result<Answer, ErrorReply> {
    hold::whole(request.framing, &request.plan.plan.budget, call).await?;
    let pieces = call.body.held().to_vec();
    let begun = Instant::now();
    call.notes.waits_for_answer(begun);
    let mut gather = Gather::new(fanout.gather, fanout.to.len(), fanout.need);
    let legs = 0..fanout.to.len();
    let mut came: Vec<Option<Ended>> = legs.clone().map(|_| None).collect();
    let noted = Noted::of(&mut call.notes);
    let asked = (&*request, fanout, &noted.legs);
    let mut legs: FuturesUnordered<_> = legs.map(|at| leg::run(at, asked, pieces.clone(), lane)).collect();
    let step = loop {
        let ended = legs.next().await.expect("the last leg ends it");
        let step = gather.ended(ended.at, ended.how());
        let at = ended.at;
        came[at] = Some(ended);
        match step {
            Step::Wait => {}
            step => break step,
        }
    };
    // Whoever is still asked is cancelled.
    drop(legs);
    drop(noted);
    request.be_dressed();
    call.notes.waited_for_answer(begun, Instant::now());
    match step {
        Step::Tell(at) => {
            let told = came[at].take().expect("it ended just now, or before");
            came.into_iter().flatten().for_each(|other| other.abandon(request));
            tell(told, call)
        }
        Step::TellAll(status) => {
            call.body.let_go();
            let body = gathered(came, (b"{", b"}"), (request, fanout), call)?;
            let content_type = Bytes::from_static(b"application/json");
            Ok(Answer::Own(LocalReply { status, content_type, fields: Vec::new(), body }))
        }
        Step::TooFew => {
            call.body.let_go();
            let reply = reply::quorum_failed();
            call.notes.code = Some(reply.code);
            let LocalReply { fields, body, status, content_type } = reply.into_reply(request.id.as_str());
            let open = [body.strip_suffix(b"}").unwrap_or(&body), b",\"answers\":{"].concat();
            let body = gathered(came, (&open, b"}}"), (request, fanout), call)?;
            Ok(Answer::Own(LocalReply { status, content_type, fields, body }))
        }
        Step::Wait => unreachable!("it was waited for"),
    }
}

/// What is noted of all legs, which the exchange has when they are over, or it is given up.
struct Noted<'n> {
    notes: &'n mut Notes,
    legs: Legs,
}

impl<'n> Noted<'n> {
    fn of(notes: &'n mut Notes) -> Self {
        let tried = RefCell::new(notes.tried.take());
        Self { notes, legs: Legs { tried, attempts: Cell::new(0) } }
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.notes.tried = self.legs.tried.take();
        self.notes.attempts += self.legs.attempts.get();
    }
}

/// One leg's answer is the answer.
fn tell(told: Ended, call: &mut Call<'_>) -> Result<Answer, ErrorReply> {
    let Ended { said, notes, reached, deadline, .. } = told;
    let before = &mut call.notes;
    let mut tried = before.tried.take();
    if let (Some(tried), Some(endpoint)) = (&mut tried, notes.endpoint) {
        tried.end_all_but(endpoint, Instant::now());
    }
    let (attempts, waited) = (before.attempts, before.waited);
    // What is refused in the end was waited for until the last leg was over.
    let (phases, answered) = match said {
        Said::Refused(_) => (before.phases, before.answered),
        _ => (Phases { hold: before.phases.hold, ..notes.phases }, notes.answered),
    };
    let (arrival, waited_client) = (before.arrival, before.waited_client);
    // When the leg was over is not when this is.
    let over = None;
    call.notes = Notes { arrival, attempts, waited, waited_client, phases, answered, tried, over, ..notes };
    match said {
        Said::Relayed(answer) => {
            call.body.go_on_from(reached);
            call.deadline = deadline;
            Ok(Answer::Relayed(*answer))
        }
        Said::Refused(refusal) => Err(refusal),
        Said::Whole(_) => unreachable!("where one is told it is told as it comes"),
    }
}

/// An object of the answers that came, by the names of their clusters, between `open` and `close`. Its room is held with
/// the call, until it is delivered.
fn gathered(
    came: Vec<Option<Ended>>,
    (open, close): (&[u8], &[u8]),
    (request, fanout): (&Request, &Fanout),
    call: &mut Call<'_>,
) -> Result<Bytes, ErrorReply> {
    let plan = &request.plan.plan;
    let mut room = plan.budget.reserve_now(open.len() as u64).ok_or_else(reply::buffers_full)?;
    let mut out = open.to_vec();
    let mut used = 0_u64;
    // What is said of the exchange as a whole stands in its own head.
    let dress = request.dress.clone().map(|dress| Dress { fields: Vec::new(), ..dress });
    let id = &request.id;
    let signature = Signature { request_id: id.as_bytes(), timing: None, dress: dress.as_ref() };
    let own = |refusal: ErrorReply, out: &mut Vec<u8>| {
        Enclosed::Own(&refusal.into_reply(id.as_str())).write(out);
    };
    for (position, ended) in came.into_iter().flatten().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        used = used.saturating_add(ended.used);
        let name = &plan.clusters[fanout.to[ended.at]].name;
        serde_json::to_writer(&mut out, name).expect("texts are written to memory");
        out.extend_from_slice(b":{");
        // Its own room is given back as soon as it is written.
        match ended.said {
            Said::Whole(answer) => match as_told(encode::Said::Relayed(&answer.head), signature) {
                Ok(head) => Enclosed::Told(&head, &answer.body).write(&mut out),
                Err(_) => own(reply::answer_too_large(), &mut out),
            },
            Said::Refused(refusal) => own(refusal, &mut out),
            Said::Relayed(_) => unreachable!("where all are told they are read to their ends"),
        }
        out.push(b'}');
        if !room.grow(out.len() as u64) {
            return Err(reply::buffers_full());
        }
    }
    out.extend_from_slice(close);
    call.notes.used_by_legs = used;
    call.body.hold(Held::within(room));
    Ok(Bytes::from(out))
}
