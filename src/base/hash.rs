//! XXH64: the hash by which all gateways and all restarts agree on a place; fast, and never a secret's.

use std::hash::Hasher;

use twox_hash::XxHash64;

/// XXH64 of `bytes`, seed 0 (xxHash specification 0.1.1).
pub fn hash64(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// The same of bytes that come in pieces.
#[derive(Debug, Clone)]
pub struct Hash64(XxHash64);

impl Hash64 {
    /// Of nothing yet, behind what `seed` stands for.
    pub fn new(seed: u64) -> Self {
        Self(XxHash64::with_seed(seed))
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The hash of all of them.
    pub fn value(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_published_function_however_its_input_is_cut() {
        assert_eq!(hash64(b""), 0xEF46_DB37_51D8_E999, "the value that the specification gives");
        let input: Vec<u8> = (0..=255).cycle().take(3000).collect();
        for cut in [1, 7, 31, 32, 33, 1024] {
            let mut hash = Hash64::new(0);
            input.chunks(cut).for_each(|piece| hash.update(piece));
            assert_eq!(hash.value(), hash64(&input), "{cut}");
        }
    }
}
