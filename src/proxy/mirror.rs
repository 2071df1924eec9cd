//! A copy of a request for another cluster: gathered as the request goes upstream, sent beside it, read to its end and
//! dropped. Nobody waits for it, and nothing of the exchange knows of it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::call;
use super::carrier::Carried;
use super::caught::caught;
use super::copied::{self, Body, Credential, Gathered};
use super::decide;
use super::finish::finish;
use super::intake::Intake;
use super::listeners::{Copying, Listeners, Then};
use super::reply;
use super::request::{Call, Found, Request};
use super::source::{Cut, Relayed};
use super::state::{LanePlan, LaneState};
use super::watchdog::Watchdogs;
use crate::base::ids::ClusterId;
use crate::base::limits::{MIRROR_IN_FLIGHT_MAX, MIRROR_PAUSE, MIRROR_STRETCH_BYTES, TICK};
use crate::base::time::{deadline, earlier};
use crate::board::in_flight::Place;
use crate::codec::edit::Side;
use crate::codec::progress::Progress;
use crate::metrics::recorder::Mirrored;
use crate::plan::Mirror;

/// A call is about to be made of `request`, to the cluster `first` before any other: a share of them is copied. The copy
/// is sent once the call has handed on all of its body.
#[cold]
#[inline(never)]
pub(super) fn begin(
    (request, call): (&Request, &mut Call<'_>),
    lane: &Rc<LaneState>,
    first: ClusterId,
    mirror: &Mirror,
) {
    let drawn = lane.rng.borrow_mut().unit();
    if !copied::is_drawn(mirror.share, drawn) {
        return;
    }
    let plan = &request.plan.plan;
    // What goes on in another protocol is no request that could be copied.
    let switches = decide::switches(plan, request.route().0, &request.head);
    let gathered = (!switches).then(|| Gathered::new(request.framing, &plan.budget)).flatten();
    let gathered = gathered.and_then(|mut gathered| {
        let is_whole = call.body.held().iter().all(|piece| gathered.push(piece));
        is_whole.then_some(gathered)
    });
    let Some(body) = gathered else {
        return count(&request.plan, mirror.cluster, Mirrored::Skipped);
    };
    let credential = match plan.clusters[first].settings.auth {
        Some(_) => Credential::Clusters,
        None => Credential::Clients,
    };
    let made = Made { request: copy(request, credential, lane), cluster: mirror.cluster, body };
    let copy = Copy { made: Some(made), lane: Rc::clone(lane) };
    call.body.listeners.get_or_insert_default().copy = Some(Box::new(copy));
}

/// The same request, as it goes upstream.
fn copy(request: &Request, credential: Credential, lane: &LaneState) -> Request {
    let fields = copied::fields(request.edits(Side::Request), credential);
    // Where a collector is told of it the copy is a part of its trace, else it says what its request says.
    let trace = match request.is_traced() {
        true => lane.trace_within(&request.trace),
        false => request.trace,
    };
    Request {
        head: request.head.clone(),
        framing: request.framing,
        is_changed: request.is_changed,
        is_carried: true,
        standing: None,
        id: request.id.clone(),
        trace,
        sender: request.sender.clone(),
        listener: request.listener,
        plan: Rc::clone(&request.plan),
        route: request.route,
        found: Found::of(request.found.of_copy(fields)),
        dress: None,
    }
}

/// What a copy is made of.
struct Made {
    request: Request,
    cluster: ClusterId,
    body: Gathered,
}

/// A copy that waits for the last byte of its request.
struct Copy {
    made: Option<Made>,
    lane: Rc<LaneState>,
}

impl Copying for Copy {
    fn take(&mut self, piece: &[u8]) -> bool {
        self.made.as_mut().is_some_and(|made| made.body.push(piece))
    }

    fn end(mut self: Box<Self>) {
        let Some(Made { request, cluster, body }) = self.made.take() else { return };
        let mirror = request.route().1.action.mirror();
        let place = mirror.and_then(|mirror| mirror.in_flight.enter(MIRROR_IN_FLIGHT_MAX));
        match place {
            Some(place) => send(request, (cluster, body.end()), (Rc::clone(&self.lane), place)),
            None => count(&request.plan, cluster, Mirrored::Skipped),
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Some(made) = &self.made {
            count(&made.request.plan, made.cluster, Mirrored::Skipped);
        }
    }
}

fn count(plan: &LanePlan, cluster: ClusterId, result: Mirrored) {
    plan.recorder.borrow_mut().clusters[cluster].mirror[result as usize] += 1;
}

/// Sends it apart from whoever asked.
fn send(request: Request, (cluster, body): (ClusterId, Body), (lane, place): (Rc<LaneState>, Place)) {
    lane.copies.set(lane.copies.get() + 1);
    monoio::spawn(async move {
        let under_way = UnderWay { lane, _place: place };
        let (lane, plan) = (&under_way.lane, Rc::clone(&request.plan));
        let Body { pieces, room } = body;
        let work = carry(request, cluster, pieces, lane);
        let time = copied::time(plan.plan.clusters[cluster].settings.timeouts.total);
        let is_in_the_way = || room.strong_count() > 0 && plan.plan.budget.is_waited_for();
        let result = caught(pin!(within(time, is_in_the_way, &lane.watchdogs, work))).await;
        if result.is_err() {
            plan.recorder.borrow_mut().lane.panics += 1;
        }
        count(&plan, cluster, result.unwrap_or(Mirrored::Failed));
    });
}

/// A copy under way, until it is dropped.
struct UnderWay {
    lane: Rc<LaneState>,
    _place: Place,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.lane.copies.set(self.lane.copies.get() - 1);
    }
}

/// What `work` ends with, unless its time is over before, or that of the lane; or it is in somebody's way.
async fn within(
    time: Duration,
    is_in_the_way: impl Fn() -> bool,
    watchdogs: &Rc<Watchdogs>,
    work: impl Future<Output = Mirrored>,
) -> Mirrored {
    let due = deadline(Instant::now(), Some(time));
    let clock = watchdogs.watch();
    let mut work = pin!(work);
    loop {
        let look = earlier(due, Some(Instant::now() + TICK));
        let ended = clock.within(look, |cx| match clock.is_ended() {
            true => Poll::Ready(Mirrored::Failed),
            false => work.as_mut().poll(cx),
        });
        if let Some(result) = ended.await {
            return result;
        }
        if due.is_some_and(|due| due <= Instant::now()) || is_in_the_way() {
            return Mirrored::Failed;
        }
    }
}

/// Makes the call, once, and reads its answer to the end.
async fn carry(request: Request, cluster: ClusterId, pieces: Vec<Bytes>, lane: &LaneState) -> Mirrored {
    let clock = lane.watchdogs.watch();
    let mut body = Intake::of_pieces(pieces);
    body.listeners = Some(Box::new(Listeners { then: Then::LetGo, ..Listeners::default() }));
    let mut carried = Carried::new(request, body, &clock, lane);
    let Carried { request, call, .. } = &mut carried;
    call.may_wait = false;
    let mut answer = match call::run(request, call, cluster, 1).await {
        Ok(answer) => answer,
        Err(given_up) => {
            let refusal = given_up.told(call);
            carried.is_told(None, Some(&refusal));
            return Mirrored::Failed;
        }
    };
    let status = answer.head.status();
    let read = drop_body(&mut answer, call).await;
    let result = if read.is_ok() { Mirrored::Sent } else { Mirrored::Failed };
    finish(answer, read, request, call, lane);
    let cut = call.notes.fault.as_ref().map(reply::of_fault);
    carried.is_told(Some(status), cut.as_ref());
    result
}

/// Reads what is left of an answer, and drops it. A stretch at a time, however fast it comes: others have their turns.
async fn drop_body(answer: &mut Relayed, call: &mut Call<'_>) -> Result<(), Cut> {
    let mut stretch = 0;
    loop {
        match answer.next_piece()? {
            Progress::Ready(Some(piece)) => stretch += piece.len(),
            Progress::Ready(None) => return Ok(()),
            Progress::NeedMore => {
                if stretch >= MIRROR_STRETCH_BYTES {
                    stretch = 0;
                    monoio::time::sleep(MIRROR_PAUSE).await;
                }
                let since = Instant::now();
                let clocks = (call.clock, call.deadline);
                if !poll_fn(|cx| answer.poll_wait(&mut call.body, clocks, since, cx)).await? {
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_copy_ends_with_its_time_and_with_the_lanes_and_where_it_is_in_the_way() {
        let watchdogs = Rc::new(Watchdogs::new(Instant::now()));
        let in_the_way = Cell::new(false);
        let begin = |time| Box::pin(within(time, || in_the_way.get(), &watchdogs, pending()));
        let mut context = Context::from_waker(Waker::noop());
        let (mut short, mut long) = (begin(Duration::ZERO), begin(Duration::from_secs(600)));
        assert!(
            short.as_mut().poll(&mut context).is_pending() && long.as_mut().poll(&mut context).is_pending()
        );
        watchdogs.sweep(Instant::now() + TICK);
        assert_eq!(short.as_mut().poll(&mut context), Poll::Ready(Mirrored::Failed));
        assert!(long.as_mut().poll(&mut context).is_pending());
        in_the_way.set(true);
        assert!(long.as_mut().poll(&mut context).is_pending(), "it is looked at with the next tick");
        watchdogs.sweep(Instant::now() + 2 * TICK);
        assert_eq!(long.as_mut().poll(&mut context), Poll::Ready(Mirrored::Failed));
        in_the_way.set(false);
        let mut last = begin(Duration::from_secs(600));
        assert!(last.as_mut().poll(&mut context).is_pending());
        watchdogs.end_all();
        assert_eq!(last.as_mut().poll(&mut context), Poll::Ready(Mirrored::Failed));
        assert_eq!(begin(Duration::MAX).as_mut().poll(&mut context), Poll::Ready(Mirrored::Failed));
    }
}
