//! A model, as an endpoint tells of it.

use std::sync::Arc;

/// A model that an endpoint serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that requests ask for it by.
    pub id: Arc<str>,
    /// Other names that do as well.
    pub also: Box<[Arc<str>]>,
    /// When it was made, in seconds of Unix time; 0 where nobody knows.
    pub created: u64,
    /// Whose it is.
    pub owned_by: Arc<str>,
}

/// The models of one endpoint, as it wrote them; none of them twice.
pub type Models = Arc<[Model]>;
