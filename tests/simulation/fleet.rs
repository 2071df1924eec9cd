//! Engines behind the product's own cluster, on a virtual clock.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelane::balance::{Affinity, Asked, Balancing, Candidate};
use corelane::base::ids::{ClusterId, Id, LaneId};
use corelane::base::rng::Rng;
use corelane::board::loads::EndpointLoad;
use corelane::board::verdicts::Verdict;
use corelane::cluster::{Cluster, Outcome, Rules, Ticket};
use corelane::health::{self, Health};
use corelane::retry;

use crate::engine::{Engine, Served, TOKEN_BYTES};

/// Eight engines.
pub const ENDPOINTS: usize = 8;

/// A request.
pub struct Request {
    /// Its prompt as the engine's blocks, in bytes, and as what the balancer goes by.
    pub blocks: Vec<u64>,
    pub bytes: usize,
    pub affinity: Affinity,
    pub tokens: usize,
}

/// What comes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    First,
    /// With the tokens that were cached, of those of the prompt.
    Last(u64, u64),
}

/// The engines, and what is under way.
pub struct Fleet {
    cluster: Rc<Cluster>,
    candidates: Vec<Candidate>,
    engines: Vec<Engine>,
    begun: Instant,
    pub now: Duration,
    /// Requests under way, and what comes of them, by when.
    tickets: HashMap<u64, Ticket>,
    events: BTreeMap<(Duration, u64, Event), ()>,
    count: u64,
    /// Outstanding work of each, times seconds.
    pub work_time: [f64; ENDPOINTS],
}

impl Fleet {
    pub fn new(balancing: Balancing, blocks: usize, begun: Instant, seed: u64) -> Self {
        let candidate = |_| Candidate {
            weight: 1,
            load: Arc::new(EndpointLoad::new(1, begun)),
            verdict: Arc::new(Verdict::new(begun)),
        };
        let candidates: Vec<Candidate> = (0..ENDPOINTS).map(candidate).collect();
        let healths = candidates.iter().map(|one| Arc::new(Health::new(Arc::clone(&one.verdict)))).collect();
        let rules = Rules {
            balancing,
            retry: retry::Rules { attempts: 2, on: Vec::new(), share: 0.1 },
            health: health::Rules {
                consecutive_faults: 5,
                window: Duration::from_secs(30),
                share: 0.5,
                slow_start: Duration::from_secs(10),
                unhealthy_after: 0,
                healthy_after: 0,
            },
        };
        let ids = (ClusterId::at(0), LaneId::at(0));
        let parts = (candidates.clone(), healths);
        Self {
            cluster: Cluster::start(ids, parts, Default::default(), rules, None, (Rng::new(seed), begun)),
            candidates,
            engines: (0..ENDPOINTS).map(|_| Engine::new(blocks)).collect(),
            begun,
            now: Duration::ZERO,
            tickets: HashMap::new(),
            events: BTreeMap::new(),
            count: 0,
            work_time: [0.0; ENDPOINTS],
        }
    }

    /// Outstanding work of each.
    pub fn work(&self) -> [f64; ENDPOINTS] {
        std::array::from_fn(|at| self.candidates[at].load.work() as f64)
    }

    /// Time passes; what ends until then ends.
    pub fn pass(&mut self, until: Duration) {
        while let Some(first) = self.events.first_entry().filter(|first| first.key().0 <= until) {
            let (at, number, event) = first.remove_entry().0;
            self.weigh(at);
            match event {
                Event::First => self.tickets[&number].timed(200, self.begun + at),
                Event::Last(cached, prompt) => {
                    let ticket = self.tickets.remove(&number).unwrap();
                    ticket.learn(cached, prompt);
                    ticket.settle(Outcome::Served { status: 200, retry_after: None }, self.begun + at);
                }
            }
        }
        self.weigh(until);
    }

    fn weigh(&mut self, until: Duration) {
        let seconds = (until - self.now).as_secs_f64();
        let work = self.work();
        self.work_time.iter_mut().zip(work).for_each(|(sum, work)| *sum += work * seconds);
        self.now = until;
    }

    /// A request arrives now, and is placed.
    pub fn ask(&mut self, request: &Request) -> (usize, Served) {
        let asked = Asked { affinity: &request.affinity, ..Asked::of_bytes(request.bytes as u64) };
        let ticket = self.cluster.pick(&asked, (&[], None), self.begun + self.now).unwrap();
        let position = ticket.position();
        let served = self.engines[position].serve(self.now, &request.blocks, request.tokens);
        self.count += 1;
        let tokens = |bytes: usize| (bytes / TOKEN_BYTES) as u64;
        let last = Event::Last(tokens(served.cached), tokens(request.bytes));
        self.events.insert((served.first, self.count, Event::First), ());
        self.events.insert((served.last, self.count, last), ());
        self.tickets.insert(self.count, ticket);
        (position, served)
    }

    /// An endpoint goes, or comes back with an empty cache.
    pub fn set_out(&mut self, position: usize, is_out: bool) {
        self.candidates[position].verdict.drain(is_out);
        if !is_out {
            self.engines[position].restart(self.now);
        }
    }
}

/// The highest of them, by their mean.
pub fn max_of_mean(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().fold(0.0, |most: f64, value| most.max(*value)) / mean
}
