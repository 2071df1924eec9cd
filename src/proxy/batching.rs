//! A request to a cluster that batches: at once where a place is free, else with those that gather meanwhile; in pieces where
//! it has more items than one call takes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};

use super::answered::Answer;
use super::carried::Load;
use super::carrier::{self, Blocked, Flight};
use super::common::{Common, Destination};
use super::forward;
use super::guard::Guard;
use super::hold;
use super::pieces;
use super::reply;
use super::request::{Call, Request};
use super::state::{LanePlan, LaneState};
use super::told;
use crate::base::digest::Digest;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::ids::ClusterId;
use crate::base::time::{deadline, micros};
use crate::batch::Member;
use crate::board::batches::{Batch, Entered};
use crate::codec::content::is_encoded;
use crate::codec::method::Method;
use crate::codec::reply::ErrorReply;
use crate::plan::{Batching, Sharing, Waiting};

/// Answers `request`, of which the cluster `first` is asked first.
pub(super) async fn run(
    request: &mut Request,
    call: &mut Call<'_>,
    lane: &Rc<LaneState>,
    destination: Destination<'_>,
) -> Result<Answer, ErrorReply> {
    let Destination { first, sharing, .. } = destination;
    let Some(batching) = &sharing.batching else { return alone((request, call), lane, destination).await };
    let Some(member) = member(request, call, batching).await? else {
        return alone((request, call), lane, destination).await;
    };
    let places = Places {
        lane: Rc::clone(lane),
        plan: Rc::clone(&request.plan),
        sharing: Arc::clone(sharing),
        cluster: first,
    };
    if member.items() > batching.most.items {
        let place = || {
            batching.batches.go();
            let places = places.clone();
            Guard::new(move || places.leave())
        };
        let asked = (batching, &member, &place as &dyn Fn() -> Guard);
        return Box::pin(pieces::run((request, call), lane, destination, asked)).await;
    }
    if batching.batches.try_go(places.count()) {
        return at_once(request, call, places, destination).await;
    }
    let Some(waiting) = waiting(request, member, destination) else {
        return alone((request, call), lane, destination).await;
    };
    let (flight, key) = (Arc::clone(&waiting.flight), waiting.key);
    let follower = flight.join().expect("nobody left it yet");
    let weight = (waiting.member.items(), waiting.member.bytes());
    let now = Instant::now();
    match batching.batches.enter(key, (places.count(), batching.most), weight, (waiting, now)) {
        Entered::Go => return at_once(request, call, places, destination).await,
        Entered::Waits { first: begun, full } => {
            if let Some(number) = begun {
                places.send_later(key, number, batching);
            }
            full.into_iter().for_each(|batch| places.send(batch));
        }
    }
    call.deadline = deadline(now, request.plan.plan.clusters[first].settings.timeouts.total);
    told::follow(follower, call, lane).await.map(Answer::Told)
}

