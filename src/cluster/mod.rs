//! Balancing, health and what may be repeated, as one decision of one cluster on one lane; knows no socket and no body.

pub mod dispatch;
pub mod listings;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::balance::{Balancer, BalancerKind, Candidate, Candidates, Positions};
use crate::base::fault::Fault;
use crate::base::ids::{ClusterId, LaneId};
use crate::base::rng::Rng;
use crate::board::published::Seen;
use crate::board::verdicts::Admission;
use crate::health::{self, Health, Sign, Ward};
use crate::retry::{self, Budget};
use listings::{Listings, Unlisted};

/// One cluster as one lane carries it; its tickets share it.
#[derive(Debug)]
pub struct Cluster {
    id: ClusterId,
    lane: LaneId,
    candidates: Vec<Candidate>,
    healths: Vec<Arc<Health>>,
    ward: Arc<Ward>,
    rules: Rules,
    /// Who lists which model, where only those are asked that list the request's.
    listings: Option<Seen<Listings>>,
    /// Borrowed for one decision, and let go before anything is waited for.
    picking: RefCell<Picking>,
}

/// What holds in one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Who picks.
    pub balancer: BalancerKind,
    /// What may be tried again.
    pub retry: retry::Rules,
    /// When an endpoint is taken out, and how it comes back.
    pub health: health::Rules,
}

#[derive(Debug)]
struct Picking {
    balancer: Balancer,
    rng: Rng,
    budget: Budget,
    drain: Drain,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered whole.
    Served {
        /// With this status.
        status: u16,
        /// And asked to be left alone for so long.
        retry_after: Option<Duration>,
    },
    /// It failed.
    Failed(Fault),
    /// Nobody waits for it any more: the endpoint's figures are untouched.
    Cancelled,
}

impl Outcome {
    /// Whether the endpoint is to blame.
    pub fn is_fault(self) -> bool {
        self.sign() == Some(Sign::Fault)
    }

    /// What it shows of the endpoint; none where it shows nothing.
    fn sign(self) -> Option<Sign> {
        match self {
            Self::Served { status, retry_after } => Some(Sign::of_status(status, retry_after)),
            Self::Failed(_) => Some(Sign::Fault),
            Self::Cancelled => None,
        }
    }
}

/// Why there is no endpoint to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPick {
    /// None is admitted but those that were tried.
    NoEndpoint,
    /// Those that are admitted have as many requests as they may.
    Full,
    /// None lists the model that is asked for.
    NotListed,
}

/// A reservation made by a pick, settled once; dropped without a word, it is cancelled.
#[derive(Debug)]
#[must_use = "an endpoint is loaded by it until it is dropped"]
pub struct Ticket {
    cluster: Rc<Cluster>,
    position: usize,
    /// It decides whether the endpoint is well again.
    on_trial: bool,
    has_place: bool,
    /// Its endpoint said so, and that was noted.
    said_busy: bool,
    /// Until it is settled.
    is_open: bool,
}

impl Cluster {
    /// A fresh cluster on one lane.
    pub fn start(
        (id, lane): (ClusterId, LaneId),
        (candidates, healths): (Vec<Candidate>, Vec<Arc<Health>>),
        ward: Arc<Ward>,
        rules: Rules,
        listings: Option<Seen<Listings>>,
        mut rng: Rng,
    ) -> Rc<Self> {
        let balancer = Balancer::start(rules.balancer, candidates.len(), &mut rng);
        let budget = Budget::new(rules.retry.share);
        let picking = RefCell::new(Picking { balancer, rng, budget, drain: Drain::default() });
        Rc::new(Self { id, lane, candidates, healths, ward, rules, listings, picking })
    }

    /// What may be tried again.
    fn retry(&self) -> &retry::Rules {
        &self.rules.retry
    }

    /// A request is made: what may be repeated grows by its share.
    fn earn(&self) {
        self.picking.borrow_mut().budget.earn();
    }

    /// One repeat, if there is one left.
    fn spend(&self, now: Instant) -> bool {
        self.picking.borrow_mut().budget.spend(now)
    }

    /// Whether only those endpoints are asked that list the request's model.
    pub fn narrows(&self) -> bool {
        self.listings.is_some()
    }

    /// The endpoints that are asked for `model`; none where all are.
    pub fn who_lists(&self, model: Option<&str>) -> Result<Option<Positions>, NoPick> {
        let (Some(listings), Some(model)) = (&self.listings, model) else { return Ok(None) };
        match listings.now().who(model) {
            Ok(who) => Ok(Some(who.clone())),
            Err(Unlisted::Nowhere) => Err(NoPick::NotListed),
            // It may be served, once it is known by whom.
            Err(Unlisted::Unknown) => Err(NoPick::NoEndpoint),
        }
    }

