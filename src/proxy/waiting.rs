//! A request waits for a place in a cluster that is full: let in when its turn comes, refused where that would be too late.

use std::task::Poll;
use std::time::{Duration, Instant};

use super::comments::Comments;
use super::intake::BodyFault;
use super::request::{Call, Request};
use super::standing::{class, class_said, deadline_said, key};
use super::turns::Turn;
use crate::admission::{Asks, Seat};
use crate::balance::Positions;
use crate::base::fault::FaultKind;
use crate::base::time::earlier;
use crate::cluster::Cluster;
use crate::config::QueueConfig;
use crate::plan::ClusterPlan;

/// Why somebody is not let in.
pub(super) struct TurnedAway {
    /// The line is full or too long, its time ran out in it, or its body broke.
    pub(super) kind: FaultKind,
    /// How that broke.
    pub(super) body: Option<BodyFault>,
    /// How long it would have to wait, or to wait on, where that is known.
    pub(super) wait: Option<Duration>,
}

/// Where somebody waits.
#[derive(Debug)]
pub(super) struct Place {
    seat: Seat,
    /// When its client is told so next.
    told: Option<Instant>,
}

impl Place {
    /// An endpoint was picked: the turn is used.
    pub(super) fn claim(self) {
        self.seat.claim();
    }
}

/// Lets a request in: at once where there are places and nobody waits, or where nobody is there to be waited for, of `only` some
/// where not all are asked; else when its turn comes. Whoever was let in and found no place after all returns with its `place`;
/// who `must` wait takes one though there seem to be places. Who may not wait is let in only where nobody would have to.
pub(super) async fn pass(
    request: &Request,
    call: &mut Call<'_>,
    (plan, cluster, only): (&ClusterPlan, &Cluster, Option<&Positions>),
    (place, must): (Option<Place>, bool),
) -> Result<Option<Place>, TurnedAway> {
    let Some(config) = &plan.settings.queue else { return Ok(None) };
    let (queue, now) = (cluster.queue(), Instant::now());
    if place.is_none() && !must && queue.is_quiet() && !cluster.is_full(now) {
        return Ok(None);
    }
    if !cluster.may_serve(only, now) {
        // Whoever picks is told so.
        return Ok(place);
    }
    if !call.may_wait {
        return Err(TurnedAway { kind: FaultKind::QueueFull, body: None, wait: None });
    }
    let usual = cluster.expected_wait(now);
    let due = due(request, call, &config.value, now);
    let mut place = match place {
        Some(place) => {
            place.seat.wait_on();
            place
        }
        None => {
            let patience = due.saturating_duration_since(now);
            let class = class(class_said(request), &config.value);
            let max = usize::try_from(config.value.max).unwrap_or(usize::MAX);
            let asks = Asks { class, key: key(request), patience, max, usual };
            let turned_away = |wait| TurnedAway { kind: FaultKind::QueueFull, body: None, wait };
            let entered = queue.enter(asks, call.turns.granted(), now);
            Place { seat: entered.map_err(|refused| turned_away(refused.wait))?, told: None }
        }
    };
    if !must {
        // A place may have come free before anybody could see that somebody waits. Who has just found none waits for the
        // next end or tick.
        cluster.fill(now);
    }
    call.notes.since = Some(now);
    let seat = &place.seat;
    let mut turn = call.turns.wait_in_line(seat.number());
    let mut ended = Ended::Woken;
    if !seat.is_granted() {
        let mut comments = match config.value.comments {
            Some(every) => {
                let next = place.told.unwrap_or(now + every);
                Comments::of((every, next), request, call, now).await
            }
            None => None,
        };
        let is_over = |now| seat.is_granted() || !cluster.may_serve(only, now);
        let waited = wait((&mut turn, due), request, call, (&mut comments, is_over)).await;
        place.told = comments.as_ref().map(Comments::next);
        ended = waited.map_err(|fault| TurnedAway { kind: fault.kind(), body: Some(fault), wait: None })?;
    }
    let waited = now.elapsed();
    call.notes.queued(waited);
    if let Some(tried) = &mut call.notes.tried {
        tried.waited(now, now + waited, &request.trace);
    }
    match ended {
        Ended::Late if !place.seat.is_granted() => {
            let wait = place.seat.expected(usual, now + waited);
            Err(TurnedAway { kind: FaultKind::QueueTimeout, body: None, wait })
        }
        Ended::Late | Ended::Woken => Ok(Some(place)),
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The turn has come, or nobody is there any more to be waited for.
    Woken,
    /// Time ran out.
    Late,
}

/// Waits until `due`, or until whoever is woken finds that it `is_over`. The client is told meanwhile, where it is to be: its
/// body may break while that asks for it.
async fn wait(
    (turn, due): (&mut Turn<'_>, Instant),
    request: &Request,
    call: &mut Call<'_>,
    (comments, is_over): (&mut Option<Comments>, impl Fn(Instant) -> bool),
) -> Result<Ended, BodyFault> {
    let clock = call.clock;
    let ended = loop {
        let until = comments.as_ref().map_or(due, |comments| due.min(comments.due(&call.body)));
        let body = (request.framing, &request.plan.plan.budget);
        let ended = clock.within(Some(until), |cx| match (turn.poll(cx), &mut *comments) {
            (Poll::Ready(()), _) => Poll::Ready(Ok(())),
            (Poll::Pending, Some(comments)) => comments.poll_asks(body, &mut call.body, cx).map(Err),
            (Poll::Pending, None) => Poll::Pending,
        });
        match (ended.await, &mut *comments) {
            (Some(Err(fault)), _) => break Err(fault),
            (Some(Ok(())), _) => {
                // In line again before it is looked: a turn that comes in between is told.
                turn.again();
                if is_over(Instant::now()) {
                    break Ok(Ended::Woken);
                }
            }
            (None, Some(comments)) if Instant::now() < due => {
                comments.tick(request, call, Instant::now()).await
            }
            (None, _) => break Ok(Ended::Late),
        }
    };
    if let Some(comments) = comments {
        comments.stop(&mut call.body);
    }
    ended
}

/// Until when it waits: what the cluster allows, what the client says, and what is left of the exchange's time.
fn due(request: &Request, call: &Call<'_>, config: &QueueConfig, now: Instant) -> Instant {
    let patience = now + config.max_wait.saturating_sub(call.notes.phases.queue);
    let said = deadline_said(request).map(|said| call.notes.arrival.complete + said);
    earlier(earlier(said, call.deadline), Some(patience)).unwrap_or(patience)
}
