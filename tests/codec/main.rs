//! The codec from outside: the case table and its readers, comparison with httparse, round trips, seeded mutation,
//! corpora of what is fuzzed.
#![allow(clippy::print_stderr, reason = "a test tells its row where it fails")]

#[path = "../support/cases.rs"]
#[allow(dead_code, reason = "the whole process reads columns that these readers do not")]
mod cases;
mod corpora;
#[path = "../support/fuzzed.rs"]
mod fuzzed;
mod invariants;
mod mutation;
mod sse;
mod table;
mod trace;
