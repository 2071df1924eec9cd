//! A ring of hashes on which every gateway, after every restart, finds the same endpoint for the same value.

use crate::base::hash::hash64;
use crate::base::limits::RING_POINTS;

/// Points on a circle of 64-bit numbers, each an endpoint's (consistent hashing, Karger and others 1997): where one endpoint
/// comes or goes only its own share of values moves.
#[derive(Debug, PartialEq, Eq)]
pub struct Ring(Box<[(u64, u32)]>);

impl Ring {
    /// [`RING_POINTS`] points for each weight of 1 of each endpoint, XXH64 of its URL, `#`, and the point's number from 0.
    pub fn of<'u>(endpoints: impl Iterator<Item = (&'u str, u32)>) -> Self {
        let mut points = Vec::new();
        for (position, (url, weight)) in (0..).zip(endpoints) {
            for number in 0..u64::from(RING_POINTS) * u64::from(weight) {
                points.push((hash64(format!("{url}#{number}").as_bytes()), position));
            }
        }
        points.sort_unstable();
        Self(points.into_boxed_slice())
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Positions of endpoints from `value` on, as their points come; those with several points come as often.
    pub fn from(&self, value: u64) -> impl Iterator<Item = usize> {
        let (before, behind) = self.0.split_at(self.0.partition_point(|(point, _)| *point < value));
        behind.iter().chain(before).map(|(_, position)| *position as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("http://10.0.0.{number}:8000")).collect()
    }

    fn ring(urls: &[String]) -> Ring {
        Ring::of(urls.iter().map(|url| (url.as_str(), 1)))
    }

    fn home(ring: &Ring, value: usize) -> usize {
        ring.from(hash64(value.to_string().as_bytes())).next().unwrap()
    }

    #[test]
    fn the_same_value_finds_the_same_endpoint_whatever_order_they_are_written_in() {
        let (one, mut other) = (urls(5), urls(5));
        other.reverse();
        let (a, b) = (ring(&one), ring(&other));
        assert!((0..1000).all(|value| one[home(&a, value)] == other[home(&b, value)]));
    }

    #[test]
    fn only_the_values_of_an_endpoint_that_goes_find_another() {
        let all = urls(5);
        let (before, after) = (ring(&all), ring(&all[..4]));
        let moved = (0..10_000).filter(|value| home(&before, *value) != home(&after, *value));
        let moved: Vec<_> = moved.collect();
        assert!(moved.iter().all(|value| home(&before, *value) == 4));
        assert!((1500..2500).contains(&moved.len()), "a fifth of 10,000: {}", moved.len());
    }

    #[test]
    fn shares_follow_weights() {
        let urls = urls(2);
        let ring = Ring::of(urls.iter().map(String::as_str).zip([1, 3]));
        let firsts = (0..10_000).filter(|value| home(&ring, *value) == 0).count();
        assert!((2000..3000).contains(&firsts), "a quarter of 10,000: {firsts}");
        assert_eq!(ring.from(u64::MAX).count(), 640, "all points, whatever it begins with");
    }

    #[test]
    fn a_ring_without_endpoints_has_nobody() {
        assert_eq!(ring(&[]).from(7).next(), None);
    }
}
