//! Balancing, health and what may be repeated, as one decision of one cluster on one lane; knows no socket and no body.

pub mod dispatch;
pub mod listings;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::Queue;
use crate::balance::{Asked, Balancer, Balancing, Candidate, Candidates, Positions, Remembered};
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
    queue: Arc<Queue>,
    rules: Rules,
    born: Instant,
    /// Who lists which model, where only those are asked that list the request's.
    listings: Option<Seen<Listings>>,
    /// Borrowed for one decision, and let go before anything is waited for.
    picking: RefCell<Picking>,
    /// Which endpoints were admitted when somebody asked last, as one number.
    admitted: Cell<u64>,
}

/// What holds in one cluster.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Who picks.
    pub balancing: Balancing,
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
}

/// In what a cluster's age is told to its tickets.
const AGE_UNIT: Duration = Duration::from_micros(100);

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
    position: u32,
    /// What its endpoint is loaded with.
    work: u32,
    /// When it was picked, where it has a place: the cluster's age.
    since: u32,
    /// What its balancer learns from.
    remembered: Option<Box<Remembered>>,
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
        (ward, queue): (Arc<Ward>, Arc<Queue>),
        rules: Rules,
        listings: Option<Seen<Listings>>,
        (mut rng, now): (Rng, Instant),
    ) -> Rc<Self> {
        let balancer = Balancer::start(&rules.balancing, candidates.len(), &mut rng);
        let budget = Budget::new(rules.retry.share);
        let picking = RefCell::new(Picking { balancer, rng, budget });
        let admitted = Cell::default();
        Rc::new(Self {
            id,
            lane,
            candidates,
            healths,
            ward,
            queue,
            rules,
            born: now,
            listings,
            picking,
            admitted,
        })
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
    #[inline(always)] // each exchange asks, and mostly all are asked
    pub fn who_lists(&self, model: Option<&str>) -> Result<Option<Positions>, NoPick> {
        match (&self.listings, model) {
            (Some(listings), Some(model)) => Self::listed(listings, model),
            _ => Ok(None),
        }
    }

    #[cold]
    fn listed(listings: &Seen<Listings>, model: &str) -> Result<Option<Positions>, NoPick> {
        match listings.now().who(model) {
            Ok(who) => Ok(Some(who.clone())),
            Err(Unlisted::Nowhere) => Err(NoPick::NotListed),
            // It may be served, once it is known by whom.
            Err(Unlisted::Unknown) => Err(NoPick::NoEndpoint),
        }
    }

    #[cfg(test)]
    fn picked(self: &Rc<Self>, tried: &[usize], now: Instant) -> Result<Ticket, NoPick> {
        self.pick(&Asked::of_bytes(1), (tried, None), now)
    }

    /// Reserves the endpoint to try next, of `only` some where not all are asked; none if each that is admitted was `tried`, or
    /// is full.
    pub fn pick(
        self: &Rc<Self>,
        asked: &Asked<'_>,
        (tried, only): (&[usize], Option<&Positions>),
        now: Instant,
    ) -> Result<Ticket, NoPick> {
        let mut lost: Vec<usize> = Vec::new();
        loop {
            let passed: &[usize] = if lost.is_empty() { tried } else { &lost };
            let Some(position) = self.choose(asked, (passed, only), now) else {
                return Err(self.no_pick((tried, only), now));
            };
            if let Some(ticket) = self.reserve(position, asked, now) {
                return Ok(ticket);
            }
            // Another lane had the last place, or the trial.
            if lost.is_empty() {
                lost.extend_from_slice(tried);
            }
            lost.push(position);
        }
    }

    fn choose(
        &self,
        asked: &Asked<'_>,
        (tried, only): (&[usize], Option<&Positions>),
        now: Instant,
    ) -> Option<usize> {
        let mut among = Candidates { all: &self.candidates, tried, only, with_held: false, now };
        if self.candidates.len() == 1 {
            // There is nothing to choose.
            among.with_held = true;
            return among.only();
        }
        let Picking { balancer, rng, .. } = &mut *self.picking.borrow_mut();
        balancer.pick(among, asked, rng).or_else(|| {
            // Those that asked to be left alone, where nobody else is there.
            among.with_held = true;
            balancer.pick(among, asked, rng)
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
    pub fn again(self: &Rc<Self>, position: usize, asked: &Asked<'_>, now: Instant) -> Option<Ticket> {
        self.reserve(position, asked, now)
    }

    #[inline] // each attempt asks
    fn reserve(self: &Rc<Self>, position: usize, asked: &Asked<'_>, now: Instant) -> Option<Ticket> {
        let candidate = &self.candidates[position];
        let on_trial = candidate.verdict.admission(now) == Admission::Trial;
        if on_trial && !candidate.verdict.begin_trial() {
            return None;
        }
        let has_place = candidate.load.has_ceiling();
        if has_place && !candidate.load.take_place() {
            if on_trial {
                candidate.verdict.end_trial();
            }
            return None;
        }
        candidate.load.add(self.lane, u64::from(asked.work));
        let remembered = self.picking.borrow_mut().balancer.placed(position, asked, now);
        Some(Ticket {
            cluster: Rc::clone(self),
            position: position as u32,
            work: asked.work,
            since: if has_place { self.age(now) } else { 0 },
            remembered,
            on_trial,
            has_place,
            said_busy: false,
            is_open: true,
        })
    }

    /// How long it takes until a place is free where all are taken, by how long exchanges last here; none where none ended.
    pub fn expected_wait(&self, now: Instant) -> Option<Duration> {
        let admitted = self.candidates.iter().filter(|candidate| candidate.verdict.is_admitted(now));
        let places = admitted.filter_map(|candidate| candidate.load.most()).sum();
        self.queue.usual(places)
    }

    /// Where requests wait while it is full.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Lets as many of those who wait in as there are free places.
    pub fn fill(&self, now: Instant) {
        if self.queue.waiting() > 0 {
            self.queue.fill(self.free(now));
        }
    }

    /// Whether some endpoints are admitted, and each of them has as many exchanges as it may.
    pub fn is_full(&self, now: Instant) -> bool {
        self.free(now) == 0 && self.candidates.iter().any(|candidate| candidate.verdict.is_admitted(now))
    }

    /// Whether an endpoint is admitted of `only` some where not all are asked: without one nobody waits for a place.
    pub fn may_serve(&self, only: Option<&Positions>, now: Instant) -> bool {
        let is_asked = |position: usize| only.is_none_or(|only| only.contain(position));
        let mut all = self.candidates.iter().enumerate();
        all.any(|(position, candidate)| is_asked(position) && candidate.verdict.is_admitted(now))
    }

    /// Whether other endpoints are admitted than when this was asked last, where somebody waits who may want to know.
    pub fn has_changed(&self, now: Instant) -> bool {
        if self.queue.waiting() == 0 {
            return false;
        }
        let admitted = self.candidates.iter().fold(1_u64, |all, candidate| {
            all.wrapping_mul(31).wrapping_add(u64::from(candidate.verdict.is_admitted(now)))
        });
        self.admitted.replace(admitted) != admitted
    }

    /// Places that are free at endpoints that are admitted.
    pub fn free(&self, now: Instant) -> u64 {
        let admitted = self.candidates.iter().filter(|candidate| candidate.verdict.is_admitted(now));
        admitted.map(Candidate::free).fold(0, u64::saturating_add)
    }

    /// Its age, in units; five days wrap around.
    fn age(&self, now: Instant) -> u32 {
        (now.saturating_duration_since(self.born).as_micros() / AGE_UNIT.as_micros()) as u32
    }

    /// An attempt ended at `now`, none where nobody looked: its reservation is over.
    #[inline(always)] // each attempt ends here
    fn on_end(&self, ticket: &Ticket, outcome: Outcome, now: Option<Instant>) {
        let candidate = &self.candidates[ticket.position()];
        candidate.load.remove(self.lane, u64::from(ticket.work));
        if let (Some(remembered), Outcome::Failed(_)) = (&ticket.remembered, outcome) {
            remembered.take_back();
        }
        if ticket.has_place {
            candidate.load.leave_place();
            if let Some(now) = now {
                let lasted = self.age(now).wrapping_sub(ticket.since);
                self.queue.lasted(AGE_UNIT * lasted);
            }
            self.queue.on_end(now);
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
        if self.healths[ticket.position()].note(sign, ticket.on_trial, rules, now)
            && !self.ward.eject(&self.healths, ticket.position(), rules, now)
            && ticket.on_trial
        {
            // It failed its trial, and cannot be done without.
            self.candidates[ticket.position()].verdict.readmit(now, rules.slow_start);
        }
    }
}

impl Ticket {
    /// The cluster it was made in.
    pub fn cluster(&self) -> ClusterId {
        self.cluster.id
    }

    /// The endpoint's position in the cluster.
    #[inline]
    pub fn position(&self) -> usize {
        self.position as usize
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

    /// An answer of this status began at `now`, or a stream had its first token: how fast the endpoint is.
    #[inline(always)] // each answer passes here, and mostly nobody asks
    pub fn timed(&self, status: u16, now: Instant) {
        if let Some(remembered) = self.remembered.as_ref().filter(|_| status < 400) {
            remembered.timed(&self.cluster.candidates[self.position()].load, now);
        }
    }

    /// Its answer said that the endpoint had `cached` of `prompt` tokens computed already.
    pub fn learn(&self, cached: u64, prompt: u64) {
        if let Some(remembered) = &self.remembered {
            remembered.learn(cached, prompt);
        }
    }

    /// Whether somebody learns from what the answer says of tokens.
    pub fn is_learning(&self) -> bool {
        self.remembered.as_ref().is_some_and(|remembered| remembered.is_learning())
    }

    #[cold]
    fn cancel(&self) {
        self.cluster.on_end(self, Outcome::Cancelled, None);
    }

    /// The attempt ended like this.
    #[inline]
    pub fn settle(mut self, outcome: Outcome, now: Instant) {
        self.is_open = false;
        self.cluster.on_end(&self, outcome, Some(now));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_open {
            self.cancel();
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
        let cluster = cluster(&endpoints, Balancing::LeastWork);
        let load = &endpoints[0].0.load;
        let pick = || cluster.picked(&[], now).unwrap();
        let (one, two, dropped, again) =
            (pick(), pick(), pick(), cluster.again(0, &Asked::of_bytes(1), now).unwrap());
        assert_eq!(load.in_flight(), 4);
        one.settle(served(200), now);
        two.settle(failed(), now);
        drop(dropped);
        assert_eq!(load.in_flight(), 1);
        again.settle(Outcome::Cancelled, now);
        assert_eq!(load.in_flight(), 0);
        assert_eq!(cluster.picked(&[0], now).unwrap_err(), NoPick::NoEndpoint);
    }

    #[test]
    fn places_are_counted_over_all_lanes_and_given_back_on_every_path() {
        let (now, endpoints) = (Instant::now(), endpoints(2, Some(2)));
        let (one, other) =
            (cluster(&endpoints, Balancing::RoundRobin), cluster(&endpoints, Balancing::RoundRobin));
        let mut tickets: Vec<_> =
            (0..4).map(|at| if at % 2 == 0 { &one } else { &other }.picked(&[], now).unwrap()).collect();
        assert_eq!(one.picked(&[], now).unwrap_err(), NoPick::Full);
        assert_eq!(other.picked(&[0], now).unwrap_err(), NoPick::Full);
        assert_eq!(
            other.picked(&[0, 1], now).unwrap_err(),
            NoPick::NoEndpoint,
            "that it is full does not matter"
        );
        tickets.pop().unwrap().settle(served(200), now);
        let again = one.picked(&[], now).unwrap();
        assert_eq!(other.picked(&[], now).unwrap_err(), NoPick::Full);
        drop((again, tickets));
        assert_eq!((0..4).filter_map(|_| other.picked(&[], now).ok()).collect::<Vec<_>>().len(), 4);
    }

    #[test]
    fn those_that_are_not_asked_are_neither_picked_nor_full() {
        let (now, endpoints) = (Instant::now(), endpoints(3, Some(1)));
        let cluster = cluster(&endpoints, Balancing::LeastWork);
        let mut only = Positions::none_of(3);
        only.add(1);
        let pick = |tried: &[usize]| cluster.pick(&Asked::of_bytes(1), (tried, Some(&only)), now);
        let ticket = pick(&[]).unwrap();
        assert_eq!(ticket.position(), 1);
        assert_eq!(pick(&[]).unwrap_err(), NoPick::Full);
        assert_eq!(pick(&[1]).unwrap_err(), NoPick::NoEndpoint);
        let _others = (cluster.picked(&[], now).unwrap(), cluster.picked(&[], now).unwrap());
        drop(ticket);
        endpoints[1].0.verdict.find(false);
        assert_eq!(pick(&[]).unwrap_err(), NoPick::NoEndpoint, "that the others are full does not matter");
    }

    #[test]
    fn the_wait_for_a_place_is_told_by_how_fast_they_come_free() {
        let (mut now, endpoints) = (Instant::now(), endpoints(1, Some(2)));
        let cluster = cluster(&endpoints, Balancing::RoundRobin);
        assert_eq!(cluster.expected_wait(now), None);
        for _ in 0..60 {
            let ticket = cluster.picked(&[], now).unwrap();
            now += Duration::from_millis(500);
            ticket.settle(served(200), now);
        }
        let wait = cluster.expected_wait(now).unwrap();
        assert!(wait.abs_diff(SECOND / 4) < SECOND / 100, "{wait:?}");
    }

    #[test]
    fn a_row_of_faults_ejects_and_one_live_request_brings_it_back() {
        let (mut now, endpoints) = (Instant::now(), endpoints(2, None));
        let cluster = cluster(&endpoints, Balancing::RoundRobin);
        let verdict = &endpoints[0].0.verdict;
        let only_first = |now| cluster.picked(&[1], now);
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
        let cluster = cluster(&endpoints, Balancing::RoundRobin);
        let dying: Vec<_> = (0..50).map(|_| cluster.picked(&[1], now).unwrap()).collect();
        dying.into_iter().for_each(|ticket| ticket.settle(failed(), now));
        let verdict = &endpoints[0].0.verdict;
        assert_eq!((verdict.ejections(), verdict.admission(now + 30 * SECOND)), (1, Admission::Trial));
    }

    #[test]
    fn the_last_endpoint_stays_however_it_fails() {
        let (now, endpoints) = (Instant::now(), endpoints(1, None));
        let cluster = cluster(&endpoints, Balancing::LeastWork);
        for _ in 0..50 {
            cluster.picked(&[], now).unwrap().settle(failed(), now);
        }
    }

    #[test]
    fn clients_that_leave_or_ask_wrongly_say_nothing_against_the_endpoint() {
        let (now, endpoints) = (Instant::now(), endpoints(2, None));
        let cluster = cluster(&endpoints, Balancing::LeastWork);
        for outcome in [Outcome::Cancelled, served(400), served(404), served(429)].repeat(20) {
            cluster.picked(&[1], now).unwrap().settle(outcome, now);
        }
    }

    #[test]
    fn who_asks_to_be_left_alone_is_asked_only_where_nobody_else_is_there() {
        let (now, endpoints) = (Instant::now(), endpoints(2, None));
        let cluster = cluster(&endpoints, Balancing::LeastWork);
        let busy = Outcome::Served { status: 503, retry_after: Some(7 * SECOND) };
        cluster.picked(&[1], now).unwrap().settle(busy, now);
        for _ in 0..20 {
            assert_eq!(cluster.picked(&[], now + 6 * SECOND).unwrap().position(), 1);
        }
        assert_eq!(cluster.picked(&[1], now).unwrap().position(), 0);
    }
}
