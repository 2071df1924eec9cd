//! The kinds of filters, and what is known of each without asking it.

use super::findings::{Findings, HolderRef};
use super::holder::Holder;
use super::{cors, ip, keys, rate_limit};
use crate::base::ids::{FilterId, IdVec};

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

impl FilterPlan {
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

/// Whose request it is, if that is known, and the filter that knows.
pub fn holder_of<'f>(filters: &'f Filters, findings: &Findings) -> Option<(FilterId, &'f Holder)> {
    holder_at(filters, findings.holder?)
}

/// The holder who is found there, and the filter that knows them.
pub(super) fn holder_at(filters: &Filters, holder: HolderRef) -> Option<(FilterId, &Holder)> {
    let HolderRef::Key(id, position) = holder;
    match &filters[id].1 {
        FilterPlan::Keys(keys) => Some((id, keys.holder(position))),
        FilterPlan::Ip(_) | FilterPlan::Cors(_) | FilterPlan::RateLimit(_) => None,
    }
}

/// What a chain has answers say to browsers; the first of its kind counts.
pub fn cors_of<'f>(filters: &'f Filters, chain: &[FilterId]) -> Option<&'f cors::Cors> {
    chain.iter().find_map(|id| match &filters[*id].1 {
        FilterPlan::Cors(cors) => Some(cors),
        FilterPlan::Ip(_) | FilterPlan::Keys(_) | FilterPlan::RateLimit(_) => None,
    })
}
