//! Calls that carry requests together: asked, read to their ends, and told to each.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::allowance::Allowance;
use super::carrier::{self, Carried, Flight};
use super::collect::{Collected, collect};
use super::forward::{self, Ways};
use super::intake::Intake;
use super::reply;
use super::standing;
use super::state::{LanePlan, LaneState};
use crate::base::fault::FaultKind;
use crate::base::ids::{ClusterId, RouteId};
use crate::base::limits::GATHERED_BYTES_MAX;
use crate::batch::Member;
use crate::board::buffered::Reservation;
use crate::codec::head::{RequestHead, ResponseHead};
use crate::codec::reply::ErrorReply;
use crate::codec::shared::{SharedHead, call_head, shared};
use crate::codec::trace::TraceContext;
use crate::plan::{Action, Batching, Standing, Waiting};

/// What a carrier carries for.
pub(super) struct Load<'l> {
    pub(super) plan: &'l Rc<LanePlan>,
    pub(super) route: RouteId,
    pub(super) cluster: ClusterId,
    pub(super) lane: &'l Rc<LaneState>,
}

/// What is asked, in the words of one for whom it is.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) head: &'a RequestHead,
    /// What of that a call for several carries.
    pub(super) carried: &'a [u8],
    /// The model that goes upstream, where somebody needs to know it.
    pub(super) model: Option<&'a str>,
    /// Where it stands among others.
    pub(super) standing: &'a Standing,
    /// The trace of the call.
    pub(super) trace: TraceContext,
}

/// What may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// What the cluster's rules say.
    ByRules,
    /// Of that only what nobody answered: a failure of several is everybody's, and is not multiplied.
    Unanswered,
}

/// Why there is no answer.
pub(super) struct Unanswered {
    pub(super) refusal: ErrorReply,
    /// Nobody can have done anything with the request.
    pub(super) is_untouched: bool,
}

impl Unanswered {
    /// Whether there was no place for it.
    pub(super) fn is_full(&self) -> bool {
        self.refusal.code == FaultKind::QueueFull.name()
    }
}

impl From<ErrorReply> for Unanswered {
    fn from(refusal: ErrorReply) -> Self {
        Self { refusal, is_untouched: false }
    }
}

/// A whole answer, and the id of the call.
pub(super) struct Answered {
    pub(super) head: ResponseHead,
    pub(super) body: Bytes,
    pub(super) id: Bytes,
    /// Another cluster gave it in the place of the one that was asked first.
    pub(super) is_substitute: bool,
    /// What the body takes of the room for all.
    pub(super) room: Reservation,
}

/// A part of an answer, with the room of all of it.
struct Part {
    bytes: Bytes,
    _room: Arc<Reservation>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Load<'_> {
    pub(super) async fn ask(
        &self,
        waiting: &[&Waiting],
        batching: &Batching,
    ) -> Result<Answered, Unanswered> {
        let one = waiting[0];
        let members: Vec<&Member> = waiting.iter().map(|waiting| &waiting.member).collect();
        let body = match waiting {
            [only] => only.member.body(),
            _ => Bytes::from(batching.protocol.merge(&members)),
        };
        let model = one.model.as_deref();
        let standing = self.foremost(waiting);
        let trace = self.lane.trace_apart(standing.is_traced);
        if trace.is_sampled() {
            waiting.iter().for_each(|waiting| waiting.flight.made_in(trace.link()));
        }
        let (carried, standing) = (&one.carried, &standing);
        let asked = Asked { head: &one.asked, carried, model, standing, trace };
        let Action::Forward(targets) = &self.plan.plan.routes[self.route].action else {
            return Err(reply::no_route().into());
        };
        let told = waiting.iter().flat_map(|one| std::iter::once(&one.flight).chain(&one.within));
        let flights = told.map(Arc::clone).collect();
        self.send(asked, body, (Repeats::Unanswered, Ways::of(targets), flights)).await
    }

