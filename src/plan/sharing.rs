//! What the requests of a cluster share: answers under way, and answers that are kept.

use std::time::Duration;

use bytes::Bytes;

use crate::board::cache::Cache;
use crate::board::flight::Flights;
use crate::codec::head::ResponseHead;
use crate::codec::reply::ErrorReply;
use crate::codec::shared::SharedHead;
use crate::config::{CacheConfig, ClusterConfig};

/// The shared part of one cluster.
#[derive(Debug)]
pub struct Sharing {
    /// Whether the same question is asked once at a time.
    pub is_single: bool,
    /// Answers under way.
    pub flights: Flights<SharedHead, ErrorReply>,
    /// Answers that are kept.
    pub cache: Option<KeptAnswers>,
}

/// Answers that are kept, and for how long.
#[derive(Debug)]
pub struct KeptAnswers {
    /// What is kept.
    pub answers: Cache<Kept>,
    /// Longest time.
    pub ttl: Duration,
    /// Whoever asks the same is told the same.
    pub is_shared: bool,
    /// As written.
    pub settings: CacheConfig,
}

/// An answer that is kept.
#[derive(Debug)]
pub struct Kept {
    /// Its head, without what is said of one exchange alone.
    pub head: ResponseHead,
    /// Its body.
    pub body: Bytes,
    /// How old it was when it came.
    pub age: Duration,
}

impl Sharing {
    /// What a cluster with these settings shares; none where it shares nothing.
    pub fn of(settings: &ClusterConfig) -> Option<Self> {
        let ClusterConfig { single_flight, cache, .. } = settings;
        let cache = cache.as_ref().map(|cache| KeptAnswers {
            answers: Cache::new(cache.max),
            ttl: cache.ttl,
            is_shared: cache.shared,
            settings: cache.clone(),
        });
        (*single_flight || cache.is_some()).then(|| Self {
            is_single: *single_flight,
            flights: Flights::default(),
            cache,
        })
    }

    /// Whether it is what such settings ask for.
    pub fn fits(&self, settings: &ClusterConfig) -> bool {
        let kept = self.cache.as_ref().map(|cache| &cache.settings);
        self.is_single == settings.single_flight && kept == settings.cache.as_ref()
    }
}
