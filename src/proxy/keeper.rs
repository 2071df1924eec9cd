//! Keeps an answer while it passes, for those who ask the same later.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::base::digest::Digest;
use crate::codec::cache_control::{CacheControl, age, expires};
use crate::codec::framing::Framing;
use crate::codec::head::ResponseHead;
use crate::codec::shared::{shared, varies_with_key};
use crate::plan::{Kept, Sharing};

/// What is kept of one so far.
pub(super) struct Keeper<'s> {
    key: Digest,
    sharing: &'s Sharing,
    head: ResponseHead,
    body: Option<Vec<u8>>,
    age: Duration,
    lasts: Duration,
}

impl<'s> Keeper<'s> {
    /// None where the answer is not to be kept: by its status, its kind, or what its endpoint says; nor where it ends with its
    /// connection, for then one that broke off looks whole.
    pub(super) fn new(
        key: Digest,
        sharing: &'s Sharing,
        (head, framing): (&ResponseHead, Framing),
    ) -> Option<Self> {
        let rules = sharing.cache.as_ref()?;
        let said = CacheControl::of(head.head());
        let forbids = said.no_store || said.no_cache || (said.is_private && rules.is_shared);
        let varies = !varies_with_key(head.head(), rules.is_shared);
        if head.status() != 200 || head.is_event_stream() || forbids || varies {
            return None;
        }
        if framing == Framing::UntilClose {
            return None;
        }
        let age = age(head.head());
        let lasts = match said.max_age {
            Some(most) => most.saturating_sub(age).min(rules.ttl),
            None => expires(head.head(), SystemTime::now()).map_or(rules.ttl, |left| left.min(rules.ttl)),
        };
        let head = shared(head, false).ok()?;
        (!lasts.is_zero()).then(|| Self { key, sharing, head, body: Some(Vec::new()), age, lasts })
    }

    pub(super) fn take(&mut self, piece: &[u8]) {
        let longest = self.sharing.cache.as_ref().map_or(0, |rules| rules.answers.longest());
        if let Some(body) = &mut self.body {
            body.extend_from_slice(piece);
            if body.len() as u64 > longest {
                self.body = None;
            }
        }
    }

    pub(super) fn keep(self) {
        let (Some(body), Some(rules)) = (self.body, &self.sharing.cache) else { return };
        let bytes = body.len() as u64
            + self
                .head
                .head()
                .fields()
                .map(|field| field.raw.len() as u64 + field.value.len() as u64 + 64)
                .sum::<u64>();
        // What it was read into may be twice as large: what is kept is what is counted.
        let body = Bytes::from(body.into_boxed_slice());
        let kept = Kept { head: self.head, body, age: self.age };
        rules.answers.put(self.key, Arc::new(kept), bytes, Instant::now(), self.lasts);
    }
}
