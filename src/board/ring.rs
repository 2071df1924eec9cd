//! The last so many entries of one writer, each of the same few words, read by others while it writes.
//!
//! Who writes: one lane. Who reads: the control thread, whenever somebody asks. The writer never waits and never looks
//! whether anybody reads: each entry has a count that is odd while it is written, and a reader passes over an entry
//! whose count was odd or changed. What may be lost: the entries that are overwritten while they are read.
//!
//! Memory comes in blocks as entries are written for the first time, so that a lane that rests keeps none.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::Padded;
use crate::base::limits::RING_BLOCK_ENTRIES;

/// A ring of entries of `W` words.
#[derive(Debug)]
pub struct Ring<const W: usize> {
    blocks: Box<[OnceLock<Box<[Entry<W>]>>]>,
    /// How many it keeps.
    len: u64,
    /// How many were written.
    written: Padded<AtomicU64>,
}

#[derive(Debug)]
struct Entry<const W: usize> {
    /// Twice the place of what is in it, and one more while that is written; zero while it is empty.
    count: AtomicU64,
    words: [AtomicU64; W],
}

impl<const W: usize> Entry<W> {
    fn empty() -> Self {
        Self { count: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; W] }
    }
}

impl<const W: usize> Ring<W> {
    /// Room for so many entries.
    pub fn new(len: usize) -> Self {
        let blocks = (0..len.div_ceil(RING_BLOCK_ENTRIES)).map(|_| OnceLock::new()).collect();
        Self { blocks, len: len as u64, written: Padded::default() }
    }

    /// How many entries it keeps.
    pub fn size(&self) -> usize {
        self.len as usize
    }

    /// Writes one entry over the oldest one. One thread calls this.
    #[inline]
    pub fn write(&self, words: &[u64; W]) {
        if self.len == 0 {
            return;
        }
        let place = self.written.0.load(Ordering::Relaxed);
        let at = (place % self.len) as usize;
        let block = self.blocks[at / RING_BLOCK_ENTRIES]
            .get_or_init(|| (0..RING_BLOCK_ENTRIES).map(|_| Entry::empty()).collect());
        let entry = &block[at % RING_BLOCK_ENTRIES];
        entry.count.store(2 * place + 1, Ordering::Relaxed);
        // Nobody sees a new word and the old count.
        fence(Ordering::Release);
        for (word, value) in entry.words.iter().zip(words) {
            word.store(*value, Ordering::Relaxed);
        }
        entry.count.store(2 * (place + 1), Ordering::Release);
        self.written.0.store(place + 1, Ordering::Release);
    }

    /// The entries from the newest to the oldest, without those that are overwritten meanwhile.
    pub fn newest_first(&self) -> impl Iterator<Item = [u64; W]> {
        let written = self.written.0.load(Ordering::Acquire);
        (written.saturating_sub(self.len)..written).rev().filter_map(|place| self.read(place))
    }

    fn read(&self, place: u64) -> Option<[u64; W]> {
        let at = (place % self.len) as usize;
        let entry = &self.blocks[at / RING_BLOCK_ENTRIES].get()?[at % RING_BLOCK_ENTRIES];
        let is_there = |order| entry.count.load(order) == 2 * (place + 1);
        if !is_there(Ordering::Acquire) {
            return None;
        }
        let words = std::array::from_fn(|word| entry.words[word].load(Ordering::Relaxed));
        // Whoever saw a word of a later entry sees its count too.
        fence(Ordering::Acquire);
        is_there(Ordering::Relaxed).then_some(words)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn the_last_ones_are_told_newest_first() {
        let ring = Ring::<2>::new(3);
        assert_eq!(ring.newest_first().count(), 0);
        for at in 1..=5 {
            ring.write(&[at, at * 10]);
            let told: Vec<_> = ring.newest_first().collect();
            let expected: Vec<_> = (at.saturating_sub(2).max(1)..=at).rev().map(|at| [at, at * 10]).collect();
            assert_eq!(told, expected);
        }
        let none = Ring::<2>::new(0);
        none.write(&[1, 2]);
        assert_eq!(none.newest_first().count(), 0);
    }

    #[test]
    fn no_reader_ever_sees_half_of_an_entry() {
        let ring = Arc::new(Ring::<8>::new(4));
        let over = Arc::new(AtomicBool::new(false));
        let reading = {
            let (ring, over) = (Arc::clone(&ring), Arc::clone(&over));
            std::thread::spawn(move || {
                let mut seen = 0;
                while !over.load(Ordering::Relaxed) {
                    for words in ring.newest_first() {
                        assert!(words.iter().all(|word| *word == words[0]), "{words:?}");
                        seen += 1;
                    }
                }
                seen
            })
        };
        for value in 1..=200_000 {
            ring.write(&[value; 8]);
        }
        over.store(true, Ordering::Relaxed);
        reading.join().unwrap();
        assert_eq!(ring.newest_first().count(), 4);
    }

    #[test]
    fn memory_comes_as_it_is_used() {
        let ring = Ring::<2>::new(2 * RING_BLOCK_ENTRIES);
        ring.write(&[1, 1]);
        assert_eq!(ring.blocks.iter().filter(|block| block.get().is_some()).count(), 1);
    }
}
