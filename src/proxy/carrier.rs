//! A call that several wait for: made on one lane, apart from any of them, and cancelled when the last one has left.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::caught::caught;
use super::finish::{finish, finish_cut};
use super::intake::Intake;
use super::keeper::Keeper;
use super::reply;
use super::request::{Call, Found, Request};
use super::source::Relayed;
use super::state::{LanePlan, LaneState};
use super::traced;
use super::turns::Turn;
use super::watchdog::Watchdog;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::ids::{Id, ListenerId, RouteId};
use crate::base::limits::FLIGHT_PATIENCE;
use crate::base::summary::Ended;
use crate::base::time::{deadline, earlier, micros};
use crate::board::granted::Granted;
use crate::codec::forwarded::Sender;
use crate::codec::head::RequestHead;
use crate::codec::progress::Progress;
use crate::codec::reply::ErrorReply;
use crate::codec::shared::{SharedHead, shared};
use crate::codec::trace::TraceContext;
use crate::plan::Standing;

/// An answer under way, as requests share it.
pub(super) type Flight = crate::board::flight::Flight<SharedHead, ErrorReply>;

/// Whether a carrier waits for its followers to take some of what it has.
pub(super) type Blocked = Rc<Cell<bool>>;

/// Does `work` on this lane, apart from whoever began it, until it is done or all have left those flights.
pub(super) fn apart(
    lane: &Rc<LaneState>,
    flights: Vec<Arc<Flight>>,
    is_blocked: Blocked,
    work: impl Future<Output = ()> + 'static,
) {
    let lane = Rc::clone(lane);
    monoio::spawn(async move {
        if caught(pin!(until_left(&lane, &flights, is_blocked, work))).await.is_err() {
            let fault = Fault::upstream(Stage::Relay, FaultKind::Reset, Sent::Partly);
            flights.iter().for_each(|flight| flight.end(Err(reply::of_fault(&fault))));
        }
    });
}

