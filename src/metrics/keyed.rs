//! What is counted of those who show a key, by key and model: names that the configuration has, and `other` for all else.

use std::collections::BTreeMap;

use super::sums::add_each;
use crate::base::ids::FilterId;
use crate::base::limits::KEY_SERIES_MAX;
use crate::base::summary::{Summary, TOKEN_KINDS};

/// Who asked for what: the key, as the filter that knows it and its place there, and the model's place among those that the
/// plan names. None for what has no such name.
pub type KeyAt = (Option<(FilterId, u32)>, Option<u32>);

/// The name of what the configuration does not name.
pub const OTHER: &str = "other";

/// Series of one key and one model.
pub const KEYED_SERIES: usize = 6 + TOKEN_KINDS.len();

/// What is counted of one key and one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Answers by class of status, as of routes.
    pub statuses: [u64; 6],
    /// Tokens that answers told of, by kind.
    pub usage: [u64; TOKEN_KINDS.len()],
}

impl KeyCounts {
    /// Counts a finished exchange.
    pub fn record(&mut self, summary: &Summary) {
        self.statuses[summary.class()] += 1;
        self.use_up(summary.usage);
    }

    /// Counts tokens.
    pub fn use_up(&mut self, usage: [u64; TOKEN_KINDS.len()]) {
        add_each(&mut self.usage, usage);
    }

    fn add(&mut self, other: &Self) {
        add_each(&mut self.statuses, other.statuses);
        self.use_up(other.usage);
    }
}

/// The same of all lanes since the start, by the names of key and model.
#[derive(Debug, Default)]
pub struct Keyed(BTreeMap<(String, String), KeyCounts>);

impl Keyed {
    /// Adds what a lane counted. Keys come and go with their files while the process lives, so that their number is bounded
    /// here too: beyond that all are `other`.
    pub fn add(&mut self, key: &str, model: &str, counts: &KeyCounts) {
        let at = (key.to_owned(), model.to_owned());
        let fits = self.0.len() < KEY_SERIES_MAX || self.0.contains_key(&at);
        let at = if fits { at } else { (OTHER.to_owned(), OTHER.to_owned()) };
        self.0.entry(at).or_default().add(counts);
    }

    /// All of them: key, model, counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &KeyCounts)> + Clone {
        self.0.iter().map(|((key, model), counts)| (key.as_str(), model.as_str(), counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_names_is_bounded_and_nothing_is_lost() {
        let mut keyed = Keyed::default();
        let counts = KeyCounts { usage: [1, 2, 3], ..KeyCounts::default() };
        for key in 0..KEY_SERIES_MAX + 50 {
            keyed.add(&key.to_string(), "m", &counts);
        }
        keyed.add("0", "m", &counts);
        assert_eq!(keyed.iter().count(), KEY_SERIES_MAX + 1);
        let used: u64 = keyed.iter().map(|(_, _, counts)| counts.usage[2]).sum();
        assert_eq!(used, 3 * (KEY_SERIES_MAX as u64 + 51));
        assert!(
            keyed.iter().any(|(key, model, counts)| key == OTHER && model == OTHER && counts.usage[0] == 50)
        );
    }
}
