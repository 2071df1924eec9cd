//! Limits are looked at one after the other, and taken from together: all or none. Tokens are reserved, and settled once it is
//! known how many were used.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::findings::{Findings, HolderRef, Limit, Whose};
use super::holder::Holder;
use super::kinds::{FilterPlan, Filters, holder_at, holder_of};
use super::rate_limit::{self, Asked, Bound, Counted, RateLimit};
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
                return Verdict::Refuse(rate_limit::refusal(Counted::Requests, Duration::from_secs(1)));
            }
        }
    }
    match &holder.requests {
        Some((rate, bucket)) => {
            let limit = Limit { whose: Whose::Holder(found), counted: Counted::Requests, many: 1 };
            judge(limit, &Found::Holders(rate, bucket), view.now, findings)
        }
        None => Verdict::Continue,
    }
}

/// Judges by how many tokens a holder may take in a minute.
pub(super) fn ask_holder(filters: &Filters, many: u64, now: Instant, findings: &mut Findings) -> Verdict {
    let Some(found) = findings.holder.clone() else { return Verdict::Continue };
    let Some((_, Holder { tokens: Some((rate, bucket)), .. })) = holder_at(filters, &found) else {
        return Verdict::Continue;
    };
    let limit = Limit { whose: Whose::Holder(found.clone()), counted: Counted::Tokens, many };
    judge(limit, &Found::Holders(rate, bucket), now, findings)
}

/// Asks a limit whether it has so many left of what it counts; one that does not count that has.
pub(super) fn ask(
    (id, limit): (FilterId, &RateLimit),
    (counted, many): (Counted, u64),
    filters: &Filters,
    view: &View<'_>,
    findings: &mut Findings,
) -> Verdict {
    let Some(bound) = limit.bound(counted) else { return Verdict::Continue };
    let holder = holder_of(filters, findings).map(|(_, holder)| &*holder.name);
    let asked = limit.ask(bound, view, holder, &findings.models);
    let limit = Limit { whose: Whose::Filter(id, asked), counted, many };
    judge(limit, &Found::Named(bound, asked), view.now, findings)
}

/// Refuses who has less left than is asked for; then nothing is taken from any limit.
fn judge(limit: Limit, found: &Found<'_>, now: Instant, findings: &mut Findings) -> Verdict {
    let (counted, many) = (limit.counted, limit.many);
    findings.limits.push(limit);
    let (rate, standing) = found.look(now);
    if standing.remaining >= many.min(rate.burst) {
        return Verdict::Continue;
    }
    findings.is_settled = true;
    Verdict::Refuse(rate_limit::refusal(counted, rate.wait_for(standing, many.min(rate.burst))))
}

/// A bucket of a limit, wherever that is written.
enum Found<'f> {
    Named(&'f Bound, Asked),
    Holders(&'f Rate, &'f Single),
}

impl Found<'_> {
    fn rate(&self) -> &Rate {
        match self {
            Self::Named(bound, _) => &bound.rate,
            Self::Holders(rate, _) => rate,
        }
    }

    fn look(&self, now: Instant) -> (&Rate, Standing) {
        match self {
            Self::Named(Bound { rate, buckets }, asked) => (rate, buckets.look(*asked, rate, now)),
            Self::Holders(rate, bucket) => (rate, bucket.look(rate, now)),
        }
    }

    /// Takes so many, or as many as a full bucket has.
    fn take(&self, many: u64, now: Instant) -> Result<(), Duration> {
        let many = many.min(self.rate().burst);
        // Who asks for none may come while others are owed.
        if many == 0 {
            return Ok(());
        }
        match self {
            Self::Named(Bound { rate, buckets }, asked) => buckets.take(*asked, rate, many, now),
            Self::Holders(rate, bucket) => bucket.take(rate, many, now),
        }
    }

    fn put(&self, many: u64, now: Instant) {
        match self {
            Self::Named(Bound { rate, buckets }, asked) => buckets.put(*asked, rate, many, now),
            Self::Holders(rate, bucket) => bucket.put(rate, many),
        }
    }

    /// So many were taken, and so many were used.
    fn settle(&self, taken: u64, used: u64, now: Instant) {
        let taken = taken.min(self.rate().burst);
        if used <= taken {
            return self.put(taken - used, now);
        }
        match self {
            Self::Named(Bound { rate, buckets }, asked) => buckets.owe(*asked, rate, used - taken, now),
            Self::Holders(rate, bucket) => bucket.owe(rate, used - taken, now),
        }
    }
}

