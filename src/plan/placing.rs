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
