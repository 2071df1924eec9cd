//! What is carried through the four circles: the request as it is understood, and the call that is made of it.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::around::Begin;
use super::decide::{self, Identity};
use super::early::{Begun, Early};
use super::intake::{Intake, Rest};
use super::notes::{Arrival, Notes};
use super::state::{LanePlan, RequestId};
use super::turns::Turns;
use super::watchdog::Watchdog;
use crate::balance::Affinity;
use crate::base::fault::Stage;
use crate::base::ids::{ClusterId, ListenerId, RouteId};
use crate::board::flight::Flight;
use crate::cluster::dispatch::Repeat;
use crate::cluster::{Outcome, Ticket};
use crate::codec::content::is_encoded;
use crate::codec::edit::{Edits, Side};
use crate::codec::encode::{Dress, Signature};
use crate::codec::forwarded::Sender;
use crate::codec::framing::Framing;
use crate::codec::head::{RequestHead, ResponseHead};
use crate::codec::reply::ErrorReply;
use crate::codec::shared::SharedHead;
use crate::codec::trace::TraceContext;
use crate::codec::usage::UsageReader;
use crate::filter::Findings;
use crate::plan::{RoutePlan, Standing};

/// A request: what is asked, by whom, under which plan. Knows nothing of a connection.
pub(super) struct Request {
    pub(super) head: RequestHead,
    /// How its body goes upstream: as it came, unless it was changed.
    pub(super) framing: Framing,
    /// Its body was changed: what signs it is void.
    pub(super) is_changed: bool,
    /// It carries what others have in common, or a copy of another's, as filters left it: nothing is changed in its fields
    /// but what it brings with it.
    pub(super) is_carried: bool,
    /// Where it stands among others, of a call that is made for somebody, or for several.
    pub(super) standing: Option<Box<Standing>>,
    pub(super) id: RequestId,
    pub(super) trace: TraceContext,
    /// Who asks.
    pub(super) sender: Sender,
    /// Where it was accepted.
    pub(super) listener: ListenerId,
    /// The plan it started with; it never sees half of a reload.
    pub(super) plan: Rc<LanePlan>,
    /// Its route, once it is found.
    pub(super) route: Option<RouteId>,
    /// What its filters found.
    pub(super) found: Found,
    /// What its filters have the answer say.
    pub(super) dress: Option<Dress>,
}

/// What filters found, in a box that only a request has which meets some.
#[derive(Debug, Default)]
pub(super) struct Found(Option<Box<Findings>>);

impl Deref for Found {
    type Target = Findings;

    fn deref(&self) -> &Findings {
        static NOTHING: Findings = Findings::NOTHING;
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl Found {
    /// Whether fields are set by what was found.
    #[inline]
    fn has_fields(&self) -> bool {
        self.0.as_ref().is_some_and(|found| !found.fields().is_empty())
    }
}

impl DerefMut for Found {
    fn deref_mut(&mut self) -> &mut Findings {
        self.0.get_or_insert_default()
    }
}

impl Found {
    /// These.
    pub(super) fn of(findings: Findings) -> Self {
        Self(Some(Box::new(findings)))
    }

    /// Nothing but the model, of a request that others travel in.
    pub(super) fn of_model(model: Option<&str>) -> Self {
        Self(model.map(|model| Box::new(Findings::of_model(model))))
    }
}

impl Request {
    /// Its route, which was found before anything else is done for it.
    pub(super) fn route(&self) -> (RouteId, &RoutePlan) {
        let id = self.route.expect("a request is acted upon by the route that was found for it");
        (id, &self.plan.plan.routes[id])
    }

    /// What filters have its answer say is settled, now that its route is known or never will be.
    #[inline(always)] // each exchange passes here
    pub(super) fn be_dressed(&mut self) {
        if self.dress.is_none() {
            self.dress = self.dressed();
        }
    }

    /// What filters have its answer say, once its route is known.
    #[inline(always)] // as above
    pub(super) fn dressed(&self) -> Option<Dress> {
        let plan = &self.plan.plan;
        let to_browsers = decide::dress(plan, self.listener, self.route, &self.head);
        let limits = match self.found.is_limited() {
            true => decide::told_of_limits(plan, &self.found, Instant::now()),
            false => None,
        };
        let mut dress = match (to_browsers, limits) {
            (Some(mut one), Some(other)) => {
                one.drops.extend(other.drops);
                one.fields.extend(other.fields);
                Some(one)
            }
            (one, other) => one.or(other),
        };
        if self.found.flagged().is_some() {
            let dress = dress.get_or_insert_default();
            dress.drops.push("x-guard");
            dress.fields.push(("x-guard", "flagged".to_owned()));
        }
        let edits = self.edits(Side::Response);
        if !edits.is_empty() {
            dress.get_or_insert_default().edits = edits;
        }
        dress
    }

    /// What filters have changed in the fields of its message on that side.
    #[inline(always)] // each exchange asks twice, and mostly there are none
    pub(super) fn edits(&self, side: Side) -> Vec<Edits> {
        if self.is_carried {
            return self.found.fields().to_vec();
        }
        if !self.plan.plan.edits_fields && !self.found.has_fields() {
            return Vec::new();
        }
        let Self { head, id, sender, listener, route, found, .. } = self;
        decide::edits(&self.plan.plan, (*listener, *route), side, (found, sender, head), id.as_bytes())
    }

    /// What its head says upstream of the exchange, with what filters changed in it; whether its body is held, and whether
    /// somebody could go on in another protocol.
    #[inline(always)] // each attempt asks
    pub(super) fn identity<'a>(
        &'a self,
        edits: &'a [Edits],
        is_held: bool,
        can_switch: bool,
    ) -> Identity<'a> {
        Identity {
            sender: &self.sender,
            trace: &self.trace,
            request_id: self.id.as_bytes(),
            is_held,
            can_switch,
            is_known: self.found.has_holder(),
            hides_secrets: false,
            edits,
            framing: self.framing,
            is_changed: self.is_changed,
            reads_answer: self.found.prompt_tokens().is_some(),
        }
    }

