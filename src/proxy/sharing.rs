//! A request to a cluster that shares answers: told what is kept, or what somebody else was asked already.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::answered::Answer;
use super::carrier::{self, Flight, Load};
use super::decide::{self, Identity, write_upstream};
use super::forward;
use super::hold;
use super::reply;
use super::request::{Call, Found, Request};
use super::state::LaneState;
use super::told::{Source, Told};
use crate::base::digest::Digest;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::ids::ClusterId;
use crate::board::flight::{Follower, Next};
use crate::codec::cache_control::CacheControl;
use crate::codec::content::is_encoded;
use crate::codec::edit::Side;
use crate::codec::forwarded::Sender;
use crate::codec::framing::Framing;
use crate::codec::head::RequestHead;
use crate::codec::json::canonical;
use crate::codec::method::Method;
use crate::codec::reply::ErrorReply;
use crate::codec::shared::{SharedHead, call_head, compared, credentials, uncredited};
use crate::codec::split::request_apart;
use crate::filter;
use crate::metrics::recorder::CACHE_RESULTS;
use crate::plan::{Sharing, Targets};
use crate::single_flight;

/// Answers `request`, of which the cluster `first` is asked first. In a box made here: it is large, and few clusters share.
#[cold]
#[inline(never)]
pub(super) fn run<'a>(
    request: &'a mut Request,
    call: &'a mut Call<'_>,
    lane: &'a Rc<LaneState>,
    (first, targets): (ClusterId, &'a Targets),
) -> Pin<Box<dyn Future<Output = Result<Answer, ErrorReply>> + 'a>> {
    Box::pin(answer(request, call, lane, (first, targets)))
}

