//! A request to a cluster that shares answers: told what is kept, or what somebody else was asked already.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::answered::Answer;
use super::batching;
use super::carrier::{self, Blocked, Carried, Flight};
use super::common::{Common, Destination};
use super::decide;
use super::hold;
use super::intake::Intake;
use super::keeper::Keeper;
use super::reply;
use super::request::{Call, Request};
use super::standing;
use super::state::LaneState;
use super::told::{self, Source, Told};
use crate::base::digest::Digest;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::ids::ClusterId;
use crate::codec::cache_control::CacheControl;
use crate::codec::content::is_encoded;
use crate::codec::json::canonical;
use crate::codec::method::Method;
use crate::codec::reply::ErrorReply;
use crate::codec::shared::{SharedHead, call_head, credentials};
use crate::filter;
use crate::metrics::recorder::CACHE_RESULTS;
use crate::plan::{Action, Sharing};
use crate::single_flight;

/// Answers `request`, of which the cluster `first` is asked first.
pub(super) async fn run(
    request: &mut Request,
    call: &mut Call<'_>,
    lane: &Rc<LaneState>,
    destination: Destination<'_>,
) -> Result<Answer, ErrorReply> {
    let Destination { first, sharing, .. } = destination;
    if !sharing.is_single && sharing.cache.is_none() {
        return batching::run(request, call, lane, destination).await;
    }
    let Some(question) = Question::of(request, call, destination).await? else {
        say(request, (first, sharing), "bypass", None);
        return batching::run(request, call, lane, destination).await;
    };
    let wants = CacheControl::of(request.head.head());
    let kept_as = match &sharing.cache {
        Some(cache) if !wants.no_store => {
            Some(if cache.is_shared { question.of_anybody } else { question.of_one })
        }
        _ => None,
    };
    if let (Some(cache), Some(key), false) = (&sharing.cache, &kept_as, wants.no_cache)
        && let Some((kept, age)) = cache.answers.get(key, Instant::now())
        && wants.max_age.is_none_or(|most| age + kept.age < most)
    {
        say(request, (first, sharing), "hit", Some((age + kept.age).as_secs()));
        let head = Arc::new(SharedHead::whole(kept.head.clone(), kept.body.len(), None));
        return Ok(Answer::Told(Box::new(Told { head, source: Source::Whole(kept.body.clone()) })));
    }
    say(request, (first, sharing), if kept_as.is_some() { "miss" } else { "bypass" }, None);
    let asked = sharing.is_single.then_some(question.of_one);
    let (follower, flight) = match asked {
        Some(asked) => sharing.flights.join(asked),
        None => {
            let flight = Flight::new();
            (flight.join().expect("nobody left it yet"), Some(flight))
        }
    };
    if let Some(flight) = flight {
        let length = question.body.len();
        let head = call_head(&request.head, &question.carried, length);
        let head = head.map_err(reply::of_codec)?;
        let head = (head, request.model_upstream());
        let standing = standing::of(request, first);
        let trace = lane.trace_apart(standing.is_traced);
        if trace.is_sampled() {
            flight.made_in(trace.link());
        }
        let request = carrier::request(&request.plan, request.route().0, head, (standing, trace), lane);
        let load = Load { request, body: question.body, first, flight, asked, kept_as };
        let is_blocked = Blocked::default();
        let flights = vec![Arc::clone(&load.flight)];
        carrier::apart(lane, flights, Rc::clone(&is_blocked), carry(load, Rc::clone(lane), is_blocked));
    } else {
        request.plan.recorder.borrow_mut().clusters[first].shared += 1;
    }
    told::follow(follower, (request, call), lane).await.map(Answer::Told)
}

/// What is carried for all who ask the same.
struct Load {
    request: Request,
    body: Bytes,
    /// The cluster that is asked first.
    first: ClusterId,
    flight: Arc<Flight>,
    /// What it is found by among those under way, and among those that are kept, where it is to be.
    asked: Option<Digest>,
    kept_as: Option<Digest>,
}