    #[cfg(test)]
    fn pick(self: &Rc<Self>, tried: &[usize], now: Instant) -> Result<Ticket, NoPick> {
        self.pick_of((tried, None), now)
    }

    /// Reserves the endpoint to try next, of `only` some where not all are asked; none if each that is admitted was `tried`, or
    /// is full.
    pub fn pick_of(
        self: &Rc<Self>,
        (tried, only): (&[usize], Option<&Positions>),
        now: Instant,
    ) -> Result<Ticket, NoPick> {
        let mut lost: Vec<usize> = Vec::new();
        loop {
            let passed: &[usize] = if lost.is_empty() { tried } else { &lost };
            let Some(position) = self.choose((passed, only), now) else {
                return Err(self.no_pick((tried, only), now));
            };
            if let Some(ticket) = self.reserve(position, now) {
                return Ok(ticket);
            }
            // Another lane had the last place, or the trial.
            if lost.is_empty() {
                lost.extend_from_slice(tried);
            }
            lost.push(position);
        }
    }

    fn choose(&self, (tried, only): (&[usize], Option<&Positions>), now: Instant) -> Option<usize> {
        let Picking { balancer, rng, .. } = &mut *self.picking.borrow_mut();
        let mut among = Candidates { all: &self.candidates, tried, only, with_held: false, now };
        balancer.pick(among, rng).or_else(|| {
            // Those that asked to be left alone, where nobody else is there.
            among.with_held = true;
            balancer.pick(among, rng)
        })
    }

    fn no_pick(&self, (tried, only): (&[usize], Option<&Positions>), now: Instant) -> NoPick {
        let is_full = |(position, candidate): (usize, &Candidate)| {
            let is_asked = !tried.contains(&position) && only.is_none_or(|only| only.contain(position));
            candidate.is_full() && candidate.verdict.is_admitted(now) && is_asked
        };
        match self.candidates.iter().enumerate().any(is_full) {
            true => NoPick::Full,
            false => NoPick::NoEndpoint,
        }
    }

    /// Reserves the endpoint at `position` once more: it is tried again on another connection. None if it is full now.
    pub fn again(self: &Rc<Self>, position: usize, now: Instant) -> Option<Ticket> {
        self.reserve(position, now)
    }

    fn reserve(self: &Rc<Self>, position: usize, now: Instant) -> Option<Ticket> {
        let candidate = &self.candidates[position];
        let on_trial = candidate.verdict.admission(now) == Admission::Trial;
        if on_trial && !candidate.verdict.begin_trial() {
            return None;
        }
        if candidate.max_in_flight.is_some_and(|most| !candidate.load.take_place(most)) {
            if on_trial {
                candidate.verdict.end_trial();
            }
            return None;
        }
        candidate.load.add(self.lane);
        let has_place = candidate.max_in_flight.is_some();
        Some(Ticket {
            cluster: Rc::clone(self),
            position,
            on_trial,
            has_place,
            said_busy: false,
            is_open: true,
        })
    }

    /// How long it takes until a place is free, by how fast exchanges ended here so far; `lanes` of them end as fast.
    pub fn expected_wait(&self, lanes: usize) -> Duration {
        self.picking.borrow().drain.interval(lanes)
    }

    /// An attempt ended at `now`, none where nobody looked: its reservation is over.
    fn on_end(&self, ticket: &Ticket, outcome: Outcome, now: Option<Instant>) {
        let candidate = &self.candidates[ticket.position];
        candidate.load.remove(self.lane);
        if ticket.has_place {
            candidate.load.leave_place();
            if let Some(now) = now {
                self.picking.borrow_mut().drain.ended(now);
            }
        }
        match (outcome.sign(), now) {
            (Some(Sign::Busy(_)), _) if ticket.said_busy => {}
            (Some(sign), Some(now)) => self.note(ticket, sign, now),
            _ if ticket.on_trial => candidate.verdict.end_trial(),
            _ => {}
        }
    }

    fn note(&self, ticket: &Ticket, sign: Sign, now: Instant) {
        let rules = &self.rules.health;
        if self.healths[ticket.position].note(sign, ticket.on_trial, rules, now)
            && !self.ward.eject(&self.healths, ticket.position, rules, now)
            && ticket.on_trial
        {
            // It failed its trial, and cannot be done without.
            self.candidates[ticket.position].verdict.readmit(now, rules.slow_start);
        }
    }
}

