//! Filters: each looks at a request, and lets it pass or refuses it. Pure: what they need to know of the world is handed to
//! them; a filter never knows the route table, a socket or the clock.
//!
//! A chain is walked in the order written, the listener's before the route's. To add a filter: a file here, a variant of
//! [`FilterPlan`] with its arms below, its table in `config/filter.rs`, an example in `config/corelane.toml`.

pub mod cors;
mod credential;
mod findings;
pub mod holder;
pub mod ip;
pub mod keys;
#[cfg(test)]
mod testing;
mod verdict;

use crate::base::ids::{FilterId, IdVec, RouteId};
use crate::codec::reply::ErrorReply;
pub use findings::Findings;
use findings::HolderRef;
use holder::Holder;
pub use verdict::{Verdict, View};

/// A filter as it is understood.
#[derive(Debug)]
pub enum FilterPlan {
    /// By address.
    Ip(ip::Ip),
    /// By API key.
    Keys(keys::Keys),
    /// What answers say to browsers.
    Cors(cors::Cors),
}

/// Filters with the names that operators gave them.
pub type Filters = IdVec<FilterId, (String, FilterPlan)>;

/// A filter that refused a request, and what it is answered with.
pub type Refused = (FilterId, ErrorReply);

impl FilterPlan {
    /// Judges a request by its head.
    fn on_request(&self, id: FilterId, view: &View<'_>, findings: &mut Findings) -> Verdict {
        match self {
            Self::Ip(ip) => ip.on_request(view),
            Self::Cors(_) => Verdict::Continue,
            Self::Keys(keys) => match keys.on_request(view) {
                Ok(position) => {
                    findings.holder = Some(HolderRef::Key(id, position));
                    Verdict::Continue
                }
                Err(refusal) => Verdict::Refuse(refusal),
            },
        }
    }

    /// Whether it judges credentials: then who is refused stands in the audit.
    pub fn judges_credentials(&self) -> bool {
        match self {
            Self::Keys(_) => true,
            Self::Ip(_) | Self::Cors(_) => false,
        }
    }
}

/// Walks `chain` until a filter refuses the request. `passed` hears of each that did not.
pub fn walk(
    filters: &Filters,
    chain: &[FilterId],
    view: &View<'_>,
    findings: &mut Findings,
    mut passed: impl FnMut(FilterId),
) -> Result<(), Refused> {
    for id in chain {
        match filters[*id].1.on_request(*id, view, findings) {
            Verdict::Continue => passed(*id),
            Verdict::Refuse(refusal) => return Err((*id, refusal)),
        }
    }
    match view.route {
        Some(route) => judge_route(filters, route, findings),
        None => Ok(()),
    }
}

/// Whose request it is, if that is known, and the filter that knows.
pub fn holder<'f>(filters: &'f Filters, findings: &Findings) -> Option<(FilterId, &'f Holder)> {
    let HolderRef::Key(id, position) = findings.holder?;
    match &filters[id].1 {
        FilterPlan::Keys(keys) => Some((id, keys.holder(position))),
        FilterPlan::Ip(_) | FilterPlan::Cors(_) => None,
    }
}

/// What a chain has answers say to browsers; the first of its kind counts.
pub fn cors<'f>(filters: &'f Filters, chain: &[FilterId]) -> Option<&'f cors::Cors> {
    chain.iter().find_map(|id| match &filters[*id].1 {
        FilterPlan::Cors(cors) => Some(cors),
        FilterPlan::Ip(_) | FilterPlan::Keys(_) => None,
    })
}

/// Judges by the route, now that it is known.
pub fn judge_route(filters: &Filters, route: RouteId, findings: &Findings) -> Result<(), Refused> {
    let Some((id, holder)) = holder(filters, findings) else { return Ok(()) };
    holder.on_route(route).map_err(|refusal| (id, refusal))
}
