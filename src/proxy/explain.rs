//! What would become of a request, told without sending it: the data path's own deciders, one after the other.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::decide::{self, Identity};
use super::inquiry::{Asked, Inquiry};
pub use super::placement::Placement;
use super::placement::{self, Shown};
use super::reply;
use super::state::RequestId;
use crate::base::fault::Sent;
use crate::base::ids::{ClusterId, EndpointId, FilterId, Id, ListenerId, RouteId};
use crate::codec::body_editor::BodyEditor;
use crate::codec::edit::Side;
use crate::codec::forwarded::Sender;
use crate::codec::framing::Framing;
use crate::codec::head::RequestHead;
use crate::codec::json::BodyEdits;
use crate::codec::operation::Operation;
use crate::codec::progress::Progress;
use crate::codec::reply::ErrorReply;
use crate::codec::request::{RequestEvent, RequestReader};
use crate::codec::splice::spliced;
use crate::codec::trace::TraceContext;
use crate::filter::{self, Examination, Findings, Refused, Step, View};
use crate::plan::{Action, Plan, RoutePlan, Targets};

/// What would become of a request.
pub struct Explained {
    /// The route, if one was found.
    pub route: Option<RouteId>,
    /// The filters that it met, each with what it said, in their order.
    pub filters: Vec<(FilterId, Judgement)>,
    /// What its route changes in it.
    pub edits: Vec<Made>,
    /// What happens.
    pub outcome: Outcome,
}

/// An edit of a route, made.
#[derive(Debug)]
pub enum Made {
    /// A member of the body says something else, or nothing any more; it said this, or nothing.
    Member(String, Option<Value>, Option<Value>),
    /// A field says this.
    Field(String, String),
}

/// What a filter says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It passes.
    Pass,
    /// A service decides, which is not asked here.
    Ask,
    /// It is refused.
    Refuse,
}

impl Judgement {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Ask => "ask",
            Self::Refuse => "refuse",
        }
    }
}

/// What happens to a request.
pub enum Outcome {
    /// The gateway refuses it.
    Refused(ErrorReply),
    /// The gateway answers with this status.
    Answered(u16),
    /// It is forwarded to one of these.
    Forwarded(Vec<Target>),
}

/// One cluster that the request may go to.
pub struct Target {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its share of the route's requests, of `shares` in all.
    pub share: u32,
    /// All shares of the route.
    pub shares: u64,
    /// Each endpoint with the head that it would get.
    pub endpoints: Vec<(EndpointId, Bytes)>,
    /// What each of them is thought of.
    pub placements: Vec<Placement>,
}

/// Explains `message`, a whole request as it would arrive from `sender`.
pub fn explain(plan: &Plan, message: &[u8], sender: &Sender) -> Explained {
    let mut seen = Seen { route: None, filters: Vec::new(), edits: Vec::new(), found: Findings::default() };
    let outcome = follow(plan, message, sender, &mut seen).unwrap_or_else(Outcome::Refused);
    Explained { route: seen.route, filters: seen.filters, edits: seen.edits, outcome }
}

/// What was met so far.
struct Seen {
    route: Option<RouteId>,
    filters: Vec<(FilterId, Judgement)>,
    edits: Vec<Made>,
    found: Findings,
}

impl Seen {
    /// Shows filters the request until all have judged, and notes what they say.
    fn judge(
        &mut self,
        mut by: impl FnMut(&mut Findings, &mut dyn FnMut(FilterId)) -> Result<Step, Refused>,
    ) -> Result<(), ErrorReply> {
        loop {
            let Self { filters, found, .. } = self;
            match by(found, &mut |id| filters.push((id, Judgement::Pass))) {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::Ask(id)) => filters.push((id, Judgement::Ask)),
                Err((id, refusal)) => {
                    // One that lets the head pass may not let the route pass, or the body.
                    filters.retain(|(known, _)| *known != id);
                    filters.push((id, Judgement::Refuse));
                    return Err(refusal);
                }
            }
        }
    }
}

