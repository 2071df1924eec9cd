//! Whom a credential belongs to, and what they may do.

use std::sync::Arc;
use std::time::SystemTime;

use crate::base::glob::{Case, Glob};
use crate::base::ids::RouteId;
use crate::board::buckets::{Rate, Single};
use crate::board::in_flight::InFlight;
use crate::codec::reply::ErrorReply;

/// The holder of a credential.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Whose requests they are, in the log.
    pub name: Box<str>,
    /// Routes that they may use; all where nothing is said.
    pub routes: Option<Vec<RouteId>>,
    /// Models that they may use; all where nothing is said.
    pub models: Option<Vec<Glob>>,
    /// The class of their requests.
    pub class: Option<Box<str>>,
    /// From when on they are refused.
    pub expires: Option<SystemTime>,
    /// How many requests they may make in a minute, with how many they have left.
    pub requests: Option<(Rate, Arc<Single>)>,
    /// How many tokens they may take in a minute, with how many they have left.
    pub tokens: Option<(Rate, Arc<Single>)>,
    /// How many may be under way at once, with those that are.
    pub in_flight: Option<(u64, Arc<InFlight>)>,
}

impl Holder {
    /// Whether they may use this model.
    pub fn may_use(&self, model: &str) -> bool {
        let fits = |glob: &Glob| glob.fits(model.as_bytes(), Case::Sensitive);
        self.models.as_ref().is_none_or(|allowed| allowed.iter().any(fits))
    }

    /// Whether the credential holds at this time.
    pub(super) fn is_valid(&self, today: SystemTime) -> bool {
        self.expires.is_none_or(|expires| today < expires)
    }

    /// 403 `forbidden` for a route that is not theirs.
    pub(super) fn on_route(&self, route: RouteId) -> Result<(), ErrorReply> {
        match self.routes.as_ref().is_none_or(|routes| routes.contains(&route)) {
            true => Ok(()),
            false => Err(ErrorReply::new(
                403,
                "forbidden",
                "This credential is not for this path; use another one, or ask whoever runs this gateway.",
            )),
        }
    }
}
