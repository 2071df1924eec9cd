//! Whether an endpoint is admitted: what the operator says of it, seen by all lanes at once.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Padded;

/// The verdict on one endpoint. It outlives plans: an endpoint that stays keeps its verdict through reloads.
#[derive(Debug, Default)]
pub struct Verdict {
    drained: Padded<AtomicBool>,
}

impl Verdict {
    /// Whether new exchanges may go there.
    pub fn is_admitted(&self) -> bool {
        !self.drained.0.load(Ordering::Relaxed)
    }

    /// The operator takes the endpoint out for new exchanges, or back in.
    pub fn drain(&self, out: bool) {
        self.drained.0.store(out, Ordering::Relaxed);
    }
}