/// How fast exchanges end, where they have places.
#[derive(Debug, Default)]
struct Drain {
    last: Option<Instant>,
    /// Between two ends, seconds; a moving average.
    interval: f64,
}

impl Drain {
    /// Weight of the newest interval.
    const NEWEST: f64 = 0.2;
    /// What is said where nothing is known, and the bounds of what is said at all.
    const UNKNOWN: Duration = Duration::from_secs(1);
    const LEAST: Duration = Duration::from_millis(1);
    const MOST: Duration = Duration::from_secs(60);

    fn ended(&mut self, now: Instant) {
        if let Some(last) = self.last {
            let interval = now.saturating_duration_since(last).as_secs_f64();
            self.interval += Self::NEWEST * (interval - self.interval);
        }
        self.last = Some(now);
    }

    fn interval(&self, lanes: usize) -> Duration {
        match self.interval {
            0.0 => Self::UNKNOWN,
            interval => {
                Duration::from_secs_f64(interval / lanes.max(1) as f64).clamp(Self::LEAST, Self::MOST)
            }
        }
    }
}

impl Ticket {
    /// The cluster it was made in.
    pub fn cluster(&self) -> ClusterId {
        self.cluster.id
    }

    /// The endpoint's position in the cluster.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The endpoint began to answer like this. That it is well again, or busy, is known from then on, however long the
    /// answer takes.
    pub fn answered(&mut self, outcome: Outcome, now: Instant) {
        match outcome.sign() {
            Some(Sign::Success) if self.on_trial => self.cluster.note(self, Sign::Success, now),
            Some(busy @ Sign::Busy(_)) => {
                self.cluster.note(self, busy, now);
                self.said_busy = true;
            }
            Some(Sign::Success | Sign::Fault) | None => return,
        }
        self.on_trial = false;
    }

