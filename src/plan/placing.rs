//! What is looked for in a request before its endpoint is picked.

use std::sync::Arc;

use crate::codec::json::Wanted;

/// What is looked for in a request before its endpoint is picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placing {
    /// Nothing.
    Nothing,
    /// The value of this field, whose name is in lower case.
    Header(String),
    /// The only one of these members of its body.
    Body(Arc<Wanted>),
    /// The beginning of its prompt.
    Prompt,
}

impl Placing {
    /// Whether a body may have to be looked into.
    pub fn reads_bodies(&self) -> bool {
        match self {
            Self::Nothing | Self::Header(_) => false,
            Self::Body(_) | Self::Prompt => true,
        }
    }
}
