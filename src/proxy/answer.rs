//! A request becomes an answer: its route is found, and what that does is done. Never fails: a refusal is an answer.
//!
//! Filters stand in between: the listener's before a route is looked for, the route's as soon as it is known, and before
//! any more of the body is awaited.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::future::OptionFuture;

use super::answered::Answer;
use super::ask::{self, Stop};
use super::audit;
use super::boxed::{Boxed, boxed};
use super::catalog;
use super::common::Destination;
use super::decide;
use super::edit;
use super::fanout;
use super::forward::{self, Ways};
use super::hold;
use super::inquiry::{Asked, Inquiry};
use super::multi;
use super::placing;
use super::reply;
use super::request::{Call, Request};
use super::sharing;
use super::state::LaneState;
use crate::base::ids::{FilterId, RouteId};
use crate::codec::json::BodyEdits;
use crate::codec::operation::Operation;
use crate::codec::reply::ErrorReply;
use crate::codec::splice::spliced;
use crate::filter::{self, Examination, Findings, Refused, Step, View};
use crate::metrics::recorder::LIMITED_KINDS;
use crate::plan::{Action, Plan};

/// Answers `request`.
pub(super) async fn of(request: &mut Request, call: &mut Call<'_>, lane: &Rc<LaneState>) -> Answer {
    let plan = Rc::clone(&request.plan);
    if let Some(answer) = preflight(request) {
        return answer;
    }
    let chain = &plan.plan.chains[request.listener];
    if !chain.is_empty()
        && let Err(stop) = filtered(request, call, chain).await
    {
        return stopped(stop, request, call);
    }
    let found = find_route(request, call).await;
    if let Err(refusal) = found.and_then(|route| take_route(route, request, call)) {
        return refuse(refusal, request, call);
    }
    let (id, _) = request.route();
    let chain = &plan.plan.routes[id].chain;
    if (!chain.is_empty() || request.found.awaits_route())
        && let Err(stop) = filtered(request, call, chain).await
    {
        return stopped(stop, request, call);
    }
    let asks = plan.plan.reads_bodies || plan.plan.routes[id].edits.is_some() || call.body.is_watched();
    if asks {
        let work = looks(&plan.plan, request, call);
        if let Some(Err(stop)) = OptionFuture::from(work).await {
            return stopped(stop, request, call);
        }
    }
    if request.found.is_limited()
        && let Err(refusal) = filter::admit(&plan.plan.filters, &mut request.found, Instant::now())
    {
        return refuse(refusal, request, call);
    }
    if request.head.forwards_left() == Some(0) {
        return Answer::Own(reply::nothing());
    }
    match &plan.plan.routes[id].action {
        Action::Respond(_) => Answer::OfRoute,
        Action::Models => told(catalog::answer(request).map(Answer::Own), request, call),
        Action::Fanout(several) => {
            told(boxed(|| fanout::run(request, call, lane, several)).await, request, call)
        }
        Action::Multi(several) => {
            told(boxed(|| multi::run(request, call, lane, several)).await, request, call)
        }
        Action::Forward(targets) => {
            let first = forward::draw(targets, request, lane);
            if placing::reads(request, first)
                && let Err(refusal) = boxed(|| placing::read(request, call, first)).await
            {
                return refuse(refusal, request, call);
            }
            if let Some(sharing) = &plan.plan.clusters[first].sharing {
                let destination = Destination { first, targets, sharing };
                return told(boxed(|| sharing::run(request, call, lane, destination)).await, request, call);
            }
            match forward::run::<false>((request, call), lane, first, Ways::of(targets)).await {
                Ok(answer) => Answer::Relayed(answer),
                Err(given_up) => refuse(given_up.told(call), request, call),
            }
        }
    }
}

/// The request is one of this route from here on, and has its limit.
fn take_route(route: RouteId, request: &mut Request, call: &mut Call<'_>) -> Result<(), ErrorReply> {
    request.route = Some(route);
    request.plan.recorder.borrow_mut().routes[route].started += 1;
    call.body.max = request.route().1.body_max;
    if call.body.is_too_large() { Err(reply::body_too_large()) } else { Ok(()) }
}

/// The answer to a preflight that a `cors` answers.
fn preflight(request: &mut Request) -> Option<Answer> {
    let plan = Rc::clone(&request.plan);
    let preflight = decide::preflight(&plan.plan, request.listener, &request.head)?;
    if let Some(route) = preflight.route {
        request.route = Some(route);
        plan.recorder.borrow_mut().routes[route].started += 1;
    }
    request.dress = Some(preflight.dress);
    Some(Answer::Own(reply::nothing()))
}

/// Walks a chain of filters.
async fn filtered(request: &mut Request, call: &mut Call<'_>, chain: &[FilterId]) -> Result<(), Stop> {
    let plan = Rc::clone(&request.plan);
    seen(request, |view, found| filter::begin(chain, view, found));
    while let Step::Ask(id) =
        judge(request, |view, found| filter::walk(&plan.plan.filters, view, found, |_| {}))?
    {
        // In a box: it is rare, and large.
        Box::pin(ask::run(request, call, id)).await?;
    }
    Ok(())
}

/// What has to be found out of the body and changed in it, if anything. In a box: most requests have none, and it is large.
#[cold]
#[inline(never)]
fn looks<'a>(
    plan: &'a Plan,
    request: &'a mut Request,
    call: &'a mut Call<'_>,
) -> Option<Boxed<'a, Result<(), Stop>>> {
    let chains = decide::chains(plan, request.listener, request.route);
    let examination = match plan.reads_bodies {
        true => seen(request, |view, found| Examination::new(&plan.filters, chains, view, found)),
        false => None,
    };
    let edits = plan.routes[request.route().0].edits.as_ref();
    let is_idle = examination.is_none() && edits.is_none() && !call.body.is_watched();
    (!is_idle).then(|| boxed(|| look(examination.map(Box::new), edits, request, call)))
}

