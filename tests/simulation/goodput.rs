//! Clients that ask for twice what a cluster can do, and come back when they are told to: how much of it is done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelane::admission::{Asks, Queue, Seat};
use corelane::base::rng::Rng;
use corelane::board::granted::Granted;

const PLACES: usize = 16;
/// Twice as many as would keep all places busy.
const CLIENTS: usize = 2 * PLACES * 2;
/// For so many times as long as an exchange lasts.
const TIMES: f64 = 600.0;

/// What a client is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Asks,
    /// Its exchange ends, which was begun at that time.
    Ends(Duration),
}

/// What a client is told that finds everything full.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// What the queue says.
    Computed,
    /// The same to everybody.
    Always(Duration),
}

struct World {
    queue: Arc<Queue>,
    lane: Arc<Granted>,
    begun: Instant,
    busy: usize,
    max: usize,
    told: Told,
    /// How long an exchange lasts, and a client thinks, in the mean: seconds.
    lasts: f64,
    rng: Rng,
    seats: BTreeMap<usize, Seat>,
    events: BTreeMap<(Duration, usize), Event>,
    done: usize,
    refused: usize,
}

impl World {
    fn new(lasts: f64, max: usize, told: Told) -> Self {
        let mut rng = Rng::new(1);
        let events = (0..CLIENTS)
            .map(|client| ((Duration::from_secs_f64(rng.unit() * lasts), client), Event::Asks))
            .collect();
        Self {
            queue: Arc::default(),
            lane: Granted::new(|| {}),
            begun: Instant::now(),
            busy: 0,
            max,
            told,
            lasts,
            rng,
            seats: BTreeMap::new(),
            events,
            done: 0,
            refused: 0,
        }
    }

    fn chance(&mut self) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.rng.unit()).ln() * self.lasts)
    }

    fn begin(&mut self, client: usize, now: Duration) {
        self.busy += 1;
        let end = now + self.chance();
        self.events.insert((end, client), Event::Ends(now));
    }

    fn asks(&mut self, client: usize, now: Duration) {
        if self.queue.is_quiet() && self.busy < PLACES {
            return self.begin(client, now);
        }
        let (patience, usual) = (Duration::from_secs_f64(20.0 * self.lasts), self.queue.usual(PLACES as u64));
        let asks = Asks { class: 0, key: client as u64, patience, max: self.max, usual };
        match self.queue.enter(asks, &self.lane, self.begun + now) {
            Ok(seat) => _ = self.seats.insert(client, seat),
            Err(refused) => {
                self.refused += 1;
                let wait = match self.told {
                    Told::Computed => {
                        let wait = refused.wait.unwrap_or(Duration::from_secs(1));
                        wait + wait.mul_f64(self.rng.unit() / 10.0)
                    }
                    Told::Always(wait) => wait,
                };
                self.events.insert((now + wait, client), Event::Asks);
            }
        }
    }

    /// Ends a second, and refusals each.
    fn run(mut self) -> (f64, f64) {
        let seconds = TIMES * self.lasts;
        while let Some(((now, client), event)) = self.events.pop_first()
            && now.as_secs_f64() < seconds
        {
            match event {
                Event::Asks => self.asks(client, now),
                Event::Ends(since) => {
                    self.done += 1;
                    self.busy -= 1;
                    self.queue.lasted(now - since);
                    self.queue.on_end(Some(self.begun + now));
                    let next = now + self.chance();
                    self.events.insert((next, client), Event::Asks);
                    let granted: Vec<usize> = self
                        .seats
                        .iter()
                        .filter(|(_, seat)| seat.is_granted())
                        .map(|(client, _)| *client)
                        .collect();
                    for client in granted {
                        self.seats.remove(&client).unwrap().claim();
                        self.begin(client, now);
                    }
                }
            }
        }
        let _ = self.lane.take();
        (self.done as f64 / seconds, self.refused as f64 / self.done as f64)
    }
}

#[test]
fn clients_that_come_back_when_they_are_told_to_lose_next_to_nothing() {
    println!("| an exchange lasts | queue | told | goodput | refusals each |\n|--:|--:|---|--:|--:|");
    for lasts in [0.05, 1.0, 20.0] {
        let (ideal, _) = World::new(lasts, usize::MAX, Told::Computed).run();
        for max in [4, 16] {
            let row = |name: &str, told: Told| {
                let (goodput, refusals) = World::new(lasts, max, told).run();
                let share = goodput / ideal;
                println!("| {lasts} s | {max} | {name} | {:.1} % | {refusals:.2} |", 100.0 * share);
                share
            };
            let share = row("computed", Told::Computed);
            row("1 s", Told::Always(Duration::from_secs(1)));
            assert!(share >= 0.95, "{share}");
        }
    }
}
