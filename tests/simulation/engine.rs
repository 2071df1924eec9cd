//! A model of an inference engine: prompts are computed one after the other, but for the beginning that its cache still has;
//! tokens are written side by side.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Bytes of a block of the cache: 128 tokens of four bytes.
pub const BLOCK_BYTES: usize = 512;
/// Prompt bytes that an engine computes in a second: 10,000 tokens of four bytes.
const PREFILL_BYTES_PER_S: f64 = 40_000.0;
/// Between two tokens.
const TOKEN_TIME: Duration = Duration::from_millis(20);
/// Bytes of a token.
pub const TOKEN_BYTES: usize = 4;

/// One engine.
#[derive(Default)]
pub struct Engine {
    cache: Cache,
    /// When the prompts that came so far are computed, since the beginning.
    busy_until: Duration,
}

/// What came of a request.
pub struct Served {
    /// When its first token comes, and its last.
    pub first: Duration,
    pub last: Duration,
    /// Bytes of its prompt that were in the cache.
    pub cached: usize,
}

impl Engine {
    /// With room for so many blocks.
    pub fn new(blocks: usize) -> Self {
        Self { cache: Cache { max: blocks, ..Cache::default() }, ..Self::default() }
    }

    /// Takes a prompt at `now`, as the names of its blocks, and writes so many tokens.
    pub fn serve(&mut self, now: Duration, prompt: &[u64], tokens: usize) -> Served {
        let hits = self.cache.look_up(prompt);
        let missing = (prompt.len() - hits) * BLOCK_BYTES;
        let begun = self.busy_until.max(now);
        let first = begun + Duration::from_secs_f64(missing as f64 / PREFILL_BYTES_PER_S) + TOKEN_TIME;
        self.busy_until = first;
        let last = first + TOKEN_TIME * u32::try_from(tokens.saturating_sub(1)).unwrap();
        Served { first, last, cached: hits * BLOCK_BYTES }
    }

    /// Starts anew: with an empty cache.
    pub fn restart(&mut self, now: Duration) {
        *self = Self { busy_until: now, ..Self::new(self.cache.max) };
    }
}

/// Blocks by when they were used last; the oldest goes first.
#[derive(Default)]
struct Cache {
    max: usize,
    clock: u64,
    used: HashMap<u64, u64>,
    by_age: BTreeMap<u64, u64>,
}

impl Cache {
    /// How many blocks of the beginning are there; all are afterwards.
    fn look_up(&mut self, prompt: &[u64]) -> usize {
        let hits = prompt.iter().take_while(|block| self.used.contains_key(block)).count();
        // The end is used before the beginning, and so forgotten before it.
        for block in prompt.iter().rev() {
            self.clock += 1;
            if let Some(before) = self.used.insert(*block, self.clock) {
                self.by_age.remove(&before);
            }
            self.by_age.insert(self.clock, *block);
        }
        while self.used.len() > self.max {
            let (_, oldest) = self.by_age.pop_first().unwrap();
            self.used.remove(&oldest);
        }
        hits
    }
}
