//! The kinds of filters, and what is known of each without asking it. What a new kind has none of says nothing here.

use super::ask::Ask;
use super::findings::{Findings, HolderRef};
use super::guard::Guard;
use super::holder::Holder;
use super::validate::Validate;
use super::{cors, headers, ip, jwt, keys, rate_limit};
use crate::base::ids::{FilterId, IdVec};
use crate::codec::edit::{Edits, Side};

/// A filter as it is understood.
#[derive(Debug)]
pub enum FilterPlan {
    /// By address.
    Ip(ip::Ip),
    /// By API key.
    Keys(keys::Keys),
    /// By a token of an issuer.
    Jwt(jwt::Jwt),
    /// What answers say to browsers.
    Cors(cors::Cors),
    /// So many requests in a time.
    RateLimit(rate_limit::RateLimit),
    /// What is changed in the fields of requests and answers.
    Headers(headers::Headers),
    /// What bodies must be.
    Validate(Validate),
    /// What texts may say.
    Guard(Guard),
    /// A service decides.
    Ask(Ask),
}

/// Filters with the names that operators gave them.
pub type Filters = IdVec<FilterId, (String, FilterPlan)>;

impl FilterPlan {
    /// Names of the fields of requests that it looks at or writes, beside those that the gateway knows.
    pub fn judged(&self) -> Vec<&str> {
        match self {
            Self::RateLimit(limit) => limit.fields().collect(),
            Self::Headers(headers) => headers.request.rules.names().collect(),
            Self::Ask(ask) => ask.headers.iter().map(String::as_str).chain(ask.add.names()).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it changes the fields of messages.
    pub fn edits(&self) -> bool {
        matches!(self, Self::Headers(_) | Self::Ask(_))
    }

    /// Whether it speaks of the model that a request asks for.
    pub fn says_model(&self) -> bool {
        matches!(self, Self::Headers(headers) if headers.says_model())
    }

    /// Whether it may refuse a request for how many there are.
    pub fn limits(&self) -> bool {
        matches!(self, Self::RateLimit(_) | Self::Keys(_) | Self::Jwt(_))
    }

    /// Whether it judges credentials: then who is refused stands in the audit.
    pub fn judges_credentials(&self) -> bool {
        matches!(self, Self::Keys(_) | Self::Jwt(_))
    }
}

/// The first `most` bytes of a text without what guards of these chains take out of the whole.
pub fn redacted<'f>(
    filters: &'f Filters,
    chains: impl Iterator<Item = &'f FilterId>,
    text: &str,
    most: usize,
) -> String {
    let (mut text, mut most) = (text.as_bytes().to_vec(), most);
    for id in chains {
        if let FilterPlan::Guard(guard) = &filters[*id].1 {
            (text, most) = guard.redacted(&text, most);
        }
    }
    text.truncate(most);
    String::from_utf8_lossy(&text).into_owned()
}

/// Whose request it is, if that is known, and the filter that knows.
pub fn holder_of<'f>(filters: &'f Filters, findings: &'f Findings) -> Option<(FilterId, &'f Holder)> {
    holder_at(filters, findings.holder.as_ref()?)
}

/// The name of a key, by the filter that knows it and its place there.
pub fn key_name(filters: &Filters, id: FilterId, position: u32) -> Option<&str> {
    match &filters[id].1 {
        FilterPlan::Keys(keys) => Some(&keys.holder(position).name),
        _ => None,
    }
}

/// The holder who is found there, and the filter that knows them.
pub(super) fn holder_at<'f>(filters: &'f Filters, holder: &'f HolderRef) -> Option<(FilterId, &'f Holder)> {
    match holder {
        HolderRef::Token(id, holder) => Some((*id, holder)),
        HolderRef::Key(id, position) => match &filters[*id].1 {
            FilterPlan::Keys(keys) => Some((*id, keys.holder(*position))),
            _ => None,
        },
    }
}

/// What a chain has answers say to browsers; the first of its kind counts.
pub fn cors_of<'f>(filters: &'f Filters, chain: &[FilterId]) -> Option<&'f cors::Cors> {
    chain.iter().find_map(|id| match &filters[*id].1 {
        FilterPlan::Cors(cors) => Some(cors),
        _ => None,
    })
}

/// What chains have changed in the fields of a message, in their order.
pub fn edits_of<'f>(
    filters: &'f Filters,
    chains: impl Iterator<Item = &'f FilterId>,
    side: Side,
    known: &headers::Known<'_>,
) -> Vec<Edits> {
    let edits = chains.filter_map(|id| match &filters[*id].1 {
        FilterPlan::Headers(headers) => headers.edits(side, known),
        _ => None,
    });
    edits.collect()
}
