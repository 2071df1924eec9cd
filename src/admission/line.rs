//! Who waits for a place, in classes, and whose turn is next: pure, and the same for the queue and for simulations.

use std::collections::{BTreeMap, HashMap};

/// Every so many turns the longest waiter of all has one, whatever its class: nobody waits for ever.
const LONGEST_EACH: u64 = 8;

/// Those who wait.
///
/// Classes are served in their order. Inside a class keys take turns, however many requests one of them has; those of a key
/// come in the order in which they arrived.
#[derive(Debug)]
pub struct Line<T> {
    classes: Vec<Class<T>>,
    /// Everybody, in the order of arrival.
    all: BTreeMap<Number, (usize, Key)>,
    arrivals: Number,
    turns: u64,
}

/// A place in the line, counted from its beginning.
pub type Number = u64;
/// Whose request it is: a hash.
pub type Key = u64;

#[derive(Debug)]
struct Class<T> {
    keys: HashMap<Key, Own<T>>,
    /// Keys by their turns.
    order: BTreeMap<u64, Key>,
    last: u64,
    count: usize,
}

/// Requests of one key.
#[derive(Debug)]
struct Own<T> {
    turn: u64,
    waiting: BTreeMap<Number, T>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { classes: Vec::new(), all: BTreeMap::new(), arrivals: 0, turns: 0 }
    }
}

impl<T> Default for Class<T> {
    fn default() -> Self {
        Self { keys: HashMap::new(), order: BTreeMap::new(), last: 0, count: 0 }
    }
}

impl<T> Line<T> {
    /// How many wait.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// How many wait in `class`.
    pub fn count_of(&self, class: usize) -> usize {
        self.classes.get(class).map_or(0, |class| class.count)
    }

    /// How many are served before one more of this key is, if nobody else comes.
    pub fn before(&self, class: usize, key: Key) -> usize {
        let sooner: usize = self.classes.iter().take(class).map(|class| class.count).sum();
        let Some(class) = self.classes.get(class) else { return sooner };
        let own = class.keys.get(&key).map_or(0, |own| own.waiting.len());
        // Each other key has as many turns before it as it has requests of its own, and one.
        let others = class.keys.iter().filter(|(other, _)| **other != key);
        sooner + own + others.map(|(_, theirs)| theirs.waiting.len().min(own + 1)).sum::<usize>()
    }

    /// Enters at the end; the number it waits under.
    pub fn enter(&mut self, class: usize, key: Key, waiter: T) -> Number {
        self.arrivals += 1;
        self.put(self.arrivals, (class, key), waiter);
        self.arrivals
    }

    /// Returns to the place that it had under `number`, for its turn came to nothing: it is the next of its key.
    pub fn back(&mut self, number: Number, class: usize, key: Key, waiter: T) {
        self.put(number, (class, key), waiter);
    }

    fn put(&mut self, number: Number, (place, key): (usize, Key), waiter: T) {
        if self.classes.len() <= place {
            self.classes.resize_with(place + 1, Class::default);
        }
        let Class { keys, order, last, count } = &mut self.classes[place];
        let own = keys.entry(key).or_insert_with(|| {
            *last += 1;
            order.insert(*last, key);
            Own { turn: *last, waiting: BTreeMap::new() }
        });
        own.waiting.insert(number, waiter);
        *count += 1;
        self.all.insert(number, (place, key));
    }

    /// Whose turn is next.
    pub fn turn(&mut self) -> Option<T> {
        let longest = self.all.first_key_value().map(|(number, _)| *number)?;
        self.turns += 1;
        if self.turns.is_multiple_of(LONGEST_EACH) {
            return self.leave(longest);
        }
        let class = self.classes.iter_mut().find(|class| class.count > 0)?;
        let (_, key) = class.order.pop_first()?;
        let own = class.keys.get_mut(&key)?;
        // Its next turn is behind those of all others.
        class.last += 1;
        own.turn = class.last;
        class.order.insert(class.last, key);
        let number = *own.waiting.first_key_value()?.0;
        self.leave(number)
    }

    /// The next one in the order of arrival behind `number`, whatever its class.
    pub fn behind(&mut self, number: Number) -> Option<T> {
        let next = *self.all.range(number + 1..).next()?.0;
        self.leave(next)
    }

    /// Whoever waits under `number` leaves.
    pub fn leave(&mut self, number: Number) -> Option<T> {
        let (place, key) = self.all.remove(&number)?;
        let class = &mut self.classes[place];
        let own = class.keys.get_mut(&key)?;
        let waiter = own.waiting.remove(&number)?;
        class.count -= 1;
        if own.waiting.is_empty() {
            class.order.remove(&own.turn);
            class.keys.remove(&key);
        }
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn served(line: &mut Line<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| line.turn()).collect()
    }

    #[test]
    fn classes_are_served_in_their_order_and_keys_take_turns() {
        let mut line = Line::default();
        for (class, key, name) in [
            (1, 1, "a1"),
            (1, 1, "a2"),
            (1, 1, "a3"),
            (1, 2, "b1"),
            (0, 1, "first"),
            (1, 3, "c1"),
            (1, 2, "b2"),
        ] {
            line.enter(class, key, name);
        }
        assert_eq!(served(&mut line), ["first", "a1", "b1", "c1", "a2", "b2", "a3"]);
        assert_eq!((line.count(), line.turn()), (0, None));
    }

    #[test]
    fn each_eighth_turn_is_that_of_the_longest_waiter() {
        let mut line = Line::default();
        line.enter(1, 1, "bulk");
        (0..20).for_each(|_| _ = line.enter(0, 1, "interactive"));
        let order = served(&mut line);
        assert_eq!(order.iter().position(|name| *name == "bulk"), Some(7));
    }

    #[test]
    fn who_leaves_is_passed_over_and_who_returns_keeps_its_place() {
        let mut line = Line::default();
        let numbers: Vec<_> = ["a", "b", "c"].into_iter().map(|name| line.enter(0, 1, name)).collect();
        assert_eq!(line.leave(numbers[1]), Some("b"));
        assert_eq!(line.leave(numbers[1]), None);
        assert_eq!(line.turn(), Some("a"));
        line.back(numbers[0], 0, 1, "a");
        assert_eq!(served(&mut line), ["a", "c"]);
        assert!(line.classes.iter().all(|class| class.keys.is_empty() && class.order.is_empty()));
    }

    #[test]
    fn what_is_said_of_a_place_is_what_comes_where_nobody_else_does() {
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let mut line = Line::default();
            for _ in 0..rng.below(7) {
                line.enter(rng.below(3) as usize, rng.below(3), "other");
            }
            let (class, key) = (rng.below(3) as usize, rng.below(3));
            let before = line.before(class, key);
            line.enter(class, key, "own");
            let order = served(&mut line);
            let at = order.iter().position(|name| *name == "own").unwrap();
            assert!(at.abs_diff(before) <= 1, "seed {seed}: {before} before it, served as {at}");
        }
    }
}
