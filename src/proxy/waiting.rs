//! A request waits for a place in a cluster that is full: let in when its turn comes, refused where that would be too late.

use std::task::Poll;
use std::time::{Duration, Instant};

use super::comments::Comments;
use super::intake::BodyFault;
use super::request::{Call, Request};
use super::turns::Turn;
use crate::admission::{Asks, Seat};
use crate::base::fault::FaultKind;
use crate::base::hash::hash64;
use crate::base::time::earlier;
use crate::cluster::Cluster;
use crate::config::QueueConfig;
use crate::filter;
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

/// The class of a request for which nobody says one.
const DEFAULT: &str = "default";

/// Lets a request in: at once where there are places and nobody waits, else when its turn comes. Whoever was let in and found
/// no place after all returns with its `seat`; who `must` wait takes one though there seem to be places. Who may not wait is let in
/// only where nobody would have to.
pub(super) async fn pass(
    request: &Request,
    call: &mut Call<'_>,
    (plan, cluster): (&ClusterPlan, &Cluster),
    (seat, must): (Option<Seat>, bool),
) -> Result<Option<Seat>, TurnedAway> {
    let Some(config) = &plan.settings.queue else { return Ok(None) };
    let (queue, now) = (cluster.queue(), Instant::now());
    if seat.is_none() && !must && queue.is_quiet() && !cluster.is_full(now) {
        return Ok(None);
    }
    if !call.may_wait {
        return Err(TurnedAway { kind: FaultKind::QueueFull, body: None, wait: None });
    }
    let usual = cluster.expected_wait(now);
    let due = due(request, call, &config.value, now);
    let seat = match seat {
        Some(seat) => {
            seat.wait_on();
            seat
        }
        None => {
            let patience = due.saturating_duration_since(now);
            let class = class(request, &config.value);
            let max = usize::try_from(config.value.max).unwrap_or(usize::MAX);
            let asks = Asks { class, key: key(request), patience, max, usual };
            let turned_away = |wait| TurnedAway { kind: FaultKind::QueueFull, body: None, wait };
            queue.enter(asks, call.turns.granted(), now).map_err(|refused| turned_away(refused.wait))?
        }
    };
    if !must {
        // A place may have come free before anybody could see that somebody waits. Who has just found none waits for the
        // next end or tick.
        cluster.fill(now);
    }
    let mut turn = call.turns.wait_for(seat.number());
    if !seat.is_granted() {
        let comments = match config.value.comments {
            Some(every) => Comments::of(every, request, call, now).await,
            None => None,
        };
        let ended = wait(&mut turn, due, request, call, comments).await;
        ended.map_err(|fault| TurnedAway { kind: fault.kind(), body: Some(fault), wait: None })?;
    }
    let waited = now.elapsed();
    call.notes.phases.queue += waited;
    match seat.is_granted() {
        true => Ok(Some(seat)),
        false => {
            let wait = seat.expected(usual, now + waited);
            Err(TurnedAway { kind: FaultKind::QueueTimeout, body: None, wait })
        }
    }
}

/// Waits for the turn until `due`. The client is told meanwhile, where it is to be: its body may break while that asks for it.
async fn wait(
    turn: &mut Turn<'_>,
    due: Instant,
    request: &Request,
    call: &mut Call<'_>,
    mut comments: Option<Comments>,
) -> Result<(), BodyFault> {
    let clock = call.clock;
    let ended = loop {
        let until = comments.as_ref().map_or(due, |comments| due.min(comments.due(&call.body)));
        let body = (request.framing, &request.plan.plan.budget);
        let ended = clock.within(Some(until), |cx| match (turn.poll(cx), &mut comments) {
            (Poll::Ready(()), _) => Poll::Ready(Ok(())),
            (Poll::Pending, Some(comments)) => comments.poll_asks(body, &mut call.body, cx).map(Err),
            (Poll::Pending, None) => Poll::Pending,
        });
        match (ended.await, &mut comments) {
            (Some(ended), _) => break ended,
            (None, Some(comments)) if Instant::now() < due => {
                comments.tick(request, call, Instant::now()).await
            }
            (None, _) => break Ok(()),
        }
    };
    if let Some(comments) = &mut comments {
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

/// `x-deadline-ms`: from the end of the head on; more than a day is none.
fn deadline_said(request: &Request) -> Option<Duration> {
    let value = request.head.head().values_of(b"x-deadline-ms").next()?;
    let ms: u64 = std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()?;
    Some(Duration::from_millis(ms)).filter(|said| said.as_secs() < 24 * 60 * 60)
}

/// Its class, by its place among those of the cluster.
fn class(request: &Request, config: &QueueConfig) -> usize {
    let plan = &request.plan.plan;
    let of_route = request.route().1.settings.class.as_deref();
    let of_key = || filter::holder_of(&plan.filters, &request.found)?.1.class.as_deref();
    let said = || {
        let value = request.head.head().values_of(b"x-priority").next()?;
        std::str::from_utf8(value).ok().filter(|_| request.sender.is_trusted)
    };
    let name = of_route.or_else(of_key).or_else(said).unwrap_or(DEFAULT);
    let place = |name: &str| config.classes.iter().position(|class| class == name);
    place(name).or_else(|| place(DEFAULT)).unwrap_or(config.classes.len() - 1)
}

/// Whose turns it takes: those of its key, else those of its client's address.
fn key(request: &Request) -> u64 {
    let plan = &request.plan.plan;
    match filter::holder_of(&plan.filters, &request.found) {
        Some((_, holder)) => hash64(holder.name.as_bytes()),
        None => {
            let trusted = &plan.listeners[request.listener].trusted;
            let client = request.sender.client(request.head.head(), trusted);
            client.address().map_or(0, |address| hash64(address.to_string().as_bytes()))
        }
    }
}
