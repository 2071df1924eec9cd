//! What a balancer thinks of each endpoint, told to whoever asks why: the same figures that it picks by.

use std::time::Instant;

use super::asked::{Affinity, Asked};
use super::candidates::{Candidate, Candidates};
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

/// Tells of each: by its position, its weight for now, and itself.
fn each(
    from: Candidates<'_>,
    why: &'static str,
    mut of: impl FnMut(usize, f64, &Candidate) -> (f64, Vec<(&'static str, f64)>),
) -> Vec<Told> {
    let told = from.each().map(|(position, weight, candidate)| {
        let (score, terms) = of(position, weight as f64 / f64::from(WHOLE), candidate);
        Told { position, score, terms, why }
    });
    told.collect()
}

/// Its work, and by how much more it counts where it is pressed.
fn work(candidate: &Candidate, now: Instant) -> Vec<(&'static str, f64)> {
    let pressure = candidate.pressure(now);
    let pressed = (pressure > 1.0).then_some(("pressure", pressure));
    [("work", candidate.load.work() as f64)].into_iter().chain(pressed).collect()
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
    each(from, "the least work for its weight", |_, weight, candidate| {
        let terms = [work(candidate, from.now), vec![("weight", weight)]].concat();
        (candidate.work_ahead(from.now) / weight, terms)
    })
}

pub(super) fn peak_ewma(from: Candidates<'_>) -> Vec<Told> {
    let unknown = PeakEwma::unknown(from);
    let told = from.each().map(|(position, weight, candidate)| {
        let seconds = candidate.load.latency().seconds(from.now).unwrap_or(unknown);
        let in_flight = candidate.load.in_flight() as f64;
        let of_whole = weight as f64 / f64::from(WHOLE);
        let pressure = candidate.pressure(from.now);
        let pressed = (pressure > 1.0).then_some(("pressure", pressure));
        let terms = [("seconds", seconds), ("in_flight", in_flight), ("weight", of_whole)];
        Told {
            position,
            score: PeakEwma::cost(candidate, weight, unknown, from) * f64::from(WHOLE),
            terms: terms.into_iter().chain(pressed).collect(),
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
        |at, weight, candidate| {
            let place =
                order.iter().position(|position| *position == at).map_or(places, |place| place as f64);
            let passed_over = if candidate.work(from.now) > most * weight { places } else { 0.0 };
            let terms = [vec![("place", place)], work(candidate, from.now), vec![("most", most * weight)]];
            (place + passed_over, terms.concat())
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
    each(from, "the least work behind what it knows of the prompt", |position, weight, candidate| {
        let known = balancer.known_bytes(position);
        let bonus = worth * known;
        let blocks = known / PROMPT_BLOCK_BYTES as f64;
        let behind = vec![("known_blocks", blocks), ("bonus", bonus), ("weight", weight)];
        (
            (candidate.work_ahead(from.now) + most - bonus) / weight,
            [work(candidate, from.now), behind].concat(),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::balance::testing::{among, candidates};
    use crate::balance::{Balancer, Balancing};
    use crate::base::ids::{Id, LaneId};
    use crate::base::rng::Rng;
    use crate::board::blocks::Blocks;
    use crate::board::pressure::EVEN;

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
                if rng.below(2) == 0 {
                    one.load.pressure().note(rng.below(EVEN + 1), from.now);
                }
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
