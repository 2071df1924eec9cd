//! What the filters of one request found of it, of which some ask what others found.

use std::collections::VecDeque;

use bytes::Bytes;

use super::estimate::{Estimated, usage_asked};
use super::holder::Holder;
use super::model::Models;
use super::rate_limit::{Asked, Counted};
use crate::base::ids::FilterId;
use crate::board::in_flight::Place;
use crate::codec::edit::Edits;
use crate::codec::operation::Operation;
use crate::codec::reply::ErrorReply;
use crate::codec::splice::{Splice, settled};

/// What is known of a request by its filters.
#[derive(Debug, Default)]
pub struct Findings {
    /// Whose it is, by the filter that knows.
    pub(super) holder: Option<HolderRef>,
    /// The limits that were asked, each by its filter. What they give is taken once all have been.
    pub(super) limits: Vec<Limit>,
    /// Filters that judge next.
    pub(super) queue: VecDeque<FilterId>,
    /// Fields that services set.
    pub(super) edits: Vec<Edits>,
    /// Filters that judge once the route is known, and then those that judge once the body was read.
    pub(super) waiting: Vec<FilterId>,
    /// The models that it asks for, where somebody asked for them.
    pub(super) models: Models,
    /// What is told of its body, where only its route asked for the model and that cannot be read.
    pub(super) unreadable: Option<ErrorReply>,
    /// The first guard that would have refused it.
    pub(super) flagged: Option<FilterId>,
    /// What is taken out of its body.
    pub(super) splices: Vec<Splice>,
    /// Nothing more is taken from those limits.
    pub(super) is_settled: bool,
    /// They gave what was asked for; tokens are still to be settled.
    pub(super) is_admitted: bool,
    /// Tokens that it may take, where somebody asked for them.
    pub(super) estimated: Option<Estimated>,
    /// An engine was asked for the usage of a stream that the client did not ask for.
    pub(super) hides_usage: bool,
    /// That is settled once its route has changed its body.
    pub(super) asks_usage: bool,
    /// The request's places among those of its holders that are under way.
    pub(super) places: Vec<Place>,
}

/// A limit that was asked.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    /// Whose it is.
    pub(super) whose: Whose,
    /// What it counts, and how many of it.
    pub(super) counted: Counted,
    pub(super) many: u64,
}

/// Whose limit it is.
#[derive(Debug, Clone)]
pub(super) enum Whose {
    /// A bucket of this filter.
    Filter(FilterId, Asked),
    /// That of this holder.
    Holder(HolderRef),
}

/// Where a holder is found.
#[derive(Debug, Clone)]
pub(super) enum HolderRef {
    /// Among the keys of this filter.
    Key(FilterId, u32),
    /// In the token that this filter looked at.
    Token(FilterId, Box<Holder>),
}

impl Findings {
    /// Nothing yet.
    pub const NOTHING: Self = Self {
        holder: None,
        limits: Vec::new(),
        queue: VecDeque::new(),
        edits: Vec::new(),
        waiting: Vec::new(),
        models: Models::NONE,
        unreadable: None,
        flagged: None,
        splices: Vec::new(),
        is_settled: false,
        is_admitted: false,
        estimated: None,
        hides_usage: false,
        asks_usage: false,
        places: Vec::new(),
    };

    /// Whether it is under a limit.
    pub fn is_limited(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Whether filters judge once the route is known.
    pub fn awaits_route(&self) -> bool {
        self.has_holder() || !self.waiting.is_empty()
    }

    /// The model that it asks for, where somebody asked for it.
    pub fn model(&self) -> Option<&str> {
        self.models.name()
    }

    /// The key that was shown, by the filter that knows it and its place there; none for a token, and none within where nobody
    /// showed anything.
    pub fn key(&self) -> Option<Option<(FilterId, u32)>> {
        self.holder.as_ref().map(|holder| match holder {
            HolderRef::Key(id, position) => Some((*id, *position)),
            HolderRef::Token(..) => None,
        })
    }

    /// Nothing but the model, of a request that others travel in.
    pub fn of_model(model: &str) -> Self {
        Self { models: Models { path: None, body: Some(model.into()) }, ..Self::default() }
    }

    /// What is told of its body, where its route needs the model and that cannot be read.
    pub fn unreadable(&self) -> Option<&ErrorReply> {
        self.unreadable.as_ref()
    }

    /// A service lets it pass with these fields.
    pub fn set_fields(&mut self, edits: Edits) {
        self.edits.push(edits);
    }

    /// The fields that services set.
    pub fn fields(&self) -> &[Edits] {
        &self.edits
    }

    /// What of it a copy of the request has, with these fields: whose it is, the model, and whether its answer would be read.
    /// It takes nothing from limits, and no place.
    pub fn of_copy(&self, edits: Vec<Edits>) -> Self {
        let Self { holder, models, estimated, .. } = self;
        Self { holder: holder.clone(), models: models.clone(), estimated: *estimated, edits, ..Self::NOTHING }
    }

    /// Tokens of its prompt, as they were estimated; none where no limit counts tokens.
    pub fn prompt_tokens(&self) -> Option<u64> {
        self.estimated.map(|estimated| estimated.prompt)
    }

    /// What has the engine tell of a stream whose request has this body, changed by its route, how many tokens it took; where
    /// somebody wants to know, and the client did not ask.
    pub fn ask_for_usage(&mut self, pieces: &[Bytes], operation: Operation) -> Option<Splice> {
        let splice = std::mem::take(&mut self.asks_usage).then(|| usage_asked(pieces, operation)).flatten();
        self.hides_usage |= splice.is_some();
        splice
    }

    /// Whether the usage of its stream is told to us alone.
    pub fn hides_usage(&self) -> bool {
        self.hides_usage
    }

    /// The guard that would have refused it, and lets it pass to tell of it.
    pub fn flagged(&self) -> Option<FilterId> {
        self.flagged
    }

    /// What becomes of its body, once; nothing where it goes on as it came.
    pub fn take_splices(&mut self) -> Vec<Splice> {
        settled(std::mem::take(&mut self.splices))
    }

    /// Whether a credential was looked at: it was meant for us, and stays here.
    pub fn has_holder(&self) -> bool {
        self.holder.is_some()
    }
}
