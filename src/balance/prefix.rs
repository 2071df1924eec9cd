//! Where the beginning of the prompt was sent before, unless that has too much to do.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::asked::{Affinity, Asked};
use super::candidates::Candidates;
use super::least_work::LeastWork;
use super::score::lowest;
use crate::base::limits::{EXCHANGE_WORK_BYTES, PROMPT_BLOCK_BYTES};
use crate::base::rng::Rng;
use crate::board::blocks::{Blocks, Moment};

/// How much of an endpoint's work a byte is worth that it need not compute again. More than 1, for a conversation that is sent
/// elsewhere is computed there anew with all its later turns. By `tests/simulation`: 1, 4, 16 and 64 find 44, 66, 75 and 76 %
/// of prompts, and the time to the first token falls alike; above it a block that many share would draw all of them.
const WORTH: f64 = 16.0;

/// Least work, less what an endpoint is believed to know of the prompt.
#[derive(Debug)]
pub struct Prefix {
    table: Arc<Blocks>,
    /// What each endpoint knows of the prompt that was looked up last.
    known: Vec<Known>,
    looked_up: Option<Rc<[u64]>>,
}

/// How much of a prompt an endpoint knows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Blocks from its beginning.
    pub(super) blocks: usize,
    /// When it was sent the last of them.
    at: Moment,
}

/// A prompt that was sent to an endpoint, until it is known what came of it.
#[derive(Debug)]
pub struct Placed {
    table: Arc<Blocks>,
    blocks: Rc<[u64]>,
    position: usize,
    at: Moment,
    known: Known,
    /// Bytes of its request.
    bytes: u64,
}

impl Prefix {
    /// With this table, for so many endpoints.
    pub fn new(table: Arc<Blocks>, endpoints: usize) -> Self {
        Self { table, known: vec![Known::default(); endpoints], looked_up: None }
    }

    /// The endpoint with the least work behind its bonus; a prompt of which nobody knows anything goes to the least loaded.
    pub fn pick(&mut self, from: Candidates<'_>, asked: &Asked<'_>, rng: &mut Rng) -> Option<usize> {
        let Affinity::Prompt(blocks) = asked.affinity else { return LeastWork.pick(from, rng) };
        self.look_up(blocks);
        if !from.each().any(|(position, ..)| self.known[position].blocks > 0) {
            return LeastWork.pick(from, rng);
        }
        let most = Self::most(from, asked);
        let worth = self.worth(from, most);
        lowest(from, rng, |position, weight, candidate| {
            (candidate.work_ahead(from.now) + most - worth * self.known_bytes(position)) / weight as f64
        })
    }

    /// The most that a bonus is worth: half of the mean outstanding work, and the prompt itself.
    pub(super) fn most(from: Candidates<'_>, asked: &Asked<'_>) -> f64 {
        let (work, count) = from.each().fold((0.0, 0.0), |(work, count), (_, _, candidate)| {
            (work + candidate.work(from.now), count + 1.0)
        });
        f64::from(asked.work.saturating_sub(EXCHANGE_WORK_BYTES))
            + if count > 0.0 { work / count / 2.0 } else { 0.0 }
    }

    /// What a known byte is worth: so much that the bonus of whoever knows most is within its bound, and those of others
    /// less by as much as they know less.
    pub(super) fn worth(&self, from: Candidates<'_>, most: f64) -> f64 {
        let known = from.each().map(|(position, ..)| self.known_bytes(position)).fold(0.0, f64::max);
        WORTH.min(most / known.max(1.0))
    }

    pub(super) fn known_bytes(&self, position: usize) -> f64 {
        (self.known[position].blocks * PROMPT_BLOCK_BYTES) as f64
    }

    /// Finds out what each endpoint knows of a prompt.
    pub(super) fn look_up(&mut self, blocks: &Rc<[u64]>) {
        self.known.fill(Known::default());
        self.table.look_up(blocks, |position, before, at| {
            // What it did not see in the middle ends what it has.
            if let Some(known) = self.known.get_mut(position).filter(|known| known.blocks == before) {
                *known = Known { blocks: before + 1, at };
            }
        });
        self.looked_up = Some(Rc::clone(blocks));
    }

    /// The endpoint at `position` is sent it: from here on it is believed to know it.
    pub fn placed(&mut self, position: usize, asked: &Asked<'_>, now: Instant) -> Option<Placed> {
        let Affinity::Prompt(blocks) = asked.affinity else { return None };
        if !self.looked_up.as_ref().is_some_and(|looked| Rc::ptr_eq(looked, blocks)) {
            self.look_up(blocks);
        }
        let at = self.table.moment(now);
        self.table.note(blocks, position, at);
        Some(Placed {
            table: Arc::clone(&self.table),
            blocks: Rc::clone(blocks),
            position,
            at,
            known: self.known[position],
            bytes: u64::from(asked.work.saturating_sub(EXCHANGE_WORK_BYTES)),
        })
    }
}