/// The limits that were asked, each with its bucket.
fn found<'f>(filters: &'f Filters, findings: &'f Findings) -> Vec<(&'f Limit, Found<'f>)> {
    let bucket = |limit: &'f Limit| match &limit.whose {
        Whose::Holder(holder) => {
            let (_, holder) = holder_at(filters, holder)?;
            let bound = match limit.counted {
                Counted::Requests => &holder.requests,
                Counted::Tokens => &holder.tokens,
            };
            bound.as_ref().map(|(rate, bucket)| Found::Holders(rate, bucket))
        }
        Whose::Filter(id, asked) => match &filters[*id].1 {
            FilterPlan::RateLimit(filter) => {
                filter.bound(limit.counted).map(|bound| Found::Named(bound, *asked))
            }
            _ => None,
        },
    };
    findings.limits.iter().filter_map(|limit| Some((limit, bucket(limit)?))).collect()
}

/// Takes from all limits that were asked, or from none: then that one is told which has too little left by now.
pub fn admit(filters: &Filters, findings: &mut Findings, now: Instant) -> Result<(), ErrorReply> {
    findings.is_settled = true;
    let limits = found(filters, findings);
    for (position, (limit, bucket)) in limits.iter().enumerate() {
        if let Err(wait) = bucket.take(limit.many, now) {
            let taken = &limits[..position];
            taken.iter().for_each(|(limit, bucket)| bucket.put(limit.many.min(bucket.rate().burst), now));
            return Err(rate_limit::refusal(limit.counted, wait));
        }
    }
    findings.is_admitted = true;
    Ok(())
}

/// The request is refused by somebody else: what it asked for counts all the same, or guessing would be free.
pub fn spend(filters: &Filters, findings: &mut Findings, now: Instant) {
    if std::mem::replace(&mut findings.is_settled, true) {
        return;
    }
    for (limit, bucket) in found(filters, findings) {
        // Tokens were not used. One that has nothing left by now has nothing to lose.
        if limit.counted == Counted::Requests {
            let _ = bucket.take(limit.many, now);
        }
    }
}

/// So many tokens were used by a request that was admitted.
pub fn settle(filters: &Filters, findings: &mut Findings, used: u64, now: Instant) {
    if !std::mem::take(&mut findings.is_admitted) {
        return;
    }
    for (limit, bucket) in found(filters, findings) {
        if limit.counted == Counted::Tokens {
            bucket.settle(limit.many, used, now);
        }
    }
}

/// What the answer to a request says of the limits that it was under: of the one that is nearest to refusing, and of the
/// nearest of each kind.
pub fn told_of_limits(filters: &Filters, findings: &Findings, now: Instant) -> Vec<(&'static str, String)> {
    let limits = found(filters, findings);
    let all: Vec<_> = limits.iter().map(|(limit, bucket)| (limit.counted, bucket.look(now))).collect();
    // Of requests and tokens those are compared by the share that is left.
    let nearest = |counted: Option<Counted>| {
        let of_kind = all.iter().filter(|(kind, _)| counted.is_none_or(|counted| *kind == counted));
        of_kind.map(|(_, found)| found).min_by_key(|(rate, standing)| {
            let share = u128::from(standing.remaining) * 1_000_000_000 / u128::from(rate.burst.max(1));
            (share, standing.remaining, Reverse(standing.next_in))
        })
    };
    let mut told = Vec::new();
    if let Some((rate, standing)) = nearest(None) {
        told.extend(rate_limit::told_of_nearest(rate, *standing));
    }
    for counted in [Counted::Requests, Counted::Tokens] {
        if let Some((rate, standing)) = nearest(Some(counted)) {
            told.extend(rate_limit::told_of_kind(counted, rate, *standing));
        }
    }
    told
}
