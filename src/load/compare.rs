//! Two targets visited in turn: medians, quartiles, and whether a difference is one.

/// The middle and the quartiles of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// A quarter is below.
    pub low: f64,
    /// Half is below.
    pub median: f64,
    /// A quarter is above.
    pub high: f64,
}

impl Spread {
    /// Of `figures`, interpolated between neighbours (type 7 of Hyndman and Fan 1996); none of none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| {
            let place = share * last as f64;
            let (below, above) = (sorted[place as usize], sorted[(place as usize + 1).min(last)]);
            below + (above - below) * place.fract()
        };
        Some(Self { low: at(0.25), median: at(0.5), high: at(0.75) })
    }
}

/// What can be said of one target beside another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The noise is larger than the difference.
    CannotTell,
    /// They differ, in this ratio of the first to the second.
    Differ(Spread),
}

/// How often chance alone may be taken for a difference: what five rounds that agree can show.
const CHANCE_MAX: f64 = 1.0 / 16.0;

/// Judges figures of rounds in which both targets were visited: `(first, second)`, none of them zero. They differ if
/// the ratio is on the same side of 1 in so many rounds that chance does it once in sixteen times at most (sign test,
/// two-sided).
pub fn judge(rounds: &[(f64, f64)]) -> (Option<Spread>, Verdict) {
    let ratios: Vec<f64> = rounds.iter().filter(|(_, second)| *second > 0.0).map(|(a, b)| a / b).collect();
    let Some(spread) = Spread::of(ratios.iter().copied()) else { return (None, Verdict::CannotTell) };
    let above = ratios.iter().filter(|ratio| **ratio > 1.0).count();
    let below = ratios.iter().filter(|ratio| **ratio < 1.0).count();
    let verdict = if chance_of(above.min(below), above + below) <= CHANCE_MAX {
        Verdict::Differ(spread)
    } else {
        Verdict::CannotTell
    };
    (Some(spread), verdict)
}

/// How likely it is that of `all` tosses of a coin at most `few` fall on the rarer side.
fn chance_of(few: usize, all: usize) -> f64 {
    let mut ways = 1.0;
    let mut sum = 0.0;
    for taken in 0..=few {
        sum += ways;
        ways *= (all - taken.min(all)) as f64 / (taken + 1) as f64;
    }
    (2.0 * sum / 2f64.powi(all as i32)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0]), Some(Spread { low: 3.0, median: 3.0, high: 3.0 }));
        assert_eq!(Spread::of([5.0, 1.0, 2.0, 4.0, 3.0]), Some(Spread { low: 2.0, median: 3.0, high: 4.0 }));
        assert_eq!(Spread::of([1.0, 2.0]), Some(Spread { low: 1.25, median: 1.5, high: 1.75 }));
    }

    #[test]
    fn chances_are_those_of_a_coin() {
        assert_eq!(chance_of(0, 5), 2.0 / 32.0);
        assert_eq!(chance_of(0, 6), 2.0 / 64.0);
        assert_eq!(chance_of(1, 9), 2.0 * 10.0 / 512.0);
        assert_eq!(chance_of(0, 0), 1.0);
    }

    #[test]
    fn a_difference_that_holds_in_every_round_is_told_and_noise_is_not() {
        let better: Vec<_> = (0..9).map(|i| (9.0 + 0.1 * f64::from(i), 11.0)).collect();
        assert!(matches!(judge(&better).1, Verdict::Differ(spread) if spread.median < 1.0));
        let noise: Vec<_> = (0..9).map(|i| (if i % 2 == 0 { 9.0 } else { 11.0 }, 10.0)).collect();
        assert_eq!(judge(&noise).1, Verdict::CannotTell);
        // Five rounds that agree are enough, four are not.
        assert!(matches!(judge(&better[..5]).1, Verdict::Differ(_)));
        assert_eq!(judge(&better[..4]).1, Verdict::CannotTell);
        assert_eq!(judge(&[]), (None, Verdict::CannotTell));
    }
}
