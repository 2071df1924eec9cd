//! A prefix cache: chained hashes of prompt blocks, least recently used ones forgotten.

use std::collections::{BTreeMap, HashMap};

use super::words::hash;

/// Bytes of one block: sixteen tokens of four bytes.
const BLOCK_BYTES: usize = 64;

/// Blocks that were seen, each with when it was last used.
pub(super) struct PrefixCache {
    max: usize,
    clock: u64,
    blocks: HashMap<u64, u64>,
    /// The same by when they were used.
    by_age: BTreeMap<u64, u64>,
}

impl PrefixCache {
    pub(super) fn new(max: usize) -> Self {
        Self { max, clock: 0, blocks: HashMap::new(), by_age: BTreeMap::new() }
    }

    /// How many bytes of the prompt's start are cached; all of its blocks are afterwards.
    pub(super) fn look_up(&mut self, prompt: &[u8]) -> usize {
        if self.max == 0 {
            return 0;
        }
        let (mut chain, mut hit, mut hitting) = (0, 0, true);
        for block in prompt.chunks_exact(BLOCK_BYTES) {
            chain = hash(block, chain);
            self.clock += 1;
            let before = self.blocks.insert(chain, self.clock);
            before.map(|before| self.by_age.remove(&before));
            self.by_age.insert(self.clock, chain);
            hitting &= before.is_some();
            hit += if hitting { BLOCK_BYTES } else { 0 };
        }
        while self.blocks.len() > self.max {
            let oldest = self.by_age.pop_first();
            oldest.map(|(_, block)| self.blocks.remove(&block));
        }
        hit
    }

    /// Share of the cache in use, 0 to 1.
    pub(super) fn usage(&self) -> f64 {
        if self.max == 0 { 0.0 } else { self.blocks.len() as f64 / self.max as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_starts_hit_and_old_blocks_are_forgotten() {
        let mut cache = PrefixCache::new(4);
        let long = vec![b'a'; 200];
        assert_eq!(cache.look_up(&long), 0);
        assert_eq!(cache.look_up(&long), 192);
        let mut other = long.clone();
        other[100] = b'b';
        assert_eq!(cache.look_up(&other), 64);
        for text in [b'c', b'd', b'e', b'f'] {
            cache.look_up(&[text; 64]);
        }
        assert_eq!(cache.look_up(&long), 0);
        assert!(cache.usage() <= 1.0);
    }
}
