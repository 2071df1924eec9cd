//! Calls that carry requests together: asked, read to their ends, and told to each.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::allowance::Allowance;
use super::carrier::{self, Carried};
use super::collect::{Collected, collect};
use super::forward;
use super::intake::Intake;
use super::reply;
use super::request::Call;
use super::state::{LanePlan, LaneState};
use crate::base::ids::{ClusterId, RouteId};
use crate::base::limits::GATHERED_BYTES_MAX;
use crate::batch::Member;
use crate::board::buffered::Reservation;
use crate::codec::head::{RequestHead, ResponseHead};
use crate::codec::reply::ErrorReply;
use crate::codec::shared::{SharedHead, call_head, shared};
use crate::plan::{Action, Batching, Waiting};

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
}

/// What may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// What the cluster's rules say.
    ByRules,
    /// Of that only what nobody answered: a failure of several is everybody's, and is not multiplied.
    Unanswered,
}

/// A whole answer, and the id of the call.
pub(super) struct Answered {
    pub(super) head: ResponseHead,
    pub(super) body: Vec<u8>,
    pub(super) id: Bytes,
    /// What the body takes of the room for all.
    pub(super) room: Reservation,
}

/// A part of an answer, with the room of all of it.
struct Part {
    bytes: Vec<u8>,
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
    ) -> Result<Answered, ErrorReply> {
        let one = waiting[0];
        let members: Vec<&Member> = waiting.iter().map(|waiting| &waiting.member).collect();
        let body = match waiting {
            [only] => only.member.body(),
            _ => Bytes::from(batching.protocol.merge(&members)),
        };
        let asked = Asked { head: &one.asked, carried: &one.carried, model: one.model.as_deref() };
        self.send(asked, body, Repeats::Unanswered).await
    }

    /// Makes one call, and reads its answer to the end.
    pub(super) async fn send(
        &self,
        Asked { head, carried, model }: Asked<'_>,
        body: Bytes,
        repeats: Repeats,
    ) -> Result<Answered, ErrorReply> {
        let Action::Forward(targets) = &self.plan.plan.routes[self.route].action else {
            return Err(reply::no_route());
        };
        let head = call_head(head, carried, body.len()).map_err(reply::of_codec)?;
        let request = carrier::request(self.plan, self.route, (head, model), self.lane);
        let clock = self.lane.watchdogs.watch();
        let mut carried =
            Carried { request, call: Call::apart(Intake::of_bytes(body), &clock, &self.lane.turns) };
        let Carried { request, call } = &mut carried;
        if repeats == Repeats::Unanswered {
            call.body.be_answered_once();
        }
        let relayed = forward::run::<true>((request, call), self.lane, self.cluster, targets).await;
        let collected = match relayed {
            Err(given_up) => Err(given_up.told(call)),
            Ok(relayed) => {
                let most = Allowance::of(GATHERED_BYTES_MAX);
                collect(relayed, request, call, (self.lane, most)).await
            }
        };
        let Collected { head, body, room, .. } = collected?;
        let head = shared(&head, true).map_err(|_| reply::head_too_long())?;
        Ok(Answered { head, body, id: Bytes::copy_from_slice(request.id.as_bytes()), room })
    }

    /// Tells each member its own part.
    pub(super) fn tell(&self, waiting: &[&Waiting], told: Result<Answered, ErrorReply>, batching: &Batching) {
        let Answered { head, body, id, room } = match told {
            Ok(told) => told,
            Err(refusal) => {
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
                Ok(parts) => parts,
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
            waiting.flight.head(Arc::new(SharedHead::whole(head.clone(), part.len(), batch)));
            if !part.is_empty() {
                waiting.flight.push(Bytes::from_owner(Part { bytes: part, _room: Arc::clone(&room) }));
            }
            waiting.flight.end(Ok(()));
        }
    }
}
