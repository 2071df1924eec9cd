//! Dispatch on a virtual clock: endpoints slow down, refuse, fail, are busy, and come back; thousands of seeds.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dispatch::{AtHand, Connection, Dispatch, Failure, Heard, Repeat, Step};
use super::testing::{endpoints, rules, with_rules};
use super::{Cluster, Outcome, Ticket};
use crate::balance::{Asked, Balancing, Candidate};
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::rng::Rng;
use crate::health::Health;
use crate::retry::RetryOn;

const SEEDS: u64 = 2000;
/// Endpoints misbehave for so long, and are all well afterwards.
const TROUBLE: Duration = Duration::from_secs(60);
/// Requests a second.
const RATE: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Takes seconds instead of some tens of milliseconds.
    Slow,
    /// Accepts no connection.
    Dead,
    /// Answers 500.
    Failing,
    /// Answers 429 and wants to be left alone for two seconds.
    Busy,
}

/// What came of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Status(u16),
    Fault(FaultKind),
}

struct World {
    cluster: Rc<Cluster>,
    endpoints: Vec<(Candidate, Arc<Health>)>,
    moods: Vec<Mood>,
    rng: Rng,
    now: Instant,
    /// Attempts under way, by when they end.
    ends: BTreeMap<(Instant, u64), (Ticket, Outcome)>,
    numbers: u64,
    requests: u64,
    repeats: u64,
    asked: Vec<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let endpoints = endpoints(2 + rng.below(4) as usize, None);
        let kinds = [Balancing::LeastWork, Balancing::RoundRobin, Balancing::Random, Balancing::PeakEwma];
        let mut rules = rules(kinds[rng.below(4) as usize].clone());
        if rng.below(2) == 0 {
            rules.retry.on.push(RetryOn::TooManyRequests);
        }
        let cluster = with_rules(&endpoints, rules, seed);
        let (moods, asked) = (vec![Mood::Well; endpoints.len()], vec![0; endpoints.len()]);
        let (now, ends) = (Instant::now(), BTreeMap::new());
        Self { cluster, endpoints, moods, rng, now, ends, numbers: 0, requests: 0, repeats: 0, asked }
    }

    /// Time passes to the next request; what ends until then ends.
    fn pass(&mut self) {
        let until = self.now + Duration::from_micros(self.rng.below(2 * 1_000_000 / RATE));
        self.end_until(until);
        self.now = until;
    }

    fn end_until(&mut self, until: Instant) {
        while let Some(first) = self.ends.first_entry().filter(|first| first.key().0 <= until) {
            let ((at, _), (ticket, outcome)) = first.remove_entry();
            ticket.settle(outcome, at);
        }
    }

    fn change_a_mood(&mut self) {
        let moods = [Mood::Well, Mood::Well, Mood::Slow, Mood::Dead, Mood::Failing, Mood::Busy];
        let at = self.rng.below(self.moods.len() as u64) as usize;
        self.moods[at] = moods[self.rng.below(moods.len() as u64) as usize];
    }

    /// One request, from its first attempt to its answer.
    fn ask(&mut self) -> Answer {
        self.requests += 1;
        let asked = (Asked::of_bytes(100), None);
        let (mut dispatch, mut step) = Dispatch::start(&self.cluster, asked, u32::MAX, self.now);
        for attempt in 1.. {
            let mut ticket = match step {
                Step::Attempt { ticket, .. } => ticket,
                Step::GiveUp(fault) => return Answer::Fault(fault.kind),
            };
            assert!(attempt <= 2, "attempts are bounded");
            self.repeats += u64::from(attempt > 1);
            let position = ticket.position();
            self.asked[position] += 1;
            let verdict = &self.endpoints[position].0.verdict;
            assert!(!verdict.is_ejected() || ticket.on_trial, "it was not admitted");
            let status = match self.moods[position] {
                Mood::Dead => {
                    let fault = Fault::upstream(Stage::Connect, FaultKind::Refused, Sent::Nothing);
                    ticket.settle(Outcome::Failed(fault), self.now);
                    let failure = Failure {
                        position,
                        fault,
                        on: Connection::Fresh,
                        heard: Heard::Nothing,
                        repeat: Repeat::Never,
                        at_hand: AtHand::Whole,
                    };
                    step = dispatch.failed(&self.cluster, &failure, self.now);
                    continue;
                }
                Mood::Well | Mood::Slow => 200,
                Mood::Failing => 500,
                Mood::Busy => 429,
            };
            let retry_after = (status == 429).then_some(Duration::from_secs(2));
            let served = Outcome::Served { status, retry_after };
            ticket.answered(served, self.now);
            let another = dispatch.answered(&self.cluster, (position, status), AtHand::Whole, self.now);
            let time = if self.moods[position] == Mood::Slow { 3_000_000 } else { 50_000 };
            let end = self.now + Duration::from_micros(self.rng.below(time));
            self.numbers += 1;
            self.ends.insert((end, self.numbers), (ticket, served));
            match another {
                Some(again) => step = again,
                None => return Answer::Status(status),
            }
        }
        unreachable!("an attempt is answered or given up")
    }

    fn check(&self) {
        let out = self.endpoints.iter().filter(|(endpoint, _)| endpoint.verdict.is_ejected()).count();
        assert!(out <= (self.endpoints.len() / 2).max(1) && out < self.endpoints.len(), "{out} are out");
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    let begun = world.now;
    while world.now < begun + TROUBLE {
        if world.rng.below(4 * RATE) == 0 {
            world.change_a_mood();
        }
        let is_any_well = world.moods.iter().any(|mood| matches!(mood, Mood::Well | Mood::Slow));
        let answer = world.ask();
        assert!(answer != Answer::Fault(FaultKind::NoEndpoint) || !is_any_well, "somebody could have served");
        world.check();
        world.pass();
    }
    let seconds = TROUBLE.as_secs();
    assert!(world.repeats <= world.requests / 10 + seconds + 11, "{} of {}", world.repeats, world.requests);

    // All are well: whoever is out comes back within its time, which is ten windows at most, and has its share.
    world.moods.fill(Mood::Well);
    let well = world.now;
    let most = Duration::from_secs(30 * 10 + 5);
    while world.now < well + most && world.endpoints.iter().any(|(endpoint, _)| endpoint.verdict.is_ejected())
    {
        world.pass();
        assert_eq!(world.ask(), Answer::Status(200));
    }
    let back = world.now;
    while world.now < back + Duration::from_secs(15) {
        world.pass();
        assert_eq!(world.ask(), Answer::Status(200));
    }
    world.asked.fill(0);
    for _ in 0..400 {
        world.pass();
        assert_eq!(world.ask(), Answer::Status(200));
    }
    let mean = 400 / world.asked.len() as u64;
    assert!(world.asked.iter().all(|asked| (mean / 2..mean * 2).contains(asked)), "{:?}", world.asked);
    world.end_until(world.now + Duration::from_secs(10));
    assert!(world.endpoints.iter().all(|(endpoint, _)| endpoint.load.in_flight() == 0));
}

#[test]
fn thousands_of_troubled_minutes_end_well() {
    for seed in 0..SEEDS {
        let ended = std::panic::catch_unwind(|| run(seed));
        assert!(ended.is_ok(), "seed {seed}");
    }
}