    /// Who reads what the answer behind `head` says of its tokens: all of it for a limit or a line of the log, else its ends.
    #[inline(always)] // each exchange asks
    pub(super) fn usage_reader(&self, head: &ResponseHead, is_traced: bool) -> Option<UsageReader> {
        let reader = match self.found.prompt_tokens().is_some() || self.plan.plan.observe.access_log.is_some()
        {
            true => Some(UsageReader::new(head)),
            false => UsageReader::glance(head),
        };
        match is_traced {
            true => reader.map(UsageReader::with_model),
            false => reader,
        }
    }

    /// Whether a collector is told of it.
    pub(super) fn is_traced(&self) -> bool {
        self.plan.plan.observe.trace.is_some() && self.trace.is_sampled()
    }

    /// Whether something is taken out of the answer behind `head`, for only we asked for it.
    #[inline(always)] // as above
    pub(super) fn hides_usage(&self, head: &ResponseHead) -> bool {
        self.found.hides_usage() && head.is_event_stream() && !is_encoded(head.head())
    }

    /// What an answer says of its exchange; its head is about to leave.
    pub(super) fn signature(&self, call: &Call<'_>) -> Signature<'_> {
        let says_time = self.plan.plan.observe.server_timing;
        Signature {
            request_id: self.id.as_bytes(),
            timing: says_time.then(|| call.notes.timing(call.body.waited, Instant::now())),
            dress: self.dress.as_ref(),
        }
    }

    /// An attempt ended like this: books whose fault it was, and settles its ticket.
    pub(super) fn settle(&self, ticket: Ticket, outcome: Outcome, now: Instant) {
        if outcome.is_fault() {
            let endpoint = self.plan.plan.clusters[ticket.cluster()].endpoints[ticket.position()];
            self.plan.recorder.borrow_mut().endpoints[endpoint].faults += 1;
        }
        ticket.settle(outcome, now);
    }

    /// The model that goes upstream: the one that its client asks for, unless its route puts another in its place.
    pub(super) fn model_upstream(&self) -> Option<&str> {
        self.route().1.model_set.as_deref().or_else(|| self.found.model())
    }

    /// Whether it may be executed twice: by its method, or because its client said how to tell a repeat
    /// (draft-ietf-httpapi-idempotency-key-header).
    pub(super) fn repeat(&self) -> Repeat {
        let is_told = || self.head.head().values_of(b"idempotency-key").next().is_some();
        if self.head.method().is_idempotent() || is_told() { Repeat::Idempotent } else { Repeat::Never }
    }
}

/// What a request is answered with: its body, its clocks, and what is noted on the way.
pub(super) struct Call<'c> {
    pub(super) body: Intake<'c>,
    /// The cluster's clocks.
    pub(super) clock: &'c Watchdog,
    /// Where it waits for turns that others grant.
    pub(super) turns: &'c Turns,
    /// When the cluster's `total` runs out.
    pub(super) deadline: Option<Instant>,
    /// What was found in its body that leads it to an endpoint of a cluster.
    pub(super) affinity: Option<Box<(ClusterId, Affinity)>>,
    /// Somebody else may be asked in the place of an endpoint that refuses.
    pub(super) may_move_on: bool,
    /// It may wait for a place in a cluster that is full.
    pub(super) may_wait: bool,
    /// Who answers the elements of several requests in one, where it may be that.
    pub(super) elements: Option<Begin>,
    /// Who is told before there is an answer.
    pub(super) early: Early<'c>,
    /// Where it is waited for by several: they are told that an endpoint was found for it.
    pub(super) flights: Vec<Arc<Flight<SharedHead, ErrorReply>>>,
    /// Its answer has begun before anybody gave one.
    pub(super) begun: Option<Box<Begun<'c>>>,
    pub(super) notes: Notes,
}

impl<'c> Call<'c> {
    /// A call that no client waits for on its connection, with a body that is there.
    pub(super) fn apart(body: Intake<'c>, clock: &'c Watchdog, turns: &'c Turns) -> Self {
        Self {
            body,
            clock,
            turns,
            deadline: None,
            affinity: None,
            may_move_on: false,
            may_wait: true,
            elements: None,
            early: Early::nobody(),
            flights: Vec::new(),
            begun: None,
            notes: Notes::new(Arrival::at(Instant::now())),
        }
    }

    /// The exchange is given up at `now`, while something is waited for perhaps: where the time went is known all the same.
    pub(super) fn give_up(&mut self, now: Instant) {
        self.body.give_up(now);
        if self.notes.stage == Stage::Route {
            // Nobody was asked for an answer: all that was waited for of the body was for what looks at it.
            self.notes.phases.hold = self.notes.phases.hold.max(self.body.waited);
        }
        self.notes.give_up(self.body.rest() == Rest::Read, now);
    }
}