/// Looks into the body, and changes it.
async fn look(
    examination: Option<Box<Examination<'_>>>,
    edits: Option<&Arc<BodyEdits>>,
    request: &mut Request,
    call: &mut Call<'_>,
) -> Result<(), Stop> {
    let streams = request.route().1.streams;
    let is_told = examination.as_ref().is_some_and(|examination| examination.tells_body());
    if let Some(examination) = examination {
        examine(examination, request, call).await?;
    }
    // Whoever needs all of it has it before anything of it is sent on.
    if is_told || (call.body.is_watched() && !streams) {
        hold::whole(request.framing, &Rc::clone(&request.plan).plan.budget, call).await?;
    }
    match edits {
        Some(edits) => Ok(edit::run(edits, request, call).await?),
        None => Ok(()),
    }
}

/// Reads the body as far as filters need it, and has them judge it.
async fn examine(
    mut examination: Box<Examination<'_>>,
    request: &mut Request,
    call: &mut Call<'_>,
) -> Result<(), Stop> {
    let plan = Rc::clone(&request.plan);
    let read = hold::examine(&mut examination, request.head.framing(), &plan.plan.budget, call).await;
    call.notes.phases.hold = call.notes.arrival.complete.elapsed();
    read?;
    while let Step::Ask(id) =
        judge(request, |view, found| examination.judge(&plan.plan.filters, view, found, |_| {}))?
    {
        // In a box: it is rare, and large.
        Box::pin(ask::run(request, call, id)).await?;
    }
    if let Some(refusal) = request.found.unreadable() {
        return Err(refusal.clone().into());
    }
    let splices = request.found.take_splices();
    if !splices.is_empty() {
        edit::rewrite(spliced(call.body.held(), &splices), request, call)?;
    }
    Ok(())
}

/// Has filters judge what is known of the request.
fn judge(
    request: &mut Request,
    by: impl FnOnce(&View<'_>, &mut Findings) -> Result<Step, Refused>,
) -> Result<Step, ErrorReply> {
    seen(request, by).map_err(|(id, refusal)| {
        if refusal.code == "rate_limited" {
            let kind = LIMITED_KINDS.iter().position(|kind| refusal.param.as_deref() == Some(kind));
            let mut recorder = request.plan.recorder.borrow_mut();
            recorder.limited.entry(id).or_default()[kind.unwrap_or(0)] += 1;
        }
        // Who comes too often showed a credential that holds.
        let judges = request.plan.plan.filters[id].1.judges_credentials();
        if judges && matches!(refusal.status, 401 | 403) {
            audit::refused(request, id, refusal.code);
        }
        refusal
    })
}

/// Shows what is known of the request.
fn seen<T>(request: &mut Request, to: impl FnOnce(&View<'_>, &mut Findings) -> T) -> T {
    let plan = Rc::clone(&request.plan);
    let plan = &plan.plan;
    let Request { head, sender, listener, route, found, .. } = request;
    let path_model = route.and_then(|id| decide::path_model(plan, id, head));
    let view = View {
        head,
        client: sender.client(head.head(), &plan.listeners[*listener].trusted),
        route: route.map(|id| (id, plan.routes[id].name.as_str())),
        path_model: path_model.as_deref(),
        asks_model: route.is_some_and(|id| plan.routes[id].narrows),
        edits: route.and_then(|id| plan.routes[id].edits.as_deref()),
        operation: route.map_or(Operation::Other, |id| decide::operation(plan, id, head)),
        now: Instant::now(),
        today: SystemTime::now(),
    };
    to(&view, found)
}

/// The route: what the head alone decides, or head and body together.
async fn find_route(request: &Request, call: &mut Call<'_>) -> Result<RouteId, ErrorReply> {
    let plan = &request.plan.plan;
    match Inquiry::new(plan, &request.head) {
        (_, Asked::Decided(route)) => Ok(route),
        (_, Asked::Refused(refusal)) => Err(refusal),
        (inquiry, Asked::NeedsMore) => {
            let decided =
                hold::ask(inquiry, (request.head.framing(), plan.table.wanted()), &plan.budget, call).await;
            call.notes.phases.hold = call.notes.arrival.complete.elapsed();
            decided
        }
    }
}

/// What is told who does not pass.
fn stopped(stop: Stop, request: &mut Request, call: &mut Call<'_>) -> Answer {
    match stop {
        Stop::Refused(refusal) => refuse(refusal, request, call),
        Stop::Denied(reply) => {
            spend(request);
            Answer::Own(reply)
        }
    }
}

/// An answer, or what is told in its place.
fn told(answer: Result<Answer, ErrorReply>, request: &mut Request, call: &mut Call<'_>) -> Answer {
    answer.unwrap_or_else(|refusal| refuse(refusal, request, call))
}

fn refuse(refusal: ErrorReply, request: &mut Request, call: &mut Call<'_>) -> Answer {
    spend(request);
    call.notes.code = Some(refusal.code);
    Answer::Own(refusal.into_reply(request.id.as_str()))
}

/// Who is refused has asked all the same.
fn spend(request: &mut Request) {
    if request.found.is_limited() {
        filter::spend(&request.plan.plan.filters, &mut request.found, Instant::now());
    }
}
