//! Two thousand conversations of several turns, which share some system prompts, on eight engines: how much of the prompts is
//! in an engine's cache, and how soon the first token comes, by how the cluster is balanced.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelane::balance::{Affinity, Balancing, Ring};
use corelane::base::hash::hash64;
use corelane::base::rng::Rng;
use corelane::board::blocks::Blocks;

use crate::engine::{BLOCK_BYTES, TOKEN_BYTES};
use crate::fleet::{ENDPOINTS, Fleet, Request, max_of_mean};

const CONVERSATIONS: usize = 2000;
/// Conversations that begin in a second.
const RATE: f64 = 2.4;
const SYSTEM_PROMPTS: u64 = 200;
const SYSTEM_BYTES: u64 = 2048;
/// Blocks of an engine's cache: 1.5 MiB of text, a few hundred conversations.
const CACHE_BLOCKS: usize = 3072;
/// Engine blocks in one of the balancer's.
const PER_BLOCK: usize = 1024 / BLOCK_BYTES;

/// A conversation: names of the blocks that it says, one after the other.
struct Conversation {
    number: u64,
    system: u64,
    /// Bytes said so far.
    bytes: usize,
    turns_left: u64,
}

impl Conversation {
    fn new(number: u64, rng: &mut Rng) -> Self {
        // Some system prompts are far more used than others.
        let system = rng.below(SYSTEM_PROMPTS).min(rng.below(SYSTEM_PROMPTS));
        Self { number, system, bytes: SYSTEM_BYTES as usize, turns_left: 4 + rng.below(9) }
    }

    /// The engine's blocks of all that was said.
    fn blocks(&self) -> Vec<u64> {
        let name = |at: usize| match at * BLOCK_BYTES < SYSTEM_BYTES as usize {
            true => (1 << 60) | self.system << 32 | at as u64,
            false => self.number << 32 | at as u64,
        };
        (0..self.bytes / BLOCK_BYTES).map(name).collect()
    }

    fn request(&mut self, balancing: &Balancing, rng: &mut Rng) -> Request {
        self.bytes += 500 + rng.below(3500) as usize;
        let blocks = self.blocks();
        let affinity = match balancing {
            Balancing::Hash(_) => Affinity::Value(hash64(&self.number.to_le_bytes())),
            Balancing::Prefix(_) => {
                let mut chain = 7;
                let block = |parts: &[u64]| {
                    let bytes: Vec<u8> =
                        parts.iter().chain([&chain]).flat_map(|part| part.to_le_bytes()).collect();
                    chain = hash64(&bytes);
                    chain
                };
                let hashes: Vec<u64> = blocks.chunks_exact(PER_BLOCK).take(64).map(block).collect();
                Affinity::Prompt(Rc::from(hashes))
            }
            _ => Affinity::None,
        };
        Request { blocks, bytes: self.bytes, affinity, tokens: 100 + rng.below(500) as usize }
    }
}

/// What was seen of a run.
#[derive(Debug)]
struct Seen {
    hits: f64,
    ttft_p50: f64,
    ttft_p99: f64,
    /// Outstanding work of the endpoint that had most over the time, by the mean.
    most_work: f64,
    /// Share of hits in each tenth of the run.
    tenths: Vec<f64>,
}

