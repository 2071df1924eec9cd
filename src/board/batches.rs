//! Requests that wait to travel together, over all lanes, and how many calls are under way meanwhile.
//!
//! Nobody waits for nothing: while there is a place for another call a request goes at once. Only while there is none do others
//! gather, by what they have in common; a place that gets free is for those who wait longest.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::base::digest::Digest;

/// Those of one cluster. `M` is what is kept of each.
#[derive(Debug)]
pub struct Batches<M>(Mutex<State<M>>);

#[derive(Debug)]
struct State<M> {
    calls: usize,
    /// Numbers of batches, in the order in which they began.
    begun: u64,
    open: HashMap<Digest, (u64, Batch<M>)>,
    oldest: BTreeMap<u64, Digest>,
}

/// Requests that travel together.
#[derive(Debug)]
pub struct Batch<M> {
    /// Each, and when it came.
    pub members: Vec<(M, Instant)>,
    items: usize,
    bytes: usize,
}

/// How large a batch may be.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Items of all members.
    pub items: usize,
    /// Bytes of their items.
    pub bytes: usize,
}

/// What became of a request that came.
#[derive(Debug)]
pub enum Entered<M> {
    /// There is a place: it goes at once, and has the place.
    Go,
    /// It waits.
    Waits {
        /// It is the first of a batch of this number, which has to be looked at after a while.
        first: Option<u64>,
        /// Those who have to go now, for there is no more room among them: of before, and with this one.
        full: Vec<Batch<M>>,
    },
}

impl<M> Default for Batches<M> {
    fn default() -> Self {
        let (open, oldest) = (HashMap::new(), BTreeMap::new());
        Self(Mutex::new(State { calls: 0, begun: 0, open, oldest }))
    }
}

impl<M> Batches<M> {
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // A panic under the lock leaves it as it was before or after one step, which is sound either way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if fewer than `places` are taken.
    pub fn try_go(&self, places: usize) -> bool {
        let mut state = self.lock();
        let is_free = state.calls < places;
        state.calls += usize::from(is_free);
        is_free
    }

    /// A request of so many `items` and `bytes` comes, which may travel with those of the same `key`.
    pub fn enter(
        &self,
        key: Digest,
        (places, most): (usize, Most),
        (items, bytes): (usize, usize),
        (member, now): (M, Instant),
    ) -> Entered<M> {
        let mut state = self.lock();
        if state.calls < places {
            state.calls += 1;
            return Entered::Go;
        }
        let fits = |batch: &Batch<M>| batch.items + items <= most.items && batch.bytes + bytes <= most.bytes;
        let mut full = Vec::new();
        if state.open.get(&key).is_some_and(|(_, batch)| !fits(batch)) {
            full.extend(state.take(&key));
        }
        let mut first = None;
        if !state.open.contains_key(&key) {
            state.begun += 1;
            let number = state.begun;
            state.oldest.insert(number, key);
            let batch = Batch { members: Vec::new(), items: 0, bytes: 0 };
            state.open.insert(key, (number, batch));
            first = Some(number);
        }
        if let Some((_, batch)) = state.open.get_mut(&key) {
            batch.members.push((member, now));
            batch.items += items;
            batch.bytes += bytes;
            if batch.items >= most.items || batch.bytes >= most.bytes {
                full.extend(state.take(&key));
                first = None;
            }
        }
        state.calls += full.len();
        Entered::Waits { first, full }
    }

    /// That batch has waited long enough: it goes, and has a place of its own, if it has not gone already.
    pub fn due(&self, key: &Digest, number: u64) -> Option<Batch<M>> {
        let mut state = self.lock();
        if state.open.get(key).is_none_or(|(known, _)| *known != number) {
            return None;
        }
        state.calls += 1;
        state.take(key)
    }

    /// A call ended: its place is for those who wait longest, if there are still `places` for as many.
    pub fn done(&self, places: usize) -> Option<Batch<M>> {
        let mut state = self.lock();
        state.calls -= 1;
        if state.calls >= places {
            return None;
        }
        let (_, key) = state.oldest.first_key_value()?;
        let key = *key;
        state.calls += 1;
        state.take(&key)
    }

    /// One more call goes, whether there is a place or not.
    pub fn go(&self) {
        self.lock().calls += 1;
    }
}

impl<M> State<M> {
    fn take(&mut self, key: &Digest) -> Option<Batch<M>> {
        let (number, batch) = self.open.remove(key)?;
        self.oldest.remove(&number);
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Most = Most { items: 4, bytes: 100 };

    fn key(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn members(batch: impl IntoIterator<Item = Batch<u8>>) -> Vec<u8> {
        batch.into_iter().flat_map(|batch| batch.members).map(|(member, _)| member).collect()
    }

    fn enter(batches: &Batches<u8>, name: &str, member: u8, items: usize) -> (bool, Option<u64>, Vec<u8>) {
        let now = Instant::now();
        match batches.enter(key(name), (1, MOST), (items, items), (member, now)) {
            Entered::Go => (true, None, Vec::new()),
            Entered::Waits { first, full } => (false, first, members(full)),
        }
    }

    #[test]
    fn nobody_waits_while_there_is_a_place_and_who_waits_longest_has_the_next() {
        let batches = Batches::default();
        assert!(enter(&batches, "a", 0, 1).0, "an idle endpoint gets it at once");
        assert!(!batches.try_go(1));
        assert_eq!(enter(&batches, "b", 1, 1), (false, Some(1), vec![]));
        assert_eq!(enter(&batches, "a", 2, 1), (false, Some(2), vec![]));
        assert_eq!(enter(&batches, "b", 3, 1), (false, None, vec![]));
        assert_eq!(members(batches.done(1)), [1, 3]);
        assert_eq!(members(batches.done(1)), [2]);
        assert_eq!(members(batches.done(1)), [0; 0]);
        assert!(batches.try_go(1), "the place is free again");
    }

    #[test]
    fn who_has_no_room_among_them_sends_them_off_and_waits_for_the_next() {
        let batches = Batches::default();
        assert!(batches.try_go(1));
        assert_eq!(enter(&batches, "a", 1, 3), (false, Some(1), vec![]));
        assert_eq!(enter(&batches, "a", 2, 2), (false, Some(2), vec![1]));
        assert_eq!(enter(&batches, "a", 3, 2), (false, None, vec![2, 3]), "they are full");
        // Three calls are under way now: none of them leaves a place until there are fewer.
        assert_eq!(enter(&batches, "a", 4, 1), (false, Some(3), vec![]));
        assert_eq!(
            enter(&batches, "a", 5, 4),
            (false, None, vec![4, 5]),
            "one that fills a batch alone waits for nobody"
        );
        assert_eq!(members(batches.done(1)), [0; 0]);
        assert_eq!(members(batches.done(1)), [0; 0]);
        assert_eq!(enter(&batches, "a", 4, 1), (false, Some(5), vec![]));
        assert_eq!(members(batches.done(1)), [0; 0]);
        assert_eq!(members(batches.done(1)), [0; 0]);
        assert_eq!(members(batches.done(1)), [4]);
    }

    #[test]
    fn a_batch_goes_when_it_has_waited_long_enough_and_only_once() {
        let batches = Batches::default();
        batches.go();
        let (_, number, _) = enter(&batches, "a", 1, 1);
        assert_eq!(members(batches.due(&key("a"), number.unwrap() + 1)), [0; 0]);
        assert_eq!(members(batches.due(&key("a"), number.unwrap())), [1]);
        assert_eq!(members(batches.due(&key("a"), number.unwrap())), [0; 0]);
    }
}
