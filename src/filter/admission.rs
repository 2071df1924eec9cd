//! Limits are looked at one after the other, and taken from together: all or none.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::findings::{Findings, HolderRef, Limit};
use super::holder::Holder;
use super::kinds::{FilterPlan, Filters, holder_at, holder_of};
use super::rate_limit::{self, Asked, RateLimit};
use super::verdict::{Verdict, View};
use crate::base::ids::FilterId;
use crate::board::buckets::{Rate, Single, Standing};
use crate::codec::reply::ErrorReply;

/// Judges by what a holder may do at once, and in a minute.
pub(super) fn enter(
    (found, holder): (HolderRef, &Holder),
    view: &View<'_>,
    findings: &mut Findings,
) -> Verdict {
    findings.holder = Some(found.clone());
    if let Some((max, under_way)) = &holder.in_flight {
        match under_way.enter(*max) {
            Some(place) => findings.places.push(place),
            None => {
                findings.is_settled = true;
                // Nobody knows when one ends.
                return Verdict::Refuse(rate_limit::refusal(Duration::from_secs(1)));
            }
        }
    }
    match &holder.requests {
        Some((rate, bucket)) => {
            findings.limits.push(Limit::OfHolder(found));
            judge(bucket.look(rate, view.now), findings)
        }
        None => Verdict::Continue,
    }
}

/// Asks a limit whether it has anything left.
pub(super) fn ask(
    id: FilterId,
    limit: &RateLimit,
    filters: &Filters,
    view: &View<'_>,
    findings: &mut Findings,
) -> Verdict {
    let holder = holder_of(filters, findings).map(|(_, holder)| &*holder.name);
    let asked = limit.ask(view, holder, &findings.models);
    findings.limits.push(Limit::Of(id, asked));
    judge(limit.look(asked, view.now), findings)
}

/// Refuses who has nothing left; then nothing is taken from any limit.
fn judge(standing: Standing, findings: &mut Findings) -> Verdict {
    match standing.remaining {
        0 => {
            findings.is_settled = true;
            Verdict::Refuse(rate_limit::refusal(standing.next_in))
        }
        _ => Verdict::Continue,
    }
}

/// A bucket of a limit, wherever that is written.
enum Found<'f> {
    Named(&'f RateLimit, Asked),
    Holders(&'f Rate, &'f Single),
}

impl Found<'_> {
    fn look(&self, now: Instant) -> (&Rate, Standing) {
        match self {
            Self::Named(limit, asked) => (&limit.rate, limit.look(*asked, now)),
            Self::Holders(rate, bucket) => (rate, bucket.look(rate, now)),
        }
    }

    fn take(&self, now: Instant) -> Result<(), Duration> {
        match self {
            Self::Named(limit, asked) => limit.take(*asked, now),
            Self::Holders(rate, bucket) => bucket.take(rate, now),
        }
    }

    fn put(&self, now: Instant) {
        match self {
            Self::Named(limit, asked) => limit.put(*asked, now),
            Self::Holders(rate, bucket) => bucket.put(rate),
        }
    }
}

/// The buckets of all limits that were asked.
fn buckets<'f>(filters: &'f Filters, findings: &'f Findings) -> Vec<Found<'f>> {
    let found = |limit: &'f Limit| match limit {
        Limit::OfHolder(holder) => {
            let (_, holder) = holder_at(filters, holder)?;
            holder.requests.as_ref().map(|(rate, bucket)| Found::Holders(rate, bucket))
        }
        Limit::Of(id, asked) => match &filters[*id].1 {
            FilterPlan::RateLimit(limit) => Some(Found::Named(limit, *asked)),
            _ => None,
        },
    };
    findings.limits.iter().filter_map(found).collect()
}

/// Takes from all limits that were asked, or from none: then that one is told which has nothing left by now.
pub fn admit(filters: &Filters, findings: &mut Findings, now: Instant) -> Result<(), ErrorReply> {
    findings.is_settled = true;
    let buckets = buckets(filters, findings);
    for (position, bucket) in buckets.iter().enumerate() {
        if let Err(wait) = bucket.take(now) {
            buckets[..position].iter().for_each(|taken| taken.put(now));
            return Err(rate_limit::refusal(wait));
        }
    }
    Ok(())
}

/// The request is refused by somebody else: what it asked for counts all the same, or guessing would be free.
pub fn spend(filters: &Filters, findings: &mut Findings, now: Instant) {
    if std::mem::replace(&mut findings.is_settled, true) {
        return;
    }
    for bucket in buckets(filters, findings) {
        // One that has nothing left by now has nothing to lose.
        let _ = bucket.take(now);
    }
}

/// What the answer to a request says of the limits that it was under: of the one that is nearest to refusing.
pub fn told_of_limits(filters: &Filters, findings: &Findings, now: Instant) -> Vec<(&'static str, String)> {
    let buckets = buckets(filters, findings);
    let all = buckets.iter().map(|bucket| bucket.look(now));
    let nearest = all.min_by_key(|(_, standing)| (standing.remaining, Reverse(standing.next_in)));
    nearest.map_or_else(Vec::new, |(rate, standing)| rate_limit::told(rate, standing))
}