fn follow(plan: &Plan, message: &[u8], sender: &Sender, seen: &mut Seen) -> Result<Outcome, ErrorReply> {
    let mut input = BytesMut::from(message);
    let mut reader = RequestReader::new(plan.limits.head_bytes);
    let head = head_of(&mut reader, &mut input)?;
    let listener = ListenerId::at(0);
    let client = sender.client(head.head(), &plan.listeners[listener].trusted);
    let (now, today) = (Instant::now(), SystemTime::now());
    let operation = Operation::Other;
    let view = View {
        head: &head,
        client,
        route: None,
        path_model: None,
        asks_model: false,
        edits: None,
        operation,
        now,
        today,
    };
    if let Some(preflight) = decide::preflight(plan, listener, &head) {
        seen.route = preflight.route;
        return Ok(Outcome::Answered(reply::nothing().status));
    }
    let filters = &plan.filters;
    filter::begin(&plan.chains[listener], &view, &mut seen.found);
    seen.judge(|found, passed| filter::walk(filters, &view, found, passed))?;
    let (route, body, routed_by_body) = route_of(plan, &head, (&mut reader, &mut input), &mut seen.route)?;
    let path_model = decide::path_model(plan, route, &head);
    let name = plan.routes[route].name.as_str();
    let operation = decide::operation(plan, route, &head);
    let RoutePlan { edits, narrows: asks_model, .. } = &plan.routes[route];
    let (path_model, edits, asks_model) = (path_model.as_deref(), edits.as_deref(), *asks_model);
    let view = View { route: Some((route, name)), path_model, asks_model, edits, operation, ..view };
    filter::begin(&plan.routes[route].chain, &view, &mut seen.found);
    seen.judge(|found, passed| filter::walk(filters, &view, found, passed))?;
    let chains = decide::chains(plan, listener, seen.route);
    let examination = Examination::new(filters, chains, &view, &seen.found);
    let is_edited = edits.is_some() && decide::has_body(&head);
    let is_held = routed_by_body || examination.is_some() || is_edited;
    if let Some(mut examination) = examination {
        body.iter().for_each(|piece| examination.feed(piece));
        seen.judge(|found, passed| examination.judge(filters, &view, found, passed))?;
    }
    if let Some(refusal) = seen.found.unreadable() {
        return Err(refusal.clone());
    }
    let (sent, is_changed) = changed(&plan.routes[route], &head, (&body, operation), seen)?;
    let length = sent.iter().map(|piece| piece.len() as u64).sum();
    let changed = is_changed.then(|| head.framing().with_length(length));
    if head.forwards_left() == Some(0) {
        return Ok(Outcome::Answered(reply::nothing().status));
    }
    match &plan.routes[route].action {
        Action::Respond(reply) => Ok(Outcome::Answered(reply.status)),
        Action::Models | Action::Multi(_) => Ok(Outcome::Answered(200)),
        Action::Fanout(fanout) => {
            // Each gets all of them.
            let all = fanout.to.iter().map(|id| (*id, 1, 1)).collect();
            let shown = (&head, sender, true, &sent[..]);
            Ok(Outcome::Forwarded(forwarded(plan, (listener, route, all), shown, (&seen.found, changed))))
        }
        Action::Forward(targets) => Ok(Outcome::Forwarded(forwarded(
            plan,
            (listener, route, shares(targets)),
            (&head, sender, is_held, &sent),
            (&seen.found, changed),
        ))),
    }
}

/// The body as it goes upstream, and whether it is another one than came.
fn changed(
    route: &RoutePlan,
    head: &RequestHead,
    (body, operation): (&[Bytes], Operation),
    seen: &mut Seen,
) -> Result<(Vec<Bytes>, bool), ErrorReply> {
    let splices = seen.found.take_splices();
    let mut sent = spliced(body, &splices);
    let mut is_changed = !splices.is_empty();
    if let Some(edits) = &route.edits {
        is_changed |= edit(edits, head, &mut sent, seen)?;
        if let Some(splice) = seen.found.ask_for_usage(&sent, operation) {
            sent = spliced(&sent, &[splice]);
            is_changed = true;
        }
    }
    if let Some(edits) = &route.field_edits {
        let said = edits.rules.set.iter().zip(&edits.set);
        seen.edits.extend(said.map(|(name, said)| Made::Field(name.clone(), said.clone())));
    }
    Ok((sent, is_changed))
}

/// Makes the edits of a route in the body that is `sent`, and notes them; whether there were any.
fn edit(
    edits: &Arc<BodyEdits>,
    head: &RequestHead,
    sent: &mut Vec<Bytes>,
    seen: &mut Seen,
) -> Result<bool, ErrorReply> {
    if !decide::is_changed(edits, head)? {
        return Ok(false);
    }
    let mut editor = BodyEditor::new(edits, head);
    let mut edited = Vec::new();
    let mut out = |piece| edited.push(piece);
    sent.iter().try_for_each(|piece| editor.feed(piece.clone(), &mut out))?;
    editor.end(out)?;
    let tree = |pieces: &[Bytes]| serde_json::from_slice::<Value>(&pieces.concat()).unwrap_or_default();
    let (before, after) = (tree(sent), tree(&edited));
    for path in (0..edits.wanted().len()).filter_map(|position| edits.wanted().path(position)) {
        let at = |tree: &Value| path.split('.').try_fold(tree, |at: &Value, name| at.get(name)).cloned();
        let (from, to) = (at(&before), at(&after));
        if from != to {
            seen.edits.push(Made::Member(path, from, to));
        }
    }
    *sent = edited;
    if editor.is_changed()
        && let Some(said) = decide::document_said(&mut editor)
    {
        seen.found.set_fields(said);
    }
    Ok(editor.is_changed())
}

