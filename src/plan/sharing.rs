//! What the requests of a cluster share: answers under way, and answers that are kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::choice::BatchProtocol;
use crate::base::digest::Digest;
use crate::base::ids::{ClusterId, RouteId};
use crate::batch::{Member, Protocol};
use crate::board::batches::{Batches, Most};
use crate::board::cache::Cache;
use crate::board::flight::{Flight, Flights};
use crate::codec::head::{RequestHead, ResponseHead};
use crate::codec::reply::ErrorReply;
use crate::codec::shared::SharedHead;
use crate::config::{BatchConfig, ClusterConfig};

/// The shared part of one cluster.
#[derive(Debug)]
pub struct Sharing {
    /// Whether the same question is asked once at a time.
    pub is_single: bool,
    /// Answers under way.
    pub flights: Flights<SharedHead, ErrorReply>,
    /// Answers that are kept.
    pub cache: Option<KeptAnswers>,
    /// Requests that travel together.
    pub batching: Option<Batching>,
}

/// How requests travel together.
#[derive(Debug)]
pub struct Batching {
    /// How they are written.
    pub protocol: Protocol,
    /// Those who wait, and calls under way.
    pub batches: Batches<Waiting>,
    /// How many items, and bytes of them, one call takes.
    pub most: Most,
    /// How long they wait at most.
    pub max_wait: Duration,
    /// Calls of an endpoint at once.
    pub in_flight: usize,
    /// Pieces of one request at once.
    pub pieces: usize,
    /// Fields in which they must agree too, and that travel with them.
    pub key_headers: Vec<String>,
}

/// A request that waits for others.
#[derive(Debug)]
pub struct Waiting {
    /// What they have in common, as a digest.
    pub key: Digest,
    /// What it asks.
    pub member: Member,
    /// The plan under which it came, by its generation: those of two plans never travel together.
    pub generation: u64,
    /// Its route there, and the cluster that is asked first.
    pub route: RouteId,
    /// See above.
    pub cluster: ClusterId,
    /// Where it stands among others.
    pub standing: Standing,
    /// Its head as it came.
    pub asked: RequestHead,
    /// What of it a call for several carries.
    pub carried: Vec<u8>,
    /// The model that it asks for, where its cluster needs to know.
    pub model: Option<Box<str>>,
    /// Where its part of the answer goes.
    pub flight: Arc<Flight<SharedHead, ErrorReply>>,
    /// Who waits for that, where it is asked for several in turn.
    pub within: Vec<Arc<Flight<SharedHead, ErrorReply>>>,
}

/// Where a request stands among others, which a call that is made for it keeps.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The class that it has, where somebody says one.
    pub class: Option<Box<str>>,
    /// Whose turns it takes inside its class, as a hash.
    pub key: u64,
    /// The hash of the field by which its cluster places requests, where there is one and it says it.
    pub placed_by: Option<u64>,
    /// A collector is told of it, and so of the call.
    pub is_traced: bool,
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
        let ClusterConfig { single_flight, cache, batch, .. } = settings;
        let batching = batch.as_ref().map(|batch| Batching::of(&batch.value));
        let cache = cache.as_ref().map(|cache| KeptAnswers {
            answers: Cache::new(cache.max),
            ttl: cache.ttl,
            is_shared: cache.shared,
        });
        let shares = *single_flight || cache.is_some() || batching.is_some();
        shares.then(|| Self { is_single: *single_flight, flights: Flights::default(), cache, batching })
    }
}

impl Batching {
    fn of(settings: &BatchConfig) -> Self {
        let BatchConfig { protocol, max_items, max_bytes, max_wait, in_flight, pieces, key_headers, .. } =
            settings;
        let count = |number: &u64| usize::try_from(*number).unwrap_or(usize::MAX);
        Self {
            protocol: match protocol {
                BatchProtocol::OpenaiEmbeddings => Protocol::OpenaiEmbeddings,
                BatchProtocol::OpenaiCompletions => Protocol::OpenaiCompletions,
                BatchProtocol::TeiEmbed => Protocol::TeiEmbed,
                BatchProtocol::TeiRerank => Protocol::TeiRerank,
                BatchProtocol::CohereRerank => Protocol::CohereRerank,
                BatchProtocol::KserveV2 => Protocol::KserveV2,
                BatchProtocol::JsonArray => Protocol::JsonArray {
                    request: settings.request.clone().unwrap_or_default(),
                    answer: settings.answer.clone().unwrap_or_default(),
                },
            },
            batches: Batches::default(),
            most: Most { items: count(max_items), bytes: count(max_bytes) },
            max_wait: *max_wait,
            in_flight: count(in_flight),
            pieces: count(pieces),
            key_headers: key_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
        }
    }
}
