//! Filters: each looks at a request, and lets it pass or refuses it. Pure: what they need to know of the world is handed to
//! them; a filter never knows the route table, a socket or the clock.
//!
//! A chain is walked in the order written, the listener's before the route's. To add a filter: a file here, a variant of
//! [`FilterPlan`] with its arms below, its table in `config/filter.rs`, an example in `config/corelane.toml`.

pub mod ip;
mod verdict;

use crate::base::ids::{FilterId, IdVec};
use crate::codec::reply::ErrorReply;
pub use verdict::{Verdict, View};

/// A filter as it is understood.
#[derive(Debug)]
pub enum FilterPlan {
    /// By address.
    Ip(ip::Ip),
}

/// Filters with the names that operators gave them.
pub type Filters = IdVec<FilterId, (String, FilterPlan)>;

impl FilterPlan {
    /// Judges a request by its head.
    fn on_request(&self, view: &View) -> Verdict {
        match self {
            Self::Ip(ip) => ip.on_request(view),
        }
    }
}

/// Walks `chain` until a filter refuses the request; tells which one did. `passed` hears of each that did not.
pub fn walk(
    filters: &Filters,
    chain: &[FilterId],
    view: &View,
    mut passed: impl FnMut(FilterId),
) -> Result<(), (FilterId, ErrorReply)> {
    for id in chain {
        match filters[*id].1.on_request(view) {
            Verdict::Continue => passed(*id),
            Verdict::Refuse(refusal) => return Err((*id, refusal)),
        }
    }
    Ok(())
}