async fn answer(
    request: &mut Request,
    call: &mut Call<'_>,
    lane: &Rc<LaneState>,
    (first, targets): (ClusterId, &Targets),
) -> Result<Answer, ErrorReply> {
    let plan = Rc::clone(&request.plan);
    let Some(sharing) = plan.plan.clusters[first].sharing.as_ref() else {
        unreachable!("it is asked of clusters that share")
    };
    let Some(question) = Question::of(request, call, lane, first).await? else {
        say(request, (first, sharing), "bypass", None);
        let relayed = forward::run::<true>(request, call, first, targets).await;
        return relayed.map(Answer::Relayed).map_err(|given_up| given_up.told(&mut call.notes));
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
    {
        say(request, (first, sharing), "hit", Some((age + kept.age).as_secs()));
        let framing = Framing::Length(kept.body.len() as u64);
        let framing = if kept.body.is_empty() { Framing::Empty } else { framing };
        let head = Arc::new(SharedHead { head: kept.head.clone(), framing });
        return Ok(Answer::Told(Box::new(Told { head, source: Source::Whole(kept.body.clone()) })));
    }
    say(request, (first, sharing), if kept_as.is_some() { "miss" } else { "bypass" }, None);
    let asked = sharing.is_single.then_some(question.of_one);
    let (mut follower, flight) = match asked {
        Some(asked) => sharing.flights.join(asked),
        None => {
            let flight = Flight::new();
            (flight.join().expect("nobody left it yet"), Some(flight))
        }
    };
    if let Some(flight) = flight {
        let request = question.call(request, lane)?;
        let (sharing, body) = (Arc::clone(sharing), question.body);
        carrier::start(Load { request, body, first, flight, sharing, asked, kept_as }, lane);
    } else {
        request.plan.recorder.borrow_mut().clusters[first].shared += 1;
    }
    let begun = Instant::now();
    let head = head(&mut follower, lane).await;
    call.notes.waited += begun.elapsed();
    call.body.let_go();
    Ok(Answer::Told(Box::new(Told { head: head?, source: Source::Flight(follower) })))
}

/// Waits for the head of a shared answer; an error is everybody's.
async fn head(
    follower: &mut Follower<SharedHead, ErrorReply>,
    lane: &LaneState,
) -> Result<Arc<SharedHead>, ErrorReply> {
    loop {
        match follower.next(lane.turns.granted()) {
            Next::Head(head) => return Ok(head),
            Next::End(Err(refusal)) => return Err(refusal),
            Next::Wait(place) => {
                let mut turn = lane.turns.wait_for(place);
                poll_fn(|cx| turn.poll(cx)).await;
            }
            Next::Piece(_) | Next::Behind | Next::End(Ok(())) => {
                let fault = Fault::upstream(Stage::Wait, FaultKind::Reset, Sent::Wholly);
                return Err(reply::of_fault(&fault));
            }
        }
    }
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
    upstream: RequestHead,
    compared: Vec<u8>,
}

impl Question {
    /// None where its answer may be another one each time.
    async fn of(
        request: &Request,
        call: &mut Call<'_>,
        lane: &LaneState,
        cluster: ClusterId,
    ) -> Result<Option<Self>, ErrorReply> {
        let plan = &request.plan.plan;
        let (route, _) = request.route();
        let operation = decide::operation(plan, route, &request.head);
        let target = plan.routes[route].rewrite.apply(request.head.path_and_query());
        let is_post = request.head.method() == Method::Post && !is_encoded(request.head.head());
        if !is_post || !single_flight::may_be(operation, &target) {
            return Ok(None);
        }
        hold::whole(request.framing, &plan.budget, call, lane).await?;
        let body = call.body.join();
        if !single_flight::is_deterministic(operation, &target, &body) {
            return Ok(None);
        }
        let (Some(said), Some(upstream)) = (canonical::digest(&body), upstream_head(request, cluster)) else {
            return Ok(None);
        };
        let what = [&target, &said.bytes()[..]].map(Digest::of);
        let compared = compared(&upstream, &[]);
        let who = match filter::holder_of(&plan.filters, &request.found) {
            Some((id, holder)) => {
                [b"holder ", plan.filters[id].0.as_bytes(), b" ", holder.name.as_bytes()].concat()
            }
            None => [&b"credentials "[..], &credentials(&request.head)].concat(),
        };
        let all = |parts: &[&Digest]| {
            Digest::of(&parts.iter().flat_map(|part| part.bytes()).copied().collect::<Vec<u8>>())
        };
        let anybody = Digest::of(&uncredited(&upstream));
        let of_one = all(&[&what[0], &what[1], &Digest::of(&compared), &Digest::of(&who)]);
        let of_anybody = all(&[&what[0], &what[1], &anybody]);
        Ok(Some(Self { of_one, of_anybody, body, upstream, compared }))
    }

    /// The request of the call: it carries what was compared, and nothing else of anybody.
    fn call(&self, request: &Request, lane: &LaneState) -> Result<Request, ErrorReply> {
        let head = call_head(&request.head, &self.upstream, &self.compared, self.body.len());
        let head = head.map_err(reply::of_codec)?;
        Ok(Request {
            framing: head.framing(),
            is_changed: false,
            id: lane.request_id(None, false),
            trace: lane.trace(head.head(), false),
            head,
            sender: Sender::default(),
            listener: request.listener,
            plan: Rc::clone(&request.plan),
            route: request.route,
            found: Found::default(),
            dress: None,
        })
    }
}

/// The head as it would go upstream, after all that filters change in it.
fn upstream_head(request: &Request, cluster: ClusterId) -> Option<RequestHead> {
    let plan = &request.plan.plan;
    let endpoint = *plan.clusters[cluster].endpoints.first()?;
    let edits = request.edits(Side::Request);
    let identity = Identity {
        sender: &request.sender,
        trace: &request.trace,
        request_id: request.id.as_bytes(),
        is_held: true,
        can_switch: false,
        is_known: request.found.has_holder(),
        hides_secrets: false,
        edits: &edits,
        framing: request.framing,
        is_changed: request.is_changed,
        reads_answer: request.found.prompt_tokens().is_some(),
    };
    let mut out = Vec::new();
    write_upstream(&mut out, plan, (request.route().0, endpoint), &request.head, &identity);
    request_apart(Bytes::from(out)).ok()
}
