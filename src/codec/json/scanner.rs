//! Wanted members of a document, found as it arrives.

use std::sync::Arc;

use super::fault::JsonFault;
use super::seeker::Seeker;
use super::walker::Walker;
use super::wanted::{Member, Wanted};

/// Looks through one document for wanted members.
#[derive(Debug)]
pub struct Scanner(Walker<Seeker>);

impl Scanner {
    /// At the start of a document.
    pub fn new(wanted: Arc<Wanted>) -> Self {
        Self(Walker::new(Seeker::new(wanted)))
    }

    /// What is known of wanted members so far, by their positions.
    pub fn members(&self) -> &[Member] {
        self.0.listener().members()
    }

    /// Looks at the next bytes. A fault is final.
    pub fn feed(&mut self, input: &[u8]) -> Result<(), JsonFault> {
        self.0.feed(input)
    }

    /// The document ended.
    #[cfg(feature = "testing")]
    pub fn finish(&mut self) -> Result<(), JsonFault> {
        self.0.finish()
    }
}