/// The route, the body in pieces, and whether that decided.
fn route_of(
    plan: &Plan,
    head: &RequestHead,
    (reader, input): (&mut RequestReader, &mut BytesMut),
    route: &mut Option<RouteId>,
) -> Result<(RouteId, Vec<Bytes>, bool), ErrorReply> {
    let (mut inquiry, asked) = Inquiry::new(plan, head);
    let is_held = matches!(asked, Asked::NeedsMore);
    take(asked, route)?;
    let mut body = Vec::new();
    loop {
        let asked = match reader.next(input).map_err(reply::of_codec)? {
            Progress::Ready(RequestEvent::Data(data)) => {
                let asked = inquiry.feed(&data);
                body.push(data);
                asked
            }
            Progress::Ready(RequestEvent::End) => break take(inquiry.end(), route)?,
            Progress::Ready(RequestEvent::Head(_)) | Progress::NeedMore => {
                return Err(reply::too_slow(Sent::Nothing));
            }
        };
        take(asked, route)?;
    }
    Ok((route.expect("a body that ended decides"), body, is_held))
}

/// Where the request would go, with the head that each endpoint would get.
fn forwarded(
    plan: &Plan,
    (listener, route, targets): (ListenerId, RouteId, Vec<(ClusterId, u32, u64)>),
    (head, sender, is_held, body): (&RequestHead, &Sender, bool, &[Bytes]),
    (found, changed): (&Findings, Option<Framing>),
) -> Vec<Target> {
    // Ids that are random in life are zero here.
    let trace = TraceContext::of(head.head(), sender.is_trusted, [0, 0], 0);
    let id = RequestId::given(head.head(), sender.is_trusted).unwrap_or_else(|| RequestId::new(0, 0));
    let edits =
        decide::edits(plan, (listener, Some(route)), Side::Request, (found, sender, head), id.as_bytes());
    let identity = Identity {
        sender,
        trace: &trace,
        request_id: id.as_bytes(),
        is_held,
        can_switch: true,
        is_known: found.has_holder(),
        hides_secrets: true,
        edits: &edits,
        framing: changed.unwrap_or(head.framing()),
        is_changed: changed.is_some(),
        reads_answer: found.prompt_tokens().is_some(),
    };
    let head_for = |endpoint: &EndpointId| {
        let mut out = Vec::new();
        decide::write_upstream(&mut out, plan, (route, *endpoint), head, &identity);
        (*endpoint, Bytes::from(out))
    };
    let path_model = decide::path_model(plan, route, head);
    let model = plan.routes[route].model_set.as_deref().or(found.model()).or(path_model.as_deref());
    let (shown, now) = (Shown { head, body, model }, Instant::now());
    let target = |(cluster, share, shares): (ClusterId, u32, u64)| Target {
        cluster,
        share,
        shares,
        endpoints: plan.clusters[cluster].endpoints.iter().map(head_for).collect(),
        placements: placement::of(plan, cluster, &shown, now),
    };
    targets.into_iter().map(target).collect()
}

/// Clusters with their shares of how many.
fn shares(targets: &Targets) -> Vec<(ClusterId, u32, u64)> {
    let all = targets.shares.iter().map(|(_, share)| u64::from(*share)).sum();
    let taken = targets.shares.iter().filter(|(_, share)| *share > 0).copied();
    // A fallback has no share of its own.
    let fallback = targets.fallback.iter().map(|id| (*id, 0));
    taken.chain(fallback).map(|(id, share)| (id, share, all)).collect()
}

fn head_of(reader: &mut RequestReader, input: &mut BytesMut) -> Result<RequestHead, ErrorReply> {
    match reader.next(input).map_err(reply::of_codec)? {
        Progress::Ready(RequestEvent::Head(head)) => Ok(head),
        Progress::Ready(RequestEvent::Data(_) | RequestEvent::End) | Progress::NeedMore => {
            Err(reply::too_slow(Sent::Nothing))
        }
    }
}

/// Notes what is known so far.
fn take(asked: Asked, route: &mut Option<RouteId>) -> Result<(), ErrorReply> {
    match asked {
        Asked::NeedsMore => {}
        Asked::Decided(found) => *route = Some(found),
        Asked::Refused(refusal) => return Err(refusal),
    }
    Ok(())
}
