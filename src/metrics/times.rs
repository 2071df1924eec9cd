//! A histogram of times, since some moment.

use hdrhistogram::Histogram;

/// Longest time that is told apart, microseconds; longer ones count as this.
const LONGEST_US: u64 = 3_600_000_000;
/// Two significant figures: each value is within 1 %, and a histogram stays at about 25 KiB.
const FIGURES: u8 = 2;

/// A histogram of microseconds. Its memory is taken with the first value: most routes never stream.
#[derive(Debug, Clone, Default)]
pub struct Times {
    histogram: Option<Histogram<u64>>,
    sum_us: u64,
}

impl Times {
    /// Counts one time.
    pub fn record(&mut self, us: u64) {
        self.record_n(us, 1);
    }

    /// Counts the same time `count` times.
    pub fn record_n(&mut self, us: u64, count: u64) {
        let histogram = self.histogram.get_or_insert_with(|| {
            Histogram::new_with_bounds(1, LONGEST_US, FIGURES).expect("constant bounds are in order")
        });
        histogram.saturating_record_n(us.max(1), count);
        self.sum_us += us * count;
    }

    /// Adds another histogram's counts.
    pub fn add(&mut self, other: &Self) {
        let Some(theirs) = other.histogram.as_ref().filter(|theirs| !theirs.is_empty()) else { return };
        match &mut self.histogram {
            Some(ours) => ours.add(theirs).expect("all histograms have the same bounds"),
            None => self.histogram = Some(theirs.clone()),
        }
        self.sum_us += other.sum_us;
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// Their sum, exact.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The value at a quantile in `0.0..=1.0`; zero while nothing was counted.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.value_at_quantile(quantile))
    }

    /// The largest value; zero while nothing was counted.
    pub fn max_us(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::max)
    }

    /// How many values are at most `us`.
    pub fn count_up_to(&self, us: u64) -> u64 {
        self.counts_up_to(&[us])[0]
    }

    /// How many values are at most each of `bounds`, which ascend: in one walk over what was counted.
    pub fn counts_up_to(&self, bounds: &[u64]) -> Vec<u64> {
        let mut counts = vec![0; bounds.len()];
        for (value, count) in self.pairs() {
            // A value stands for all that are not told apart from it, the smallest of which decides.
            let smallest =
                self.histogram.as_ref().map_or(value, |histogram| histogram.lowest_equivalent(value));
            if let Some(first) = counts.get_mut(bounds.partition_point(|bound| *bound < smallest)) {
                *first += count;
            }
        }
        let mut sum = 0;
        for count in &mut counts {
            sum += *count;
            *count = sum;
        }
        counts
    }

    /// All values that were counted, ascending, each with how often: the largest of those not told apart from it.
    pub fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        let recorded = self
            .histogram
            .iter()
            .filter(|histogram| !histogram.is_empty())
            .flat_map(Histogram::iter_recorded);
        recorded.map(|value| (value.value_iterated_to(), value.count_at_value()))
    }

    /// Empties it, keeping its memory.
    pub(super) fn clear(&mut self) {
        if let Some(histogram) = self.histogram.as_mut().filter(|histogram| !histogram.is_empty()) {
            histogram.reset();
        }
        self.sum_us = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_histograms_hold_the_values_of_both() {
        let (mut a, mut b) = (Times::default(), Times::default());
        (1..=50).for_each(|us| a.record(us));
        (51..=100).for_each(|us| b.record(us));
        a.add(&b);
        assert_eq!((a.count(), a.sum_us(), a.max_us(), a.quantile_us(0.5)), (100, 5050, 100, 50));
        assert_eq!(a.count_up_to(10), 10);
    }

    #[test]
    fn one_walk_counts_what_a_search_for_each_bound_would() {
        let mut times = Times::default();
        for us in (0..5000).map(|step: u64| (step * step * 7919) % 900_000_000) {
            times.record(us);
        }
        let bounds: Vec<u64> = (0..60).map(|step| (100.0 * 1.3_f64.powi(step)) as u64).collect();
        let histogram = times.histogram.as_ref().unwrap();
        let searched: Vec<u64> = bounds.iter().map(|bound| histogram.count_between(0, *bound)).collect();
        assert_eq!(times.counts_up_to(&bounds), searched);
        assert_eq!(Times::default().counts_up_to(&bounds), vec![0; bounds.len()]);
        assert_eq!(times.pairs().map(|(_, count)| count).sum::<u64>(), 5000);
    }
}
