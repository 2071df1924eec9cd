//! By chance, by weight.

use super::candidates::Candidates;
use crate::base::rng::Rng;

/// Picks by weighted chance; keeps no state.
#[derive(Debug)]
pub struct Random;

impl Random {
    /// The next by chance.
    pub fn pick(&mut self, from: Candidates<'_>, rng: &mut Rng) -> Option<usize> {
        let open = || from.all.iter().enumerate().filter(|(at, _)| from.admits(*at));
        let sum: u64 = open().map(|(_, candidate)| u64::from(candidate.weight)).sum();
        if sum == 0 {
            return None;
        }
        let mut drawn = rng.below(sum);
        open()
            .find(|(_, candidate)| {
                let weight = u64::from(candidate.weight);
                let found = drawn < weight;
                drawn = drawn.saturating_sub(weight);
                found
            })
            .map(|(position, _)| position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::candidates::candidates;

    #[test]
    fn shares_follow_weights_within_chance() {
        let all = candidates(&[3, 1]);
        let mut rng = Rng::new(9);
        let firsts = (0..4000)
            .filter(|_| Random.pick(Candidates { all: &all, tried: &[] }, &mut rng) == Some(0))
            .count();
        assert!((2880..3120).contains(&firsts), "{firsts}");
        assert_eq!(Random.pick(Candidates { all: &all, tried: &[0] }, &mut rng), Some(1));
        assert_eq!(Random.pick(Candidates { all: &all, tried: &[0, 1] }, &mut rng), None);
    }
}
