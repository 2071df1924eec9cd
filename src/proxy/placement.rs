//! Which endpoint of a cluster a request would meet, with the score of each and why: by the balancer that lanes pick with.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::placing;
use crate::balance::{Asked, Balancer, Candidate, Candidates, Positions};
use crate::base::ids::{ClusterId, EndpointId};
use crate::base::rng::Rng;
use crate::board::published::Seen;
use crate::cluster::listings::Unlisted;
use crate::codec::head::RequestHead;
use crate::plan::Plan;

/// What would become of one endpoint.
pub struct Placement {
    /// Which one.
    pub endpoint: EndpointId,
    /// Whether it may be given exchanges at all.
    pub is_admitted: bool,
    /// The lowest wins; none where it takes no part.
    pub score: Option<f64>,
    /// What the score is made of.
    pub terms: Vec<(&'static str, f64)>,
    /// Whether it could serve the request, and has as many exchanges as it may.
    pub is_full: bool,
    /// Whether this one is asked first.
    pub is_picked: bool,
    /// In words.
    pub why: String,
}

/// What is known of a request that is placed.
pub(super) struct Shown<'a> {
    pub(super) head: &'a RequestHead,
    /// Its body as it goes upstream.
    pub(super) body: &'a [Bytes],
    /// The model that goes upstream, where it is known.
    pub(super) model: Option<&'a str>,
}

/// What would become of each endpoint of a cluster.
pub(super) fn of(plan: &Plan, cluster: ClusterId, shown: &Shown<'_>, now: Instant) -> Vec<Placement> {
    let endpoints = &plan.clusters[cluster].endpoints;
    let candidate = |id: &EndpointId| {
        let endpoint = &plan.endpoints[*id];
        Candidate {
            weight: endpoint.weight,
            load: Arc::clone(&endpoint.load),
            verdict: Arc::clone(endpoint.verdict()),
        }
    };
    let all: Vec<Candidate> = endpoints.iter().map(candidate).collect();
    let only = who_lists(plan, cluster, shown.model, all.len());
    let affinity = placing::affinity_of(
        &plan.clusters[cluster].placing,
        shown.head,
        shown.body,
        shown.model.map(str::as_bytes),
    );
    let bytes = shown.body.iter().map(|piece| piece.len() as u64).sum();
    let asked = Asked { affinity: &affinity, ..Asked::of_bytes(bytes) };
    let mut rng = Rng::new(1);
    let mut balancer = Balancer::start(&plan.clusters[cluster].balancing, all.len(), &mut rng);
    let mut from = Candidates { all: &all, tried: &[], only: only.as_ref(), with_held: false, now };
    let mut told = balancer.tell(from, &asked);
    if told.is_empty() {
        from.with_held = true;
        told = balancer.tell(from, &asked);
    }
    if let ([only], 1) = (&mut told[..], all.len()) {
        // Nobody picks where there is nothing to choose.
        (only.score, only.why) = (0.0, "there is no other");
        only.terms.clear();
    }
    let picked = balancer.pick(from, &asked, &mut rng);
    let least = told.iter().map(|told| told.score).fold(f64::INFINITY, f64::min);
    let placement = |(position, id): (usize, &EndpointId)| {
        let told = told.iter().find(|told| told.position == position);
        let is_picked = picked == Some(position);
        let why = match told {
            None => passed_over(&all[position], position, only.as_ref(), now).to_owned(),
            Some(told) if is_picked => told.why.to_owned(),
            Some(told) if told.score == least => {
                "as good as the one that is asked: chance decides".to_owned()
            }
            Some(_) => "another one has a lower score".to_owned(),
        };
        Placement {
            endpoint: *id,
            is_admitted: all[position].verdict.is_admitted(now),
            is_full: told.is_none()
                && all[position].is_full()
                && all[position].verdict.is_admitted(now)
                && only.as_ref().is_none_or(|only| only.contain(position)),
            score: told.map(|told| told.score),
            terms: told.map_or_else(Vec::new, |told| told.terms.clone()),
            is_picked,
            why,
        }
    };
    endpoints.iter().enumerate().map(placement).collect()
}

/// Why an endpoint takes no part.
fn passed_over(
    candidate: &Candidate,
    position: usize,
    only: Option<&Positions>,
    now: Instant,
) -> &'static str {
    match candidate.verdict.state(now) {
        _ if only.is_some_and(|only| !only.contain(position)) => "it does not list the model",
        "drained" => "an operator took it out",
        "unhealthy" => "its probes fail",
        "ejected" => "it failed too often",
        "trial" => "one request is finding out whether it is well again",
        _ if candidate.is_full() => "it has as many exchanges as it may",
        _ => "it asked to be left alone for a while",
    }
}

/// Those that list the model, where only those are asked.
fn who_lists(plan: &Plan, cluster: ClusterId, model: Option<&str>, count: usize) -> Option<Positions> {
    let cluster = &plan.clusters[cluster];
    cluster.settings.discover?;
    let listings = Seen::of(&cluster.listings);
    let listings = listings.now();
    match listings.who(model?) {
        Ok(who) => Some(who.clone()),
        Err(Unlisted::Nowhere) => Some(Positions::none_of(count)),
        // No list was read, as where no gateway runs: whoever has it may be any of them.
        Err(Unlisted::Unknown) => None,
    }
}