/// As it came, with nobody else.
async fn alone(
    (request, call): (&Request, &mut Call<'_>),
    lane: &Rc<LaneState>,
    Destination { first, targets, .. }: Destination<'_>,
) -> Result<Answer, ErrorReply> {
    let relayed = forward::run::<true>((request, call), lane, first, targets).await;
    relayed.map(Answer::Relayed).map_err(|given_up| given_up.told(call))
}

/// The same in a place, which is left when the exchange is over.
async fn at_once(
    request: &Request,
    call: &mut Call<'_>,
    places: Places,
    destination: Destination<'_>,
) -> Result<Answer, ErrorReply> {
    count(&request.plan, places.cluster, 1, std::iter::once(Instant::now()));
    let lane = Rc::clone(&places.lane);
    call.notes.batch.get_or_insert_default()._place = Some(Guard::new(move || places.leave()));
    alone((request, call), &lane, destination).await
}

/// The member that a request is; none where it travels alone.
async fn member(
    request: &Request,
    call: &mut Call<'_>,
    batching: &Batching,
) -> Result<Option<Member>, ErrorReply> {
    if request.head.method() != Method::Post || is_encoded(request.head.head()) {
        return Ok(None);
    }
    hold::whole(request.framing, &request.plan.plan.budget, call).await?;
    Ok(batching.protocol.read(call.body.join()))
}

/// What is kept of a request that waits for others.
fn waiting(request: &Request, member: Member, destination: Destination<'_>) -> Option<Waiting> {
    let Common { carried, alike, .. } = Common::of(request, destination)?;
    let key = Digest::of_all(&[alike.bytes(), member.parameters().bytes()]);
    let route = request.route().1.name.clone();
    let model = request.model_upstream().map(Into::into);
    Some(Waiting { key, member, route, asked: request.head.clone(), carried, model, flight: Flight::new() })
}

/// Counts what goes as one call: how many, and how long each waited.
fn count(plan: &LanePlan, cluster: ClusterId, members: usize, since: impl Iterator<Item = Instant>) {
    let counts = &mut plan.recorder.borrow_mut().clusters[cluster];
    counts.batch_members.record(members as u64);
    let now = Instant::now();
    for since in since {
        counts.batch_wait.record(micros(since, now));
    }
}

/// The places of a cluster's calls, as one lane sees them.
#[derive(Clone)]
pub(super) struct Places {
    pub(super) lane: Rc<LaneState>,
    /// The plan of the exchange that looks at them, which has them.
    pub(super) plan: Rc<LanePlan>,
    pub(super) sharing: Arc<Sharing>,
    pub(super) cluster: ClusterId,
}

impl Places {
    /// The same under the plan in force, if that has them still.
    fn in_force(self) -> Self {
        let plan = self.lane.plan();
        let is_it = |sharing: &Option<Arc<Sharing>>| {
            sharing.as_ref().is_some_and(|sharing| Arc::ptr_eq(sharing, &self.sharing))
        };
        let known = plan.plan.clusters.pairs().find(|(_, cluster)| is_it(&cluster.sharing)).map(|(id, _)| id);
        match known {
            Some(cluster) => Self { plan, cluster, ..self },
            None => self,
        }
    }

    /// How many there are: `in_flight` for each endpoint that is admitted, one where none is.
    fn count(&self) -> usize {
        let Some(batching) = &self.sharing.batching else { return 0 };
        let (plan, now) = (&self.plan.plan, Instant::now());
        let admitted = plan.clusters[self.cluster].endpoints.iter();
        let admitted = admitted.filter(|id| plan.endpoints[**id].verdict().is_admitted(now)).count();
        admitted.max(1) * batching.in_flight
    }

    /// A call is over: whoever waits longest has its place.
    pub(super) fn leave(self) {
        let places = self.in_force();
        let Some(batching) = &places.sharing.batching else { return };
        if let Some(batch) = batching.batches.done(places.count()) {
            places.send(batch);
        }
    }

    /// Sends a batch off when it has waited long enough.
    fn send_later(&self, key: Digest, number: u64, batching: &Batching) {
        let (places, wait) = (self.clone(), batching.max_wait);
        monoio::spawn(async move {
            monoio::time::sleep(wait).await;
            let due =
                places.sharing.batching.as_ref().and_then(|batching| batching.batches.due(&key, number));
            if let Some(batch) = due {
                places.send(batch);
            }
        });
    }

    /// Sends a batch off, in a place that it has.
    fn send(&self, batch: Batch<Waiting>) {
        let places = self.clone();
        let flights = batch.members.iter().map(|(waiting, _)| Arc::clone(&waiting.flight)).collect();
        let guard = Guard::new(move || places.leave());
        carrier::apart(&self.lane, flights, Blocked::default(), carry(batch, self.clone(), guard));
    }
}

/// Carries a batch: one call for all who are still there.
async fn carry(batch: Batch<Waiting>, places: Places, _guard: Guard) {
    let now = places.clone().in_force();
    let members: Vec<_> =
        batch.members.into_iter().filter(|(waiting, _)| !waiting.flight.is_left()).collect();
    let Some((one, _)) = members.first() else { return };
    // A reload may have taken away what they asked: then it is done as it was.
    let route_of = |places: &Places| {
        let mut routes = places.plan.plan.routes.pairs();
        routes.find(|(_, route)| route.name == one.route).map(|(id, _)| id)
    };
    let Some((Places { plan, cluster, .. }, route)) =
        [&now, &places].into_iter().find_map(|places| Some((places, route_of(places)?)))
    else {
        let fault = Fault::upstream(Stage::Pick, FaultKind::NoEndpoint, Sent::Nothing);
        members.iter().for_each(|(waiting, _)| waiting.flight.end(Err(reply::of_fault(&fault))));
        return;
    };
    let cluster = *cluster;
    count(plan, cluster, members.len(), members.iter().map(|(_, since)| *since));
    let load = Load { plan, route, cluster, lane: &places.lane };
    let waiting: Vec<&Waiting> = members.iter().map(|(waiting, _)| waiting).collect();
    let Some(batching) = &places.sharing.batching else { return };
    match load.ask(&waiting, batching).await {
        Ok(told) if matches!(told.head.status(), 400 | 413 | 422) && waiting.len() > 1 => {
            // One of them may be at fault: each is asked alone, once.
            let each = stream::iter(&waiting)
                .map(|one| async { load.tell(&[one], load.ask(&[one], batching).await, batching) });
            each.buffer_unordered(batching.pieces).collect::<Vec<()>>().await;
        }
        told => load.tell(&waiting, told, batching),
    }
}
