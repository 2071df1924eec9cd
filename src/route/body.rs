//! Rules on the body: what a scan of it decides.

use super::reading::Unclear;
use crate::base::ids::RouteId;

/// The rows that the body decides between: from this one on, those that fit the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyRules {
    pub(super) first: usize,
}

/// What a body decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// This route.
    Route(RouteId),
    /// A route with body conditions is asked, and there is no body that they could be held against: no other route is left,
    /// or the body is compressed.
    NoBody,
    /// The body fits none, and its model was asked for.
    NoModel,
    /// The body fits none.
    NoRoute,
    /// The readings of the head lead here and there.
    Unclear(Unclear),
}

impl Decision {
    pub(super) fn route(self) -> Option<RouteId> {
        match self {
            Self::Route(route) => Some(route),
            Self::NoBody | Self::NoModel | Self::NoRoute | Self::Unclear(_) => None,
        }
    }
}
