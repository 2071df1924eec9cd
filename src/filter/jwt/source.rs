//! Where the keys of an issuer come from: a file, or an address that is asked from time to time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::key_set::KeySet;

/// The keys in force, and whether others are wanted. Lanes read; whoever fetches writes.
#[derive(Debug, Default)]
pub struct KeySource {
    /// Where they are fetched; none where a file holds them.
    pub address: Option<String>,
    current: RwLock<Option<Arc<KeySet>>>,
    wanted: AtomicBool,
}

impl KeySource {
    /// Keys that a file holds.
    pub fn of_file(keys: KeySet) -> Self {
        Self { current: RwLock::new(Some(Arc::new(keys))), ..Self::default() }
    }

    /// Keys that are fetched there.
    pub fn at(address: String) -> Self {
        Self { address: Some(address), ..Self::default() }
    }

    /// The keys in force; none until some were fetched.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// These keys are in force from now on.
    pub fn put(&self, keys: KeySet) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
    }

    /// Somebody named a key that is not among them.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Whether somebody did, since this was asked last.
    pub fn is_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::Relaxed)
    }
}
