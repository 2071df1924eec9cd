//! SHA-256: what is kept of a key that nobody but its owner may know (FIPS 180-4).

use std::hint::black_box;

use sha2::{Digest as _, Sha256};

use super::hex::{read_hex, write_hex};

/// SHA-256 of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// That of several parts, told apart from all others that would be the same one after the other.
    pub fn of_all(parts: &[&[u8]]) -> Self {
        let mut all = Sha256::new();
        for part in parts {
            all.update((part.len() as u64).to_be_bytes());
            all.update(part);
        }
        Self(all.finalize().into())
    }

    /// Reads 64 digits of lower-case hex.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        read_hex(text.as_bytes(), &mut digest).then_some(Self(digest))
    }

    /// The same as text.
    pub fn text(&self) -> String {
        let mut text = [0; 64];
        for (to, part) in text.chunks_exact_mut(16).zip(self.0.chunks_exact(8)) {
            write_hex(to, u64::from_be_bytes(part.try_into().expect("a chunk of eight")));
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first 64 bits: enough to find it among others, too little to know it.
    pub fn prefix(&self) -> u64 {
        let (prefix, _) = self.0.split_first_chunk().expect("a digest has 32 bytes");
        u64::from_be_bytes(*prefix)
    }

    /// Whether it is `other`. How long that takes tells nothing.
    pub fn is(&self, other: &Self) -> bool {
        let mut differences = 0;
        for (one, other) in self.0.iter().zip(&other.0) {
            differences |= black_box(one ^ other);
        }
        black_box(differences) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_standards() {
        // FIPS 180-4, example of one block.
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = Digest::of(b"abc");
        assert_eq!((digest.text().as_str(), Digest::parse(text)), (text, Some(digest)));
        assert!(digest.is(&digest) && !digest.is(&Digest::of(b"abd")));
        assert_eq!(digest.prefix(), 0xba78_16bf_8f01_cfea);
        assert_eq!((Digest::parse("ba78"), Digest::parse(&text.to_uppercase())), (None, None));
    }
}
