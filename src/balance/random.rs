//! By chance, by weight.

use super::candidates::Candidates;
use crate::base::rng::Rng;

/// Picks by weighted chance; keeps no state.
#[derive(Debug)]
pub struct Random;

impl Random {
    /// The next by chance.
    pub fn pick(&mut self, from: Candidates<'_>, rng: &mut Rng) -> Option<usize> {
        let (mut picked, mut sum) = (None, 0);
        for (position, weight, _) in from.each() {
            // The new one replaces with its part of the weight so far: each gets its share, in one pass.
            sum += weight;
            if rng.below(sum) < weight {
                picked = Some(position);
            }
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Positions;
    use crate::balance::testing::{among, candidates};

    #[test]
    fn shares_follow_weights_within_chance() {
        let all = candidates(&[3, 1]);
        let mut rng = Rng::new(9);
        let firsts = (0..4000).filter(|_| Random.pick(among(&all), &mut rng) == Some(0)).count();
        assert!((2880..3120).contains(&firsts), "{firsts}");
        assert_eq!(Random.pick(Candidates { tried: &[0], ..among(&all) }, &mut rng), Some(1));
        assert_eq!(Random.pick(Candidates { tried: &[0, 1], ..among(&all) }, &mut rng), None);
        let mut only = Positions::none_of(2);
        only.add(0);
        assert!(
            (0..99)
                .all(|_| Random.pick(Candidates { only: Some(&only), ..among(&all) }, &mut rng) == Some(0))
        );
        assert_eq!(Random.pick(Candidates { tried: &[0], only: Some(&only), ..among(&all) }, &mut rng), None);
    }
}
