//! Filters: each looks at a request, and lets it pass or refuses it. Pure: what they need to know of the world is handed to
//! them; a filter never knows the route table, a socket or the clock.
//!
//! A chain is walked in the order written, the listener's before the route's. To add a filter: a file here, a variant of
//! [`FilterPlan`] with its arms, its table in `config/filter.rs`, an example in `config/corelane.toml`.

mod admission;
pub mod ask;
pub mod cors;
mod credential;
mod estimate;
mod examine;
mod findings;
pub mod guard;
pub mod headers;
pub mod holder;
pub mod ip;
pub mod jwt;
pub mod keys;
mod kinds;
pub mod model;
pub mod rate_limit;
#[cfg(test)]
mod testing;
pub mod validate;
mod verdict;

pub use admission::{admit, settle, spend, told_of_limits};
use admission::{ask, enter};
pub use examine::Examination;
pub use findings::Findings;
use findings::HolderRef;
pub use kinds::{FilterPlan, Filters, cors_of, edits_of, holder_of, key_name, redacted};
use rate_limit::Counted;
pub use verdict::{Refused, Step, Verdict, View};

use crate::base::ids::{FilterId, RouteId};

/// Judges a request by its head. Limits are only looked at.
fn judge_head(id: FilterId, filters: &Filters, view: &View<'_>, findings: &mut Findings) -> Verdict {
    match &filters[id].1 {
        FilterPlan::Ip(ip) => ip.on_request(view),
        FilterPlan::Cors(_) | FilterPlan::Headers(_) => Verdict::Continue,
        FilterPlan::Keys(keys) => match keys.on_request(view) {
            Ok(position) => enter((HolderRef::Key(id, position), keys.holder(position)), view, findings),
            Err(refusal) => Verdict::Refuse(refusal),
        },
        FilterPlan::Jwt(jwt) => match jwt.on_request(view) {
            Ok(holder) => {
                findings.holder = Some(HolderRef::Token(id, Box::new(holder)));
                Verdict::Continue
            }
            Err(refusal) => Verdict::Refuse(refusal),
        },
        FilterPlan::RateLimit(limit) if limit.needs_route() && view.route.is_none() => Verdict::Later,
        FilterPlan::Validate(validate) => validate.on_request(view),
        FilterPlan::Guard(guard) => guard.on_request(view),
        FilterPlan::Ask(ask) => {
            if ask.body > 0 {
                Verdict::Later
            } else {
                Verdict::Ask
            }
        }
        FilterPlan::RateLimit(limit) if limit.needs_model() => Verdict::Later,
        FilterPlan::RateLimit(limit) => {
            let asked = ask((id, limit), (Counted::Requests, 1), filters, view, findings);
            // Tokens are counted once the body was read.
            if limit.tokens.is_some() && matches!(asked, Verdict::Continue) { Verdict::Later } else { asked }
        }
    }
}

/// A chain is walked next; before it, once the route is known, those filters that waited for that.
pub fn begin(chain: &[FilterId], view: &View<'_>, findings: &mut Findings) {
    let waiting = if view.route.is_some() { std::mem::take(&mut findings.waiting) } else { Vec::new() };
    findings.queue = waiting.into_iter().chain(chain.iter().copied()).collect();
}

/// Walks on until a filter refuses the request, or asks. `passed` hears of each that did not. Those that need the body are
/// left for an [`Examination`].
pub fn walk(
    filters: &Filters,
    view: &View<'_>,
    findings: &mut Findings,
    mut passed: impl FnMut(FilterId),
) -> Result<Step, Refused> {
    while let Some(id) = findings.queue.pop_front() {
        match judge_head(id, filters, view, findings) {
            Verdict::Continue => passed(id),
            Verdict::Later => findings.waiting.push(id),
            Verdict::Ask => return Ok(Step::Ask(id)),
            Verdict::Refuse(refusal) => return Err((id, refusal)),
        }
    }
    match view.route {
        Some((route, _)) => judge_route(filters, route, findings).map(|()| Step::Done),
        None => Ok(Step::Done),
    }
}

/// Judges by the route, now that it is known.
fn judge_route(filters: &Filters, route: RouteId, findings: &Findings) -> Result<(), Refused> {
    let Some((id, holder)) = holder_of(filters, findings) else { return Ok(()) };
    holder.on_route(route).map_err(|refusal| (id, refusal))
}
