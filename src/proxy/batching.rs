//! A request to a cluster that batches: at once where a place is free, else with those that gather meanwhile; in pieces where
//! it has more items than one call takes.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::answered::Answer;
use super::carried::Load;
use super::carrier::{self, Blocked, Flight};
use super::common::{Common, Destination};
use super::decide;
use super::forward::{self, Ways};
use super::guard::Guard;
use super::hold;
use super::pieces;
use super::reply;
use super::request::{Call, Request};
use super::side_by_side::SideBySide;
use super::standing;
use super::state::{LanePlan, LaneState};
use super::told;
use crate::base::digest::Digest;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::ids::ClusterId;
use crate::base::time::{deadline, micros};
use crate::batch::Member;
use crate::board::batches::{Batch, Entered};
use crate::codec::content::is_encoded;
use crate::codec::field::FieldName;
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
    let Some(batching) = sharing.batching.as_ref().filter(|batching| may_travel(request, batching)) else {
        return alone((request, call), lane, destination).await;
    };
    let places = Places {
        lane: Rc::clone(lane),
        plan: Rc::clone(&request.plan),
        sharing: Arc::clone(sharing),
        cluster: first,
    };
    // Mostly it is small, and a place is free: then it is forwarded as any other, and nobody need know what it asks.
    let goes_unread = |body: &[u8]| batching.protocol.may_go_unread(body, batching.most.items);
    // It is kept for another attempt as one that is held.
    let replay = request.plan.plan.clusters[first].settings.retry.replay;
    let glanced = call.body.glance((request.framing, replay), goes_unread);
    if glanced == Some(true) && batching.batches.try_go(places.count()) {
        return at_once(request, call, places, destination).await;
    }
    hold::whole(request.framing, &request.plan.plan.budget, call).await?;
    let body = call.body.join();
    if goes_unread(&body) && batching.batches.try_go(places.count()) {
        drop(body);
        return at_once(request, call, places, destination).await;
    }
    let Some(member) = batching.protocol.read(body) else {
        return alone((request, call), lane, destination).await;
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
    let Some(waiting) = waiting((request, call), member, destination) else {
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
    told::follow(follower, (request, call), lane).await.map(Answer::Told)
}

/// As it came, with nobody else.
async fn alone(
    (request, call): (&Request, &mut Call<'_>),
    lane: &Rc<LaneState>,
    Destination { first, targets, .. }: Destination<'_>,
) -> Result<Answer, ErrorReply> {
    let relayed = forward::run::<true>((request, call), lane, first, Ways::of(targets)).await;
    relayed.map(Answer::Relayed).map_err(|given_up| given_up.told(call))
}

/// The same in a place, which is left when the exchange is over.
async fn at_once(
    request: &Request,
    call: &mut Call<'_>,
    places: Places,
    destination: Destination<'_>,
) -> Result<Answer, ErrorReply> {
    request.plan.recorder.borrow_mut().clusters[places.cluster].alone += 1;
    let lane = Rc::clone(&places.lane);
    call.notes.batch.get_or_insert_default()._place = Some(Guard::new(move || places.leave()));
    alone((request, call), &lane, destination).await
}

/// Whether a request may travel with others, by its head.
fn may_travel(request: &Request, batching: &Batching) -> bool {
    let (route, _) = request.route();
    let head = request.head.head();
    request.head.method() == Method::Post
        && !is_encoded(head)
        && !head.has(FieldName::Upgrade)
        && decide::is_at(&request.plan.plan, route, &request.head, |path| batching.protocol.is_at(path))
}

/// What is kept of a request that waits for others.
fn waiting(
    (request, call): (&Request, &Call<'_>),
    member: Member,
    destination: Destination<'_>,
) -> Option<Waiting> {
    let Common { carried, alike, .. } = Common::of(request, destination)?;
    let generation = request.plan.plan.generation;
    // Whoever came under another plan has another route, and other edits.
    let key = Digest::of_all(&[alike.bytes(), member.parameters().bytes(), &generation.to_be_bytes()]);
    Some(Waiting {
        key,
        member,
        generation,
        route: request.route().0,
        cluster: destination.first,
        standing: standing::of(request, destination.first),
        asked: request.head.clone(),
        carried,
        model: request.model_upstream().map(Into::into),
        flight: Flight::new(),
        within: call.flights.clone(),
    })
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
    let members: Vec<_> =
        batch.members.into_iter().filter(|(waiting, _)| !waiting.flight.is_left()).collect();
    let Some((one, _)) = members.first() else { return };
    // They end under the plan with which they began, whatever was loaded meanwhile.
    let own = Some(&places.plan).filter(|plan| plan.plan.generation == one.generation).cloned();
    let Some(plan) = own.or_else(|| places.lane.plan_of(one.generation)) else {
        let fault = Fault::upstream(Stage::Pick, FaultKind::NoEndpoint, Sent::Nothing);
        members.iter().for_each(|(waiting, _)| waiting.flight.end(Err(reply::of_fault(&fault))));
        return;
    };
    count(&plan, one.cluster, members.len(), members.iter().map(|(_, since)| *since));
    let load = Load { plan: &plan, route: one.route, cluster: one.cluster, lane: &places.lane };
    let waiting: Vec<&Waiting> = members.iter().map(|(waiting, _)| waiting).collect();
    let Some(batching) = &places.sharing.batching else { return };
    match load.ask(&waiting, batching).await {
        Ok(told) if matches!(told.head.status(), 400 | 413 | 422) && waiting.len() > 1 => {
            drop(told);
            // One of them may be at fault: each is asked alone, once.
            one_by_one(&waiting, &load, batching).await;
        }
        told => load.tell(&waiting, told, batching),
    }
}

/// Asks for each of those who are still there, alone.
async fn one_by_one(waiting: &[&Waiting], load: &Load<'_>, batching: &Batching) {
    let ask = |at: usize| async move {
        let one = waiting[at];
        let mut told =
            Err(reply::of_fault(&Fault::upstream(Stage::Pick, FaultKind::Reset, Sent::Nothing)).into());
        let flights = [Arc::clone(&one.flight)];
        // Nobody is told of what becomes of one who has left.
        let work = async { told = load.ask(&[one], batching).await };
        carrier::until_left(load.lane, &flights, Blocked::default(), work).await;
        (at, told)
    };
    let mut each = SideBySide::new(waiting.len(), batching.pieces, ask);
    while let Some((at, told)) = poll_fn(|cx| each.poll_next(cx)).await {
        load.tell(&[waiting[at]], told, batching);
    }
}
