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
pub mod rate_limit;
#[cfg(test)]
mod testing;
mod verdict;

use std::time::Instant;

use crate::base::ids::{FilterId, IdVec, RouteId};
use crate::board::buckets::Standing;
use crate::codec::reply::ErrorReply;
pub use findings::Findings;
use findings::HolderRef;
use holder::Holder;
use rate_limit::Asked;
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
    /// So many requests in a time.
    RateLimit(rate_limit::RateLimit),
}

/// Filters with the names that operators gave them.
pub type Filters = IdVec<FilterId, (String, FilterPlan)>;

/// A filter that refused a request, and what it is answered with.
pub type Refused = (FilterId, ErrorReply);

impl FilterPlan {
    /// Judges a request by its head. Limits are only looked at.
    fn on_request(&self, (id, filters): (FilterId, &Filters), view: &View<'_>, findings: &mut Findings) -> Verdict {
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
            Self::RateLimit(limit) if limit.needs_route() && view.route.is_none() => {
                findings.waiting.push(id);
                Verdict::Continue
            }
            Self::RateLimit(limit) => {
                let holder = holder(filters, findings).map(|(_, holder)| &*holder.name);
                let asked = limit.ask(view, holder);
                findings.limits.push((id, asked));
                match limit.look(asked, view.now) {
                    Standing { remaining: 0, next_in, .. } => {
                        findings.is_settled = true;
                        Verdict::Refuse(rate_limit::refusal(next_in))
                    }
                    _ => Verdict::Continue,
                }
            }
        }
    }

    /// Names of the fields that it looks at, beside those that the gateway knows.
    pub fn judged(&self) -> impl Iterator<Item = &str> {
        let by = match self {
            Self::RateLimit(limit) => &limit.by[..],
            Self::Ip(_) | Self::Keys(_) | Self::Cors(_) => &[],
        };
        by.iter().filter_map(|by| match by {
            rate_limit::By::Header(name) => Some(name.as_str()),
            rate_limit::By::Key | rate_limit::By::Ip | rate_limit::By::Route => None,
        })
    }

    /// Whether it judges credentials: then who is refused stands in the audit.
    pub fn judges_credentials(&self) -> bool {
        match self {
            Self::Keys(_) => true,
            Self::Ip(_) | Self::Cors(_) | Self::RateLimit(_) => false,
        }
    }
}

/// Walks `chain` until a filter refuses the request; before it, once the route is known, those that waited for that. `passed`
/// hears of each that did not.
pub fn walk(
    filters: &Filters,
    chain: &[FilterId],
    view: &View<'_>,
    findings: &mut Findings,
    mut passed: impl FnMut(FilterId),
) -> Result<(), Refused> {
    let waiting = if view.route.is_some() { std::mem::take(&mut findings.waiting) } else { Vec::new() };
    for id in waiting.iter().chain(chain) {
        match filters[*id].1.on_request((*id, filters), view, findings) {
            Verdict::Continue if waiting.contains(id) => {}
            Verdict::Continue => passed(*id),
            Verdict::Refuse(refusal) => return Err((*id, refusal)),
        }
    }
    match view.route {
        Some(route) => judge_route(filters, route, findings),
        None => Ok(()),
    }
}

/// Takes from all limits that were asked, or from none: then that one is told which has nothing left by now.
pub fn admit(filters: &Filters, findings: &mut Findings, now: Instant) -> Result<(), ErrorReply> {
    findings.is_settled = true;
    let limits = || findings.limits.iter().filter_map(|(id, asked)| Some((limit(filters, *id)?, *asked)));
    for (position, (limit, asked)) in limits().enumerate() {
        if let Err(refusal) = limit.take(asked, now) {
            limits().take(position).for_each(|(limit, asked)| limit.put(asked, now));
            return Err(refusal);
        }
    }
    Ok(())
}

/// The request is refused by somebody else: what it asked for counts all the same, or guessing would be free.
pub fn spend(filters: &Filters, findings: &mut Findings, now: Instant) {
    if std::mem::replace(&mut findings.is_settled, true) {
        return;
    }
    for (id, asked) in &findings.limits {
        // One that has nothing left by now has nothing to lose.
        let _ = limit(filters, *id).map(|limit| limit.take(*asked, now));
    }
}

fn limit(filters: &Filters, id: FilterId) -> Option<&rate_limit::RateLimit> {
    match &filters[id].1 {
        FilterPlan::RateLimit(limit) => Some(limit),
        FilterPlan::Ip(_) | FilterPlan::Keys(_) | FilterPlan::Cors(_) => None,
    }
}

/// What the answer to a request says of the limits that it was under: of the one that is nearest to refusing.
pub fn told_of_limits(filters: &Filters, findings: &Findings, now: Instant) -> Vec<(&'static str, String)> {
    let standing = |(id, asked): &(FilterId, Asked)| {
        let limit = limit(filters, *id)?;
        Some((limit, limit.look(*asked, now)))
    };
    let all = findings.limits.iter().filter_map(standing);
    let nearest = all.min_by_key(|(_, standing)| (standing.remaining, std::cmp::Reverse(standing.next_in)));
    nearest.map_or_else(Vec::new, |(limit, standing)| rate_limit::told(limit, standing))
}

/// Whose request it is, if that is known, and the filter that knows.
pub fn holder<'f>(filters: &'f Filters, findings: &Findings) -> Option<(FilterId, &'f Holder)> {
    let HolderRef::Key(id, position) = findings.holder?;
    match &filters[id].1 {
        FilterPlan::Keys(keys) => Some((id, keys.holder(position))),
        FilterPlan::Ip(_) | FilterPlan::Cors(_) | FilterPlan::RateLimit(_) => None,
    }
}

/// What a chain has answers say to browsers; the first of its kind counts.
pub fn cors<'f>(filters: &'f Filters, chain: &[FilterId]) -> Option<&'f cors::Cors> {
    chain.iter().find_map(|id| match &filters[*id].1 {
        FilterPlan::Cors(cors) => Some(cors),
        FilterPlan::Ip(_) | FilterPlan::Keys(_) | FilterPlan::RateLimit(_) => None,
    })
}

/// Judges by the route, now that it is known.
fn judge_route(filters: &Filters, route: RouteId, findings: &Findings) -> Result<(), Refused> {
    let Some((id, holder)) = holder(filters, findings) else { return Ok(()) };
    holder.on_route(route).map_err(|refusal| (id, refusal))
}
