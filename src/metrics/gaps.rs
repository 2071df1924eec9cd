//! Times between tokens of one stream, counted in steps of an eighth of their size: enough to tell the middle one.

/// Steps of each doubling.
const STEPS: u64 = 8;
/// Counted below this one by one.
const EXACT: u64 = STEPS;
/// As many as 2^40 µs, twelve days, take.
const COUNTS: usize = (EXACT + (40 - 3) * STEPS) as usize;

/// Counts of one stream.
#[derive(Debug)]
pub struct Gaps {
    counts: [u32; COUNTS],
    all: u64,
    longest: u64,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { counts: [0; COUNTS], all: 0, longest: 0 }
    }
}

impl Gaps {
    /// So many tokens came `us` behind the one before, the first of them; the others with it.
    pub fn record(&mut self, us: u64, tokens: u64) {
        self.count(us, 1);
        self.count(0, tokens.saturating_sub(1));
        self.longest = self.longest.max(us);
    }

    fn count(&mut self, us: u64, many: u64) {
        let count = &mut self.counts[place(us)];
        *count = count.saturating_add(u32::try_from(many).unwrap_or(u32::MAX));
        self.all += many;
    }

    /// The middle one, within an eighth; none where there is none.
    pub fn median_us(&self) -> Option<u64> {
        let mut left = self.all.div_ceil(2);
        let place = self.counts.iter().position(|count| {
            left = left.saturating_sub(u64::from(*count));
            left == 0
        });
        place.filter(|_| self.all > 0).map(middle)
    }

    /// The longest one.
    pub fn longest_us(&self) -> Option<u64> {
        (self.all > 0).then_some(self.longest)
    }
}

fn place(us: u64) -> usize {
    if us < EXACT {
        return us as usize;
    }
    let doubling = u64::from(us.ilog2()) - 3;
    let step = (us >> doubling) - STEPS;
    ((EXACT + doubling * STEPS + step) as usize).min(COUNTS - 1)
}

/// The middle of what is counted there.
fn middle(place: usize) -> u64 {
    let place = place as u64;
    if place < EXACT {
        return place;
    }
    let (doubling, step) = ((place - EXACT) / STEPS, (place - EXACT) % STEPS);
    ((STEPS + step) << doubling) + (1 << doubling) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_told_within_an_eighth() {
        assert_eq!((Gaps::default().median_us(), Gaps::default().longest_us()), (None, None));
        for us in [0, 1, 7, 8, 9, 100, 12_345, 999_999, 60_000_000, u64::MAX] {
            let mut gaps = Gaps::default();
            gaps.record(us, 1);
            gaps.record(us, 1);
            gaps.record(10 * us.min(1 << 50), 1);
            let told = gaps.median_us().unwrap() as f64;
            let us = us.min(1 << 40) as f64;
            assert!((told - us).abs() <= us / 8.0, "{us} {told}");
        }
        let mut gaps = Gaps::default();
        // Three that came together: two of them have no time before them.
        gaps.record(1000, 3);
        assert_eq!((gaps.median_us(), gaps.longest_us()), (Some(0), Some(1000)));
    }
}
