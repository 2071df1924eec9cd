//! What a balancer thinks of each endpoint, told to whoever asks why: the same figures that it picks by.

use super::asked::{Affinity, Asked};
use super::candidates::Candidates;
use super::hash_ring::HashRing;
use super::peak_ewma::PeakEwma;
use super::prefix::Prefix;
use super::ring::Ring;
use super::round_robin::RoundRobin;
use crate::base::limits::PROMPT_BLOCK_BYTES;
use crate::board::verdicts::WHOLE;

/// What is thought of one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its position.
    pub position: usize,
    /// The lowest wins; of those that are alike chance decides.
    pub score: f64,
    /// What it is made of, by their names.
    pub terms: Vec<(&'static str, f64)>,
    /// Why the lowest one wins.
    pub why: &'static str,
}

/// Tells of each: by its position, its weight for now, and its work.
fn each(
    from: Candidates<'_>,
    why: &'static str,
    mut of: impl FnMut(usize, f64, f64) -> (f64, Vec<(&'static str, f64)>),
) -> Vec<Told> {
    let told = from.each().map(|(position, weight, candidate)| {
        let (score, terms) = of(position, weight as f64 / f64::from(WHOLE), candidate.load.work() as f64);
        Told { position, score, terms, why }
    });
    told.collect()
}

pub(super) fn random(from: Candidates<'_>) -> Vec<Told> {
    each(from, "by chance, by weight", |_, weight, _| (0.0, vec![("weight", weight)]))
}

pub(super) fn round_robin(balancer: &RoundRobin, from: Candidates<'_>) -> Vec<Told> {
    each(from, "its turn, by weight", |position, weight, _| {
        let standing = balancer.standing(position) / f64::from(WHOLE);
        (-(standing + weight), vec![("standing", standing), ("weight", weight)])
    })
}

pub(super) fn least_work(from: Candidates<'_>) -> Vec<Told> {
    each(from, "the least work for its weight", |_, weight, work| {
        (work / weight, vec![("work", work), ("weight", weight)])
    })
}

pub(super) fn peak_ewma(from: Candidates<'_>) -> Vec<Told> {
    let unknown = PeakEwma::unknown(from);
    let told = from.each().map(|(position, weight, candidate)| {
        let seconds = candidate.load.latency().seconds(from.now).unwrap_or(unknown);
        let in_flight = candidate.load.in_flight() as f64;
        let of_whole = weight as f64 / f64::from(WHOLE);
        Told {
            position,
            score: PeakEwma::cost(candidate, weight, unknown, from) * f64::from(WHOLE),
            terms: vec![("seconds", seconds), ("in_flight", in_flight), ("weight", of_whole)],
            why: "expected to answer first",
        }
    });
    told.collect()
}

pub(super) fn hash(balancer: &HashRing, from: Candidates<'_>, asked: &Asked<'_>) -> Vec<Told> {
    let Affinity::Value(value) = asked.affinity else { return least_work(from) };
    let most = HashRing::most(from) * f64::from(WHOLE);
    let order = order(&balancer.0, *value, from.all.len());
    let places = from.all.len() as f64;
    each(
        from,
        "its value falls here on the ring, and it has no more than 1.25 of the mean work",
        |at, weight, work| {
            let place =
                order.iter().position(|position| *position == at).map_or(places, |place| place as f64);
            let passed_over = if work > most * weight { places } else { 0.0 };
            (place + passed_over, vec![("place", place), ("work", work), ("most", most * weight)])
        },
    )
}

/// Endpoints as they come on the ring, each once.
fn order(ring: &Ring, value: u64, count: usize) -> Vec<usize> {
    let mut order = Vec::new();
    for position in ring.from(value) {
        if !order.contains(&position) {
            order.push(position);
        }
        if order.len() == count {
            break;
        }
    }
    order
}

pub(super) fn prefix(balancer: &mut Prefix, from: Candidates<'_>, asked: &Asked<'_>) -> Vec<Told> {
    let Affinity::Prompt(blocks) = asked.affinity else { return least_work(from) };
    balancer.look_up(blocks);
    if !from.each().any(|(position, ..)| balancer.known_bytes(position) > 0.0) {
        return least_work(from);
    }
    let most = Prefix::most(from, asked);
    let worth = balancer.worth(from, most);
    each(from, "the least work behind what it knows of the prompt", |position, weight, work| {
        let known = balancer.known_bytes(position);
        let bonus = worth * known;
        let blocks = known / PROMPT_BLOCK_BYTES as f64;
        (
            (work + most - bonus) / weight,
            vec![("work", work), ("known_blocks", blocks), ("bonus", bonus), ("weight", weight)],
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::balance::testing::{among, candidates};
    use crate::balance::{Balancer, Balancing, Candidate};
    use crate::base::ids::{Id, LaneId};
    use crate::base::rng::Rng;
    use crate::board::blocks::Blocks;

    /// Of many clusters under many loads: who is picked has the lowest score of all.
    #[test]
    fn who_is_picked_has_the_lowest_score() {
        let urls = ["http://a", "http://b", "http://c", "http://d"];
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let all: Vec<Candidate> = candidates(&[1, 2, 3, 1]);
            let from = among(&all);
            for one in &all {
                one.load.add(LaneId::at(0), rng.below(50_000));
                one.load.latency().note(std::time::Duration::from_millis(1 + rng.below(900)), from.now);
            }
            let affinity = match seed % 3 {
                0 => Affinity::None,
                1 => Affinity::Value(rng.next_u64()),
                _ => Affinity::Prompt((1..=rng.below(9) + 1).collect()),
            };
            let asked = Asked { work: 9000, affinity: &affinity };
            let tried: Vec<usize> = (0..4).filter(|_| rng.below(4) == 0).collect();
            let from = Candidates { tried: &tried, ..from };
            for how in [
                Balancing::RoundRobin,
                Balancing::Random,
                Balancing::LeastWork,
                Balancing::PeakEwma,
                Balancing::Hash(Arc::new(Ring::of(urls.iter().map(|url| (*url, 1))))),
                Balancing::Prefix(Arc::new(Blocks::new(4, from.now))),
            ] {
                let mut balancer = Balancer::start(&how, 4, &mut rng);
                balancer.placed(2, &asked, from.now);
                let told = balancer.tell(from, &asked);
                assert_eq!(told.len(), 4 - tried.len());
                let Some(picked) = balancer.pick(from, &asked, &mut rng) else { continue };
                let least = told.iter().map(|told| told.score).fold(f64::INFINITY, f64::min);
                let own = told.iter().find(|told| told.position == picked).unwrap();
                assert_eq!(own.score, least, "seed {seed}: {how:?}\n{told:?}");
            }
        }
    }
}