    /// Where the call of these stands: with whoever of them comes first where requests wait. It is told of if one of them is.
    fn foremost(&self, waiting: &[&Waiting]) -> Standing {
        let standings = waiting.iter().map(|waiting| &waiting.standing);
        let class = |standing: &&Standing| match &self.plan.plan.clusters[self.cluster].settings.queue {
            Some(queue) => standing::class(standing.class.as_deref(), &queue.value),
            None => 0,
        };
        let is_traced = waiting.iter().any(|waiting| waiting.standing.is_traced);
        let foremost = standings.min_by_key(class).expect("somebody waits");
        Standing { is_traced, ..foremost.clone() }
    }

    /// Makes one call, and reads its answer to the end.
    pub(super) async fn send(
        &self,
        Asked { head, carried, model, standing, trace }: Asked<'_>,
        body: Bytes,
        (repeats, ways, flights): (Repeats, Ways<'_>, Vec<Arc<Flight>>),
    ) -> Result<Answered, Unanswered> {
        let head = call_head(head, carried, body.len()).map_err(reply::of_codec)?;
        let standing = (standing.clone(), trace);
        let request = carrier::request(self.plan, self.route, (head, model), standing, self.lane);
        let clock = self.lane.watchdogs.watch();
        let mut carried = Carried::new(request, Intake::of_bytes(body), &clock, self.lane);
        carried.call.flights = flights;
        let answered = self.ask_once(&mut carried, repeats, ways).await;
        match &answered {
            Ok(answered) => carried.is_told(Some(answered.head.status()), None),
            Err(unanswered) => carried.is_told(None, Some(&unanswered.refusal)),
        }
        answered
    }

    async fn ask_once(
        &self,
        Carried { request, call, .. }: &mut Carried<'_>,
        repeats: Repeats,
        ways: Ways<'_>,
    ) -> Result<Answered, Unanswered> {
        if repeats == Repeats::Unanswered {
            call.body.be_answered_once();
        }
        let relayed = match forward::run::<true>((request, call), self.lane, self.cluster, ways).await {
            Ok(relayed) => relayed,
            Err(given_up) => {
                let is_untouched = forward::is_untouched(&given_up.fault);
                return Err(Unanswered { refusal: given_up.told(call), is_untouched });
            }
        };
        let is_substitute = relayed.ticket.cluster() != self.cluster;
        let most = Allowance::of(GATHERED_BYTES_MAX);
        let Collected { head, body, room, .. } = collect(relayed, request, call, (self.lane, most)).await?;
        let head = shared(&head, true).map_err(|_| reply::head_too_long())?;
        let id = Bytes::copy_from_slice(request.id.as_bytes());
        Ok(Answered { head, body: Bytes::from(body), id, is_substitute, room })
    }

    /// Tells each member its own part.
    pub(super) fn tell(&self, waiting: &[&Waiting], told: Result<Answered, Unanswered>, batching: &Batching) {
        let Answered { head, body, id, is_substitute, room } = match told {
            Ok(told) => told,
            Err(Unanswered { refusal, .. }) => {
                waiting.iter().for_each(|waiting| waiting.flight.end(Err(refusal.clone())));
                return;
            }
        };
        let members: Vec<&Member> = waiting.iter().map(|waiting| &waiting.member).collect();
        let is_good = (200..300).contains(&head.status());
        let parts = match waiting {
            // What is asked alone is answered as it came.
            [_] => vec![body],
            _ if !is_good => vec![body; waiting.len()],
            _ => match batching.protocol.split(&members, &body) {
                Ok(parts) => parts.into_iter().map(Bytes::from).collect(),
                Err(unfit) => {
                    let refusal = reply::unfit(&unfit.to_string());
                    waiting.iter().for_each(|waiting| waiting.flight.end(Err(refusal.clone())));
                    return;
                }
            },
        };
        // The parts are held until the last of their clients has taken his.
        let room = Arc::new(room);
        for (waiting, part) in waiting.iter().zip(parts) {
            let batch = Some((id.clone(), members.len()));
            let head = SharedHead::whole(head.clone(), part.len(), batch);
            waiting.flight.head(Arc::new(SharedHead { is_substitute, ..head }));
            if !part.is_empty() {
                waiting.flight.push(Bytes::from_owner(Part { bytes: part, _room: Arc::clone(&room) }));
            }
            waiting.flight.end(Ok(()));
        }
    }
}