    /// The attempt ended like this.
    pub fn settle(mut self, outcome: Outcome, now: Instant) {
        self.is_open = false;
        self.cluster.on_end(&self, outcome, Some(now));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_open {
            self.cluster.on_end(self, Outcome::Cancelled, None);
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{cluster, endpoints};
    use super::*;
    use crate::base::fault::{FaultKind, Sent, Stage};

    const SECOND: Duration = Duration::from_secs(1);

    fn served(status: u16) -> Outcome {
        Outcome::Served { status, retry_after: None }
    }

    fn failed() -> Outcome {
        Outcome::Failed(Fault::upstream(Stage::Wait, FaultKind::Reset, Sent::Wholly))
    }

    #[test]
    fn an_endpoint_is_loaded_from_the_pick_to_the_end_on_every_path() {
        let (now, endpoints) = (Instant::now(), endpoints(1, None));
        let cluster = cluster(&endpoints, BalancerKind::LeastWork);
        let load = &endpoints[0].0.load;
        let pick = || cluster.pick(&[], now).unwrap();
        let (one, two, dropped, again) = (pick(), pick(), pick(), cluster.again(0, now).unwrap());
        assert_eq!(load.in_flight(), 4);
        one.settle(served(200), now);
        two.settle(failed(), now);
        drop(dropped);
        assert_eq!(load.in_flight(), 1);
        again.settle(Outcome::Cancelled, now);
        assert_eq!(load.in_flight(), 0);
        assert_eq!(cluster.pick(&[0], now).unwrap_err(), NoPick::NoEndpoint);
    }

    #[test]
    fn places_are_counted_over_all_lanes_and_given_back_on_every_path() {
        let (now, endpoints) = (Instant::now(), endpoints(2, Some(2)));
        let (one, other) =
            (cluster(&endpoints, BalancerKind::RoundRobin), cluster(&endpoints, BalancerKind::RoundRobin));
        let mut tickets: Vec<_> =
            (0..4).map(|at| if at % 2 == 0 { &one } else { &other }.pick(&[], now).unwrap()).collect();
        assert_eq!(one.pick(&[], now).unwrap_err(), NoPick::Full);
        assert_eq!(other.pick(&[0], now).unwrap_err(), NoPick::Full);
        assert_eq!(
            other.pick(&[0, 1], now).unwrap_err(),
            NoPick::NoEndpoint,
            "that it is full does not matter"
        );
        tickets.pop().unwrap().settle(served(200), now);
        let again = one.pick(&[], now).unwrap();
        assert_eq!(other.pick(&[], now).unwrap_err(), NoPick::Full);
        drop((again, tickets));
        assert_eq!((0..4).filter_map(|_| other.pick(&[], now).ok()).collect::<Vec<_>>().len(), 4);
    }

    #[test]
    fn those_that_are_not_asked_are_neither_picked_nor_full() {
        let (now, endpoints) = (Instant::now(), endpoints(3, Some(1)));
        let cluster = cluster(&endpoints, BalancerKind::LeastWork);
        let mut only = Positions::none_of(3);
        only.add(1);
        let pick = |tried: &[usize]| cluster.pick_of((tried, Some(&only)), now);
        let ticket = pick(&[]).unwrap();
        assert_eq!(ticket.position(), 1);
        assert_eq!(pick(&[]).unwrap_err(), NoPick::Full);
        assert_eq!(pick(&[1]).unwrap_err(), NoPick::NoEndpoint);
        let _others = (cluster.pick(&[], now).unwrap(), cluster.pick(&[], now).unwrap());
        drop(ticket);
        endpoints[1].0.verdict.find(false);
        assert_eq!(pick(&[]).unwrap_err(), NoPick::NoEndpoint, "that the others are full does not matter");
    }

    #[test]
    fn the_wait_for_a_place_is_told_by_how_fast_they_come_free() {
        let (mut now, endpoints) = (Instant::now(), endpoints(1, Some(1)));
        let cluster = cluster(&endpoints, BalancerKind::RoundRobin);
        assert_eq!(cluster.expected_wait(1), SECOND);
        for _ in 0..60 {
            let ticket = cluster.pick(&[], now).unwrap();
            now += Duration::from_millis(500);
            ticket.settle(served(200), now);
        }
        let wait = cluster.expected_wait(2).as_millis();
        assert!((245..=250).contains(&wait), "{wait} ms");
    }

    #[test]
    fn a_row_of_faults_ejects_and_one_live_request_brings_it_back() {
        let (mut now, endpoints) = (Instant::now(), endpoints(2, None));
        let cluster = cluster(&endpoints, BalancerKind::RoundRobin);
        let verdict = &endpoints[0].0.verdict;
        let only_first = |now| cluster.pick(&[1], now);
        for _ in 0..5 {
            assert!(verdict.is_admitted(now));
            only_first(now).unwrap().settle(failed(), now);
        }
        assert_eq!(only_first(now).unwrap_err(), NoPick::NoEndpoint);
        now += 30 * SECOND;
        let trial = only_first(now).unwrap();
        assert!(only_first(now).is_err(), "one at a time");
        drop(trial);
        let mut trial = only_first(now).expect("a trial that decided nothing is made again");
        trial.answered(served(200), now);
        assert!(only_first(now).is_ok(), "it need not last to the end of the answer");
        trial.settle(failed(), now);
        assert!(verdict.is_admitted(now), "one fault more");
    }

    #[test]
    fn an_endpoint_that_dies_with_many_exchanges_is_out_for_one_window() {
        let (now, endpoints) = (Instant::now(), endpoints(2, None));
        let cluster = cluster(&endpoints, BalancerKind::RoundRobin);
        let dying: Vec<_> = (0..50).map(|_| cluster.pick(&[1], now).unwrap()).collect();
        dying.into_iter().for_each(|ticket| ticket.settle(failed(), now));
        let verdict = &endpoints[0].0.verdict;
        assert_eq!((verdict.ejections(), verdict.admission(now + 30 * SECOND)), (1, Admission::Trial));
    }

    #[test]
    fn the_last_endpoint_stays_however_it_fails() {
        let (now, endpoints) = (Instant::now(), endpoints(1, None));
        let cluster = cluster(&endpoints, BalancerKind::LeastWork);
        for _ in 0..50 {
            cluster.pick(&[], now).unwrap().settle(failed(), now);
        }
    }

    #[test]
    fn clients_that_leave_or_ask_wrongly_say_nothing_against_the_endpoint() {
        let (now, endpoints) = (Instant::now(), endpoints(2, None));
        let cluster = cluster(&endpoints, BalancerKind::LeastWork);
        for outcome in [Outcome::Cancelled, served(400), served(404), served(429)].repeat(20) {
            cluster.pick(&[1], now).unwrap().settle(outcome, now);
        }
    }

    #[test]
    fn who_asks_to_be_left_alone_is_asked_only_where_nobody_else_is_there() {
        let (now, endpoints) = (Instant::now(), endpoints(2, None));
        let cluster = cluster(&endpoints, BalancerKind::LeastWork);
        let busy = Outcome::Served { status: 503, retry_after: Some(7 * SECOND) };
        cluster.pick(&[1], now).unwrap().settle(busy, now);
        for _ in 0..20 {
            assert_eq!(cluster.pick(&[], now + 6 * SECOND).unwrap().position(), 1);
        }
        assert_eq!(cluster.pick(&[1], now).unwrap().position(), 0);
    }
}
