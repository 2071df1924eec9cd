//! What the connections of one simulated server share.

use std::cell::RefCell;
use std::rc::Rc;

use super::options::SimOptions;
use super::prefix::PrefixCache;
use super::slots::Slots;

/// What the connections of one simulated server share.
pub(super) struct State {
    pub(super) options: SimOptions,
    pub(super) slots: Rc<Slots>,
    pub(super) prefixes: RefCell<PrefixCache>,
    pub(super) counts: RefCell<Counts>,
}

impl State {
    pub(super) fn new(options: SimOptions) -> Self {
        Self {
            slots: Slots::new(options.slots),
            prefixes: RefCell::new(PrefixCache::new(options.kv_blocks)),
            counts: RefCell::default(),
            options,
        }
    }

    /// Whether a model of this name is served.
    pub(super) fn serves(&self, model: &str) -> bool {
        self.options.models.iter().any(|known| known == model)
    }
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) started: u64,
    pub(super) finished: u64,
    pub(super) cancelled: u64,
    pub(super) connections: u64,
    pub(super) requests: u64,
    pub(super) prompt_tokens: u64,
    pub(super) generation_tokens: u64,
    pub(super) running: u64,
}
