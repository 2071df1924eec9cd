//! What the filters of one request found of it, of which some ask what others found.

use crate::base::ids::FilterId;

/// What is known of a request by its filters.
#[derive(Debug, Default)]
pub struct Findings {
    /// Whose it is, by the filter that knows.
    pub(super) holder: Option<HolderRef>,
}

/// Where a holder is found.
#[derive(Debug, Clone, Copy)]
pub(super) enum HolderRef {
    /// Among the keys of this filter.
    Key(FilterId, u32),
}

impl Findings {
    /// Whether a credential was looked at: it was meant for us, and stays here.
    pub fn has_holder(&self) -> bool {
        self.holder.is_some()
    }
}
