//! What is fuzzed, as the tests of the codec know it.

#[path = "../support/fuzzed.rs"]
pub mod fuzzed;
#[path = "../codec/invariants.rs"]
mod invariants;
#[path = "../codec/trace.rs"]
mod trace;
