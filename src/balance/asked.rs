//! What a request brings to the pick of its endpoint: its work, and what it has in common with others.

use std::rc::Rc;

use crate::base::limits::{BODY_WORK_BYTES_MAX, EXCHANGE_WORK_BYTES};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its work, in bytes: what its endpoint is loaded with until it ends.
    pub work: u32,
    /// What leads it to some endpoint rather than another.
    pub affinity: &'a Affinity,
}

/// What a request has in common with others that should meet the same endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Affinity {
    /// Nothing, or nothing that was looked for.
    #[default]
    None,
    /// The hash of a value: XXH64 with seed 0.
    Value(u64),
    /// The beginning of its prompt: a hash for each block, over all before it too.
    Prompt(Rc<[u64]>),
}

impl Asked<'static> {
    /// A request with a body of so many bytes, as far as that is known, and nothing in common with any other.
    pub fn of_bytes(bytes: u64) -> Self {
        let bytes = bytes.min(u64::from(BODY_WORK_BYTES_MAX)) as u32;
        Self { work: EXCHANGE_WORK_BYTES + bytes, affinity: &Affinity::None }
    }
}
