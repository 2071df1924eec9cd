//! One request to several clusters: which of their answers make the one that is told. Pure.

use crate::base::choice::Gathering;

/// How one leg ended, or how far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// It is under way.
    Open,
    /// It answered with 2xx: whole, or as much of it as counts.
    Good,
    /// It answered otherwise, or not.
    Failed,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The others are waited for.
    Wait,
    /// This leg's answer is told; the others are cancelled.
    Tell(usize),
    /// All that came is told with this status; what is open is cancelled.
    TellAll(u16),
    /// What came is told, and that it is too little; what is open is cancelled.
    TooFew,
}

/// The legs of one request.
#[derive(Debug)]
pub struct Gather {
    rule: Gathering,
    need: usize,
    legs: Vec<Leg>,
    first_failed: Option<usize>,
}

impl Gather {
    /// None has ended yet; a quorum needs `need` good ones, which there are legs enough for.
    pub fn new(rule: Gathering, legs: usize, need: usize) -> Self {
        Self { rule, need, legs: vec![Leg::Open; legs], first_failed: None }
    }

    /// A leg ended. Each ends once.
    pub fn ended(&mut self, leg: usize, how: Leg) -> Step {
        debug_assert_eq!(self.legs[leg], Leg::Open, "a leg ends once");
        self.legs[leg] = how;
        if how == Leg::Failed {
            self.first_failed.get_or_insert(leg);
        }
        let count = |wanted| self.legs.iter().filter(|leg| **leg == wanted).count();
        let (open, good) = (count(Leg::Open), count(Leg::Good));
        match self.rule {
            Gathering::First if how == Leg::Good => Step::Tell(leg),
            Gathering::Quorum if good >= self.need => Step::TellAll(200),
            Gathering::Quorum if good + open < self.need => Step::TooFew,
            _ if open > 0 => Step::Wait,
            Gathering::First => Step::Tell(self.first_failed.unwrap_or(leg)),
            Gathering::All | Gathering::Quorum => Step::TellAll(if good > 0 { 200 } else { 502 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order in which the legs can end, each with every outcome.
    fn all(legs: usize, mut check: impl FnMut(&[(usize, Leg)])) {
        fn go(left: &mut Vec<usize>, ends: &mut Vec<(usize, Leg)>, check: &mut impl FnMut(&[(usize, Leg)])) {
            if left.is_empty() {
                return check(ends);
            }
            for at in 0..left.len() {
                let leg = left.remove(at);
                for how in [Leg::Good, Leg::Failed] {
                    ends.push((leg, how));
                    go(left, ends, check);
                    ends.pop();
                }
                left.insert(at, leg);
            }
        }
        go(&mut (0..legs).collect(), &mut Vec::new(), &mut check);
    }

    /// The step that ends it, and after how many legs.
    fn end(rule: Gathering, need: usize, ends: &[(usize, Leg)]) -> (Step, usize) {
        let mut gather = Gather::new(rule, ends.len(), need);
        for (count, (leg, how)) in ends.iter().enumerate() {
            match gather.ended(*leg, *how) {
                Step::Wait => {}
                step => return (step, count + 1),
            }
        }
        panic!("all legs ended, and it still waits: {ends:?}")
    }

    #[test]
    fn all_waits_for_all_and_is_good_if_any_is() {
        all(4, |ends| {
            let is_good = ends.iter().any(|(_, how)| *how == Leg::Good);
            let status = if is_good { 200 } else { 502 };
            assert_eq!(end(Gathering::All, 0, ends), (Step::TellAll(status), 4));
        });
    }

    #[test]
    fn first_is_the_first_good_one_else_the_first_failed_one() {
        all(4, |ends| {
            let expected = match ends.iter().position(|(_, how)| *how == Leg::Good) {
                Some(at) => (Step::Tell(ends[at].0), at + 1),
                None => (Step::Tell(ends[0].0), 4),
            };
            assert_eq!(end(Gathering::First, 0, ends), expected);
        });
    }

    #[test]
    fn a_quorum_ends_as_soon_as_it_is_reached_or_out_of_reach() {
        for need in 1..=4 {
            all(4, |ends| {
                let (step, count) = end(Gathering::Quorum, need, ends);
                let good = |ends: &[(usize, Leg)]| ends.iter().filter(|(_, how)| *how == Leg::Good).count();
                let (now, before) = (&ends[..count], &ends[..count - 1]);
                if step == Step::TellAll(200) {
                    assert_eq!((good(now), good(before)), (need, need - 1));
                } else {
                    assert_eq!(step, Step::TooFew);
                    assert_eq!(count - good(now), 4 - need + 1, "one more failed than may");
                }
            });
        }
    }
}
