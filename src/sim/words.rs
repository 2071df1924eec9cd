//! Invented text and vectors, the same for the same prompt and seed.

use crate::base::rng::Rng;

const WORDS: [&str; 24] = [
    "light", "river", "stone", "quiet", "seven", "garden", "north", "paper", "signal", "winter", "amber",
    "cloud", "engine", "harbor", "island", "lantern", "meadow", "orbit", "pebble", "quartz", "ribbon",
    "silver", "timber", "valley",
];

/// FNV-1a, started from `seed`.
pub(super) fn hash(bytes: &[u8], seed: u64) -> u64 {
    bytes
        .iter()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |sum, b| (sum ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// The tokens of an answer: words, each but the first with a space before it.
pub(super) fn tokens(prompt: &[u8], seed: u64, count: u32) -> Vec<String> {
    let mut rng = Rng::new(hash(prompt, seed));
    let mut word = || WORDS[rng.below(WORDS.len() as u64) as usize];
    (0..count).map(|at| if at == 0 { word().to_owned() } else { format!(" {}", word()) }).collect()
}

/// A unit vector.
pub(super) fn vector(item: &[u8], seed: u64, dimensions: usize) -> Vec<f32> {
    let mut rng = Rng::new(hash(item, seed));
    let raw: Vec<f32> = (0..dimensions).map(|_| rng.unit() as f32 - 0.5).collect();
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.into_iter().map(|x| x / length).collect()
}

/// Tokens that a text of this many bytes counts as.
pub(super) fn token_count(bytes: usize) -> usize {
    bytes.div_ceil(4)
}