async fn carry(load: Load, lane: Rc<LaneState>, is_blocked: Blocked) {
    let Load { request, body, first, flight, asked, kept_as } = load;
    let clock = lane.watchdogs.watch();
    let mut carried = Carried::new(request, Intake::of_bytes(body), &clock, &lane);
    let Carried { request, call, .. } = &mut carried;
    call.flights = vec![Arc::clone(&flight)];
    let plan = Rc::clone(&request.plan);
    let (Action::Forward(targets), Some(sharing)) =
        (&plan.plan.routes[request.route().0].action, &plan.plan.clusters[first].sharing)
    else {
        unreachable!("what is shared is forwarded, to a cluster that shares")
    };
    let destination = Destination { first, targets, sharing };
    // Nobody joins it any more, however it ends.
    let _gone = Gone { sharing, asked, flight: &flight };
    let mut begun = None;
    let ended = match batching::run(request, call, &lane, destination).await {
        Err(refusal) => Err(refusal),
        Ok(Answer::Relayed(relayed)) => {
            // What another cluster answers in its place is not its answer.
            let is_substitute = relayed.ticket.cluster() != first;
            begun = Some(relayed.head.status());
            let kept_as = kept_as.filter(|_| !is_substitute);
            let head = (&relayed.head, relayed.framing);
            let keeper = kept_as.and_then(|key| Keeper::new(key, sharing, head));
            let keeping = (keeper, is_substitute);
            carrier::pass_on(relayed, (&flight, &is_blocked), (request, call), &lane, keeping).await
        }
        Ok(Answer::Told(told)) => {
            let kept_as = kept_as.filter(|_| !told.head.is_substitute);
            begun = Some(told.head.head.status());
            let head = (&told.head.head, told.head.framing);
            let keeper = kept_as.and_then(|key| Keeper::new(key, sharing, head));
            tell_on(*told, &flight, &lane, keeper).await
        }
        Ok(Answer::Own(_) | Answer::OfRoute | Answer::Lines(_)) => {
            unreachable!("a cluster answers, or nobody does")
        }
    };
    carried.is_told(begun, ended.as_ref().err());
    flight.end(ended);
}

/// It is over: who asks the same from here on asks anew.
struct Gone<'s> {
    sharing: &'s Sharing,
    asked: Option<Digest>,
    flight: &'s Arc<Flight>,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        if let Some(asked) = &self.asked {
            self.sharing.flights.remove(asked, self.flight);
        }
    }
}

/// Tells those who wait for it an answer that came with others.
async fn tell_on(
    mut told: Told,
    flight: &Flight,
    lane: &LaneState,
    mut keeper: Option<Keeper<'_>>,
) -> Result<(), ErrorReply> {
    flight.head(Arc::clone(&told.head));
    loop {
        match told.next(lane).await {
            Ok(Some(piece)) => {
                if let Some(keeper) = &mut keeper {
                    keeper.take(&piece);
                }
                flight.push(piece);
            }
            Ok(None) => break,
            Err(_) => {
                let fault = Fault::upstream(Stage::Relay, FaultKind::Truncated, Sent::Wholly);
                return Err(reply::of_fault(&fault));
            }
        }
    }
    if let Some(keeper) = keeper {
        keeper.keep();
    }
    Ok(())
}

/// Counts what became of a request in the cache, where there is one, and has the answer say it.
fn say(
    request: &mut Request,
    (cluster, sharing): (ClusterId, &Sharing),
    result: &'static str,
    age: Option<u64>,
) {
    if sharing.cache.is_none() {
        return;
    }
    if let Some(counted) = CACHE_RESULTS.iter().position(|known| *known == result) {
        request.plan.recorder.borrow_mut().clusters[cluster].cache[counted] += 1;
    }
    request.be_dressed();
    let dress = request.dress.get_or_insert_default();
    dress.drops.push("x-cache");
    dress.fields.push(("x-cache", result.to_owned()));
    if let Some(age) = age {
        dress.drops.push("age");
        dress.fields.push(("age", age.to_string()));
    }
}

/// What is asked, for those who ask the same.
struct Question {
    /// By this one alone, and by anybody.
    of_one: Digest,
    of_anybody: Digest,
    body: Bytes,
    /// What the call carries.
    carried: Vec<u8>,
}

impl Question {
    /// None where its answer may be another one each time.
    async fn of(
        request: &Request,
        call: &mut Call<'_>,
        destination: Destination<'_>,
    ) -> Result<Option<Self>, ErrorReply> {
        let plan = &request.plan.plan;
        let (route, _) = request.route();
        let operation = decide::operation(plan, route, &request.head);
        let target = plan.routes[route].rewrite.apply(request.head.path_and_query());
        let is_post = request.head.method() == Method::Post && !is_encoded(request.head.head());
        if !is_post || !single_flight::may_be(operation, &target) {
            return Ok(None);
        }
        hold::whole(request.framing, &plan.budget, call).await?;
        let body = call.body.join();
        if !single_flight::is_deterministic(operation, &target, &body) {
            return Ok(None);
        }
        let common = Common::of(request, destination);
        let (Some(said), Some(common)) = (canonical::digest(&body), common) else { return Ok(None) };
        let who = match filter::holder_of(&plan.filters, &request.found) {
            Some((id, holder)) => Digest::of_all(&[plan.filters[id].0.as_bytes(), holder.name.as_bytes()]),
            None => Digest::of_all(&[&credentials(&request.head)]),
        };
        let of_one = Digest::of_all(&[common.alike.bytes(), said.bytes(), who.bytes()]);
        let of_anybody = Digest::of_all(&[common.open.bytes(), said.bytes()]);
        Ok(Some(Self { of_one, of_anybody, body, carried: common.carried }))
    }
}