impl Placed {
    /// It answered that it had `cached` of the prompt's tokens.
    ///
    /// Where that is less than half of what it was believed to have, it forgot: an engine forgets what was used longest ago
    /// first, so that all it was sent before the block that is gone is gone too.
    pub fn learn(&self, cached: u64, prompt: u64) {
        let had = self.bytes as f64 * cached as f64 / prompt.max(1) as f64;
        let believed = (self.known.blocks * PROMPT_BLOCK_BYTES) as f64;
        if had < believed / 2.0 {
            self.table.move_horizon(self.position, self.known.at);
        }
    }

    /// It never computed it: it was not reached, or failed.
    pub fn take_back(&self) {
        self.table.forget(&self.blocks, self.position, self.at);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::balance::testing::{among, candidates};
    use crate::base::ids::{Id, LaneId};

    const SECOND: Duration = Duration::from_secs(1);

    fn prompt(blocks: &[u64]) -> Affinity {
        Affinity::Prompt(blocks.into())
    }

    fn asked(affinity: &Affinity) -> Asked<'_> {
        let Affinity::Prompt(blocks) = affinity else { unreachable!("all of these have one") };
        Asked { work: EXCHANGE_WORK_BYTES + (blocks.len() * PROMPT_BLOCK_BYTES) as u32, affinity }
    }

    fn fresh(endpoints: usize, now: Instant) -> (Prefix, Rng) {
        (Prefix::new(Arc::new(Blocks::new(endpoints, now)), endpoints), Rng::new(5))
    }

    #[test]
    fn a_conversation_returns_to_where_it_was_and_longer_ones_win() {
        let all = candidates(&[1; 4]);
        let from = among(&all);
        let (mut balancer, mut rng) = fresh(4, from.now);
        let (short, long) = (prompt(&[1, 2]), prompt(&[1, 2, 3, 4, 5]));
        balancer.placed(1, &asked(&short), from.now).unwrap();
        balancer.placed(3, &asked(&long), from.now).unwrap();
        let next = prompt(&[1, 2, 3, 4, 5, 6]);
        for _ in 0..20 {
            assert_eq!(balancer.pick(from, &asked(&next), &mut rng), Some(3));
        }
        let without_it = Candidates { tried: &[3], ..from };
        assert_eq!(balancer.pick(without_it, &asked(&next), &mut rng), Some(1), "the next best knows some");
        assert!(balancer.pick(from, &Asked::of_bytes(1), &mut rng).is_some());
    }

    #[test]
    fn what_it_is_worth_is_bounded_by_the_load() {
        let all = candidates(&[1; 2]);
        let from = among(&all);
        let (mut balancer, mut rng) = fresh(2, from.now);
        let (known, lane) = (prompt(&[1; 10]), LaneId::at(0));
        let ask = asked(&known);
        balancer.placed(0, &ask, from.now).unwrap();
        all.iter().for_each(|one| one.load.add(lane, 20_000));
        all[0].load.add(lane, 20_000);
        // 40,000 beside 20,000: half of the mean and the prompt are 15,000 and 10,240.
        assert_eq!(balancer.pick(from, &ask, &mut rng), Some(0));
        all[0].load.add(lane, 20_000);
        // 60,000 beside 20,000: 20,000 and 10,240.
        assert_eq!(balancer.pick(from, &ask, &mut rng), Some(1));
    }

    #[test]
    fn an_endpoint_that_forgot_is_believed_to_know_only_what_it_is_sent_since() {
        let all = candidates(&[1; 2]);
        let mut from = among(&all);
        let (mut balancer, _) = fresh(2, from.now);
        let (old, other, lasting) = (prompt(&[1, 2, 3, 4]), prompt(&[7, 8]), prompt(&[9]));
        balancer.placed(0, &asked(&other), from.now).unwrap();
        from.now += SECOND;
        balancer.placed(0, &asked(&old), from.now).unwrap();
        from.now += SECOND;
        balancer.placed(0, &asked(&lasting), from.now).unwrap();
        from.now += SECOND;
        let again = balancer.placed(0, &asked(&old), from.now).unwrap();
        let known = |balancer: &mut Prefix, affinity: &Affinity| {
            let Affinity::Prompt(blocks) = affinity else { unreachable!("all of these have one") };
            balancer.look_up(blocks);
            balancer.known[0].blocks
        };
        again.learn(900, 1000);
        assert_eq!((known(&mut balancer, &other), known(&mut balancer, &lasting)), (2, 1), "as believed");
        again.learn(100, 1000);
        assert_eq!(known(&mut balancer, &other), 0, "what is older is gone as well");
        assert_eq!(known(&mut balancer, &lasting), 1, "what is younger is not");
        assert_eq!(known(&mut balancer, &old), 4, "it was computed anew");
    }

    #[test]
    fn what_never_arrived_is_taken_back() {
        let all = candidates(&[1; 2]);
        let from = among(&all);
        let (mut balancer, _) = fresh(2, from.now);
        let one = prompt(&[1, 2]);
        balancer.placed(0, &asked(&one), from.now).unwrap().take_back();
        let Affinity::Prompt(blocks) = &one else { unreachable!("it is one") };
        balancer.look_up(blocks);
        assert_eq!(balancer.known[0].blocks, 0);
    }
}