pub(super) async fn until_left(
    lane: &LaneState,
    flights: &[Arc<Flight>],
    is_blocked: Blocked,
    work: impl Future<Output = ()>,
) {
    let mut bell = Bell::new(lane);
    let mut work = pin!(work);
    poll_fn(|cx| {
        loop {
            if flights.iter().all(|flight| flight.is_left()) || work.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut has_room = false;
            for flight in flights {
                has_room |= flight.has_room(bell.maker, bell.place());
            }
            let is_left = flights.iter().all(|flight| flight.is_left());
            let may_go_on = (is_blocked.take() && has_room) || is_left;
            if !may_go_on && bell.poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Where a carrier is told that its followers went on, or left.
struct Bell<'l> {
    lane: &'l LaneState,
    /// Whose it is.
    maker: u64,
    waits: Option<(u64, Turn<'l>)>,
}

impl<'l> Bell<'l> {
    fn new(lane: &'l LaneState) -> Self {
        Self { lane, maker: Granted::place(), waits: None }
    }

    fn place(&mut self) -> (Arc<Granted>, u64) {
        let lane = self.lane;
        let (number, _) = self.waits.get_or_insert_with(|| {
            let number = Granted::place();
            (number, lane.turns.wait_for(number))
        });
        (Arc::clone(lane.turns.granted()), *number)
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Some((_, turn)) = &mut self.waits else { return Poll::Ready(()) };
        let rung = turn.poll(cx);
        if rung.is_ready() {
            self.waits = None;
        }
        rung
    }
}

/// A request of nobody for a model, if for any: it carries what was compared, and nothing else of anybody. It stands where
/// somebody stands for whom it is.
pub(super) fn request(
    plan: &Rc<LanePlan>,
    route: RouteId,
    (head, model): (RequestHead, Option<&str>),
    (standing, trace): (Standing, TraceContext),
    lane: &LaneState,
) -> Request {
    Request {
        framing: head.framing(),
        is_changed: false,
        is_carried: true,
        id: lane.request_id(None, false),
        trace,
        head,
        sender: Sender::default(),
        listener: ListenerId::at(0),
        plan: Rc::clone(plan),
        route: Some(route),
        found: Found::of_model(model),
        standing: Some(Box::new(standing)),
        dress: None,
    }
}

/// A call of such a request. Counted where it was asked last when it is over, cancelled or not, and told of.
pub(super) struct Carried<'c> {
    pub(super) request: Request,
    pub(super) call: Call<'c>,
    pub(super) lane: &'c LaneState,
}

impl<'c> Carried<'c> {
    /// Such a call, whose body is there.
    pub(super) fn new(request: Request, body: Intake<'c>, clock: &'c Watchdog, lane: &'c LaneState) -> Self {
        let mut call = Call::apart(body, clock, &lane.turns);
        call.notes.tried = request.is_traced().then(Box::default);
        Self { request, call, lane }
    }

    /// Those for whom it was made are told an answer with the status that began, if one did, or how it ended.
    pub(super) fn is_told(&mut self, begun: Option<u16>, refusal: Option<&ErrorReply>) {
        let notes = &mut self.call.notes;
        let refused = refusal.map_or(0, |refusal| refusal.status);
        notes.status = begun.unwrap_or(refused);
        notes.code = refusal.map(|refusal| refusal.code);
        notes.ended = if notes.status.max(refused) < 500 { Ended::Well } else { Ended::Badly };
    }
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        let Self { request, call, lane } = self;
        let now = Instant::now();
        if let Some(endpoint) = call.notes.endpoint {
            let total = micros(call.notes.arrival.complete, now);
            request.plan.recorder.borrow_mut().record_at(endpoint, total, None);
        }
        if call.notes.tried.is_some() {
            traced::tell_call((request, &mut call.notes), lane, now);
        }
    }
}

/// Passes an answer on to those who wait for it.
pub(super) async fn pass_on(
    mut answer: Relayed,
    (flight, is_blocked): (&Flight, &Cell<bool>),
    (request, call): (&Request, &mut Call<'_>),
    lane: &LaneState,
    (mut keeper, is_substitute): (Option<Keeper<'_>>, bool),
) -> Result<(), ErrorReply> {
    match shared(&answer.head, false) {
        Ok(head) => {
            let framing = answer.framing;
            flight.head(Arc::new(SharedHead { head, framing, batch: None, is_substitute }));
        }
        Err(_) => return Err(reply::head_too_long()),
    }
    let read = loop {
        match answer.next_piece() {
            Err(cut) => break Err(cut),
            Ok(Progress::Ready(None)) => break Ok(()),
            Ok(Progress::Ready(Some(piece))) => {
                if let Some(kept) = &mut keeper {
                    kept.take(&piece);
                }
                flight.push(piece);
            }
            Ok(Progress::NeedMore) => {
                room((flight, is_blocked), call).await;
                let since = Instant::now();
                let clocks = (call.clock, call.deadline);
                match poll_fn(|cx| answer.poll_wait(&mut call.body, clocks, since, cx)).await {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(cut) => break Err(cut),
                }
            }
        }
    };
    if let Err(cut) = read {
        return Err(finish_cut(answer, cut, request, call, lane));
    }
    finish(answer, Ok(()), request, call, lane);
    if let Some(keeper) = keeper {
        keeper.keep();
    }
    Ok(())
}

/// Waits until those who wait for the answer have taken some of what there is too much of: for those who are behind only a
/// while, for the fastest as long as the whole exchange may last.
async fn room((flight, is_blocked): (&Flight, &Cell<bool>), call: &Call<'_>) {
    let look = |_: &mut Context<'_>| match flight.is_full() {
        true => {
            is_blocked.set(true);
            Poll::Pending
        }
        false => Poll::Ready(()),
    };
    while flight.is_full() {
        let due = earlier(deadline(Instant::now(), Some(FLIGHT_PATIENCE)), call.deadline);
        if call.clock.within(due, look).await.is_none() {
            flight.leave_behind();
            if call.deadline.is_some_and(|due| due <= Instant::now()) {
                // The answer is late, which whoever reads it sees.
                return;
            }
        }
    }
}
