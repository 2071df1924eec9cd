//! Rows of the table, changed by chance: whatever comes of it, no panic, and each invariant holds.
//!
//! `CORELANE_TEST_SEED` chooses the chances, `CORELANE_TEST_MUTATIONS` how many mutants are tried. A failure prints
//! its seed and its input, which then becomes a row of the table.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use corelane::base::rng::Rng;

use crate::invariants as hold;
use crate::table::rows;
use crate::trace::{Sender, shown, trace};

/// Pieces that readers have been fooled by.
const TOKENS: [&[u8]; 30] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b":",
    b",",
    b";",
    b"\"",
    b"0",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"Content-Length: 3\r\n",
    b"content-length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding:\tchunked\r\n",
    b"host: b\r\n",
    b"connection: close, host\r\n",
    b"expect: 100-continue\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 ",
    b"http://b",
];

#[test]
fn mutants_break_no_invariant() {
    let from = |name: &str, or: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or);
    let (seed, count) = (from("CORELANE_TEST_SEED", 1), from("CORELANE_TEST_MUTATIONS", 12_000));
    // Long rows try limits; their mutants would only be slow.
    let rows: Vec<_> = rows().into_iter().filter(|row| row.bytes.len() <= 2000).collect();
    let seeds: Vec<_> = rows.iter().map(|row| row.bytes.clone()).collect();
    for number in 0..count {
        let seed = seed.wrapping_add(number);
        let (row, bytes) = mutant(&seeds, &mut Rng::new(seed));
        let sender = rows[row].sender;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(sender, &bytes, seed))) {
            eprintln!(
                "CORELANE_TEST_SEED={seed} CORELANE_TEST_MUTATIONS=1, {sender:?}:\n\"{}\"",
                shown(&bytes)
            );
            resume_unwind(panic);
        }
    }
}

fn check(sender: Sender, bytes: &[u8], seed: u64) {
    let whole = hold::all(sender, bytes);
    let mut rng = Rng::new(!seed);
    let at = rng.below(bytes.len() as u64 + 1) as usize;
    hold::split_blind(sender, &whole, &[&bytes[..at], &bytes[at..]]);
    let pieces: Vec<_> = bytes.chunks(1 + rng.below(9) as usize).collect();
    hold::split_blind(sender, &whole, &pieces);
    hold::bounded(&trace(sender, &pieces));
    hold::conserving(&trace(sender, &pieces));
}

/// One of `seeds`, changed in a few places; which one, and what became of it.
pub fn mutant(seeds: &[Vec<u8>], rng: &mut Rng) -> (usize, Vec<u8>) {
    let position = rng.below(seeds.len() as u64) as usize;
    let mut bytes = seeds[position].clone();
    for _ in 0..1 + rng.below(4) {
        mutate(&mut bytes, seeds, rng);
    }
    (position, bytes)
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let mut below = |bound: usize| rng.below(bound as u64 + 1) as usize;
    let at = below(bytes.len());
    let end = at + below((bytes.len() - at).min(20));
    match below(5) {
        0 if at < bytes.len() => bytes[at] ^= 1 << below(7),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let twice = bytes[at..end].to_vec();
            bytes.splice(at..at, twice);
        }
        3 => {
            let other = &seeds[below(seeds.len() - 1)];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[below(other.len())..]);
        }
        _ => {
            let token = TOKENS[below(TOKENS.len() - 1)];
            bytes.splice(at..at, token.iter().copied());
        }
    }
}
