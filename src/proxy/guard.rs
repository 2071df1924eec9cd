//! Something that is done when an exchange is over, however it ends.

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
