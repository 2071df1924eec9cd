//! Something that is done when an exchange is over, however it ends.

use std::fmt;

/// Does it when dropped.
pub(super) struct Guard(Option<Box<dyn FnOnce()>>);

impl Guard {
    pub(super) fn new(at_end: impl FnOnce() + 'static) -> Self {
        Self(Some(Box::new(at_end)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(at_end) = self.0.take() {
            at_end();
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}