fn run(balancing: Balancing, begun: Instant, outage: Option<(Duration, Duration)>) -> Seen {
    let mut rng = Rng::new(11);
    let mut fleet = Fleet::new(balancing.clone(), CACHE_BLOCKS, begun, 3);
    // Turns that come, by when.
    let mut due: BTreeMap<(Duration, u64), Conversation> = BTreeMap::new();
    let mut at = Duration::ZERO;
    for number in 0..CONVERSATIONS as u64 {
        at += Duration::from_secs_f64(-(1.0 - rng.unit()).ln() / RATE);
        due.insert((at, number), Conversation::new(number, &mut rng));
    }
    let (mut ttfts, mut asked) = (Vec::new(), Vec::new());
    let mut is_out = false;
    while let Some(((now, number), mut conversation)) = due.pop_first() {
        if let Some((from, to)) = outage {
            let should_be = (from..to).contains(&now);
            if should_be != is_out {
                is_out = should_be;
                fleet.pass(now);
                fleet.set_out(0, is_out);
            }
        }
        fleet.pass(now);
        let request = conversation.request(&balancing, &mut rng);
        let (_, served) = fleet.ask(&request);
        ttfts.push((served.first - now).as_secs_f64());
        asked.push((now, served.cached, request.bytes));
        conversation.bytes += request.tokens * TOKEN_BYTES;
        conversation.turns_left -= 1;
        if conversation.turns_left > 0 {
            let thinks = Duration::from_secs_f64(2.0 + -(1.0 - rng.unit()).ln() * 8.0);
            due.insert((served.last + thinks, number), conversation);
        }
    }
    let end = asked.iter().map(|(now, ..)| *now).max().unwrap();
    let share = |from: f64, to: f64| {
        let within = asked.iter().filter(|(now, ..)| {
            let part = now.as_secs_f64() / end.as_secs_f64();
            (from..to).contains(&part)
        });
        let (cached, bytes) = within.fold((0, 0), |(c, b), (_, cached, bytes)| (c + cached, b + bytes));
        cached as f64 / bytes as f64
    };
    ttfts.sort_by(f64::total_cmp);
    Seen {
        hits: share(0.0, 2.0),
        ttft_p50: ttfts[ttfts.len() / 2],
        ttft_p99: ttfts[ttfts.len() * 99 / 100],
        most_work: max_of_mean(&fleet.work_time),
        tenths: (0..10).map(|tenth| share(f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0)).collect(),
    }
}

fn prefix(begun: Instant) -> Balancing {
    Balancing::Prefix(Arc::new(Blocks::new(ENDPOINTS, begun)))
}

#[test]
fn prefix_finds_far_more_than_round_robin_and_swamps_nobody() {
    let begun = Instant::now();
    let urls: Vec<String> = (0..ENDPOINTS).map(|number| format!("http://10.0.0.{number}:8000")).collect();
    let ring = Arc::new(Ring::of(urls.iter().map(|url| (url.as_str(), 1))));
    let rows = [
        ("round-robin", Balancing::RoundRobin),
        ("random", Balancing::Random),
        ("least-work", Balancing::LeastWork),
        ("peak-ewma", Balancing::PeakEwma),
        ("hash", Balancing::Hash(ring)),
        ("prefix", prefix(begun)),
    ];
    println!(
        "| balance | prompt bytes found | TTFT p50 | TTFT p99 | most work / mean |\n|---|--:|--:|--:|--:|"
    );
    let mut seen = BTreeMap::new();
    for (name, balancing) in rows {
        let Seen { hits, ttft_p50, ttft_p99, most_work, .. } = run(balancing, begun, None);
        println!("| `{name}` | {:.0} % | {ttft_p50:.2} s | {ttft_p99:.2} s | {most_work:.2} |", hits * 100.0);
        seen.insert(name, (hits, ttft_p99, most_work));
    }
    let (prefix, turns) = (seen["prefix"], seen["round-robin"]);
    assert!(prefix.0 >= 2.0 * turns.0, "{seen:?}");
    assert!(prefix.2 <= 1.25, "{seen:?}");
    assert!(seen.values().all(|other| prefix.1 <= other.1), "nobody is sooner in the worst case: {seen:?}");
}

#[test]
fn an_endpoint_that_restarts_finds_its_share_again_by_itself() {
    let begun = Instant::now();
    let seen = run(prefix(begun), begun, Some((Duration::from_secs(250), Duration::from_secs(270))));
    let undisturbed = run(prefix(begun), begun, None);
    for tenth in 6..10 {
        let (after, usual) = (seen.tenths[tenth], undisturbed.tenths[tenth]);
        assert!(after > 0.95 * usual, "tenth {tenth}: {after:.3}, undisturbed {usual:.3}");
    }
    assert!(seen.most_work < 1.25, "{seen:?}");
}
