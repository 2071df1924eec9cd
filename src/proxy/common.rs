//! What requests that are answered by one call have in common, as it would go upstream after all that filters change in it.

use std::sync::Arc;

use bytes::Bytes;

use super::decide::write_upstream;
use super::request::Request;
use crate::base::digest::Digest;
use crate::base::ids::ClusterId;
use crate::codec::edit::Side;
use crate::codec::head::RequestHead;
use crate::codec::shared::carried;
use crate::codec::split::request_apart;
use crate::plan::{Sharing, Targets};

/// Where a request goes whose cluster shares answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination<'p> {
    /// The cluster that is asked first, and where else its route goes.
    pub(super) first: ClusterId,
    pub(super) targets: &'p Targets,
    pub(super) sharing: &'p Arc<Sharing>,
}

/// What a call for several carries of one, and what they must have alike.
#[derive(Debug)]
pub(super) struct Common {
    /// Fields, as lines.
    pub(super) carried: Vec<u8>,
    /// Where it goes, and what is carried.
    pub(super) alike: Digest,
    /// The same without credentials.
    pub(super) open: Digest,
}

impl Common {
    /// Of a request that goes there; none where what is added to it leaves no room.
    ///
    /// Where each of these clusters puts its own credential in the place of the client's, that takes no part. A cluster's own
    /// is never carried: another one could be asked in its place.
    pub(super) fn of(request: &Request, destination: Destination<'_>) -> Option<Self> {
        let Destination { first, targets, sharing } = destination;
        let plan = &request.plan.plan;
        let more = sharing.batching.as_ref().map_or(&[][..], |batching| &batching.key_headers);
        let mut asked = std::iter::once(&first).chain(&targets.fallback);
        let passing = asked.find(|id| plan.clusters[**id].settings.auth.is_none());
        let upstream = upstream_head(request, *passing.unwrap_or(&first))?;
        let all = carried(&request.head, &upstream, more, passing.is_some());
        let uncredited = carried(&request.head, &upstream, more, false);
        let (route, settings) = request.route();
        let target = settings.rewrite.apply(request.head.path_and_query());
        let digest = |fields: &[u8]| {
            let name = plan.routes[route].name.as_bytes();
            let parts = [request.head.method_bytes(), request.head.authority(), &target, name, fields];
            Digest::of_all(&parts)
        };
        Some(Self { alike: digest(&all), open: digest(&uncredited), carried: all })
    }
}

/// What would go to an endpoint of `cluster`.
fn upstream_head(request: &Request, cluster: ClusterId) -> Option<RequestHead> {
    let plan = &request.plan.plan;
    let endpoint = *plan.clusters[cluster].endpoints.first()?;
    let edits = request.edits(Side::Request);
    let identity = request.identity(&edits, true, false);
    let mut out = Vec::new();
    write_upstream(&mut out, plan, (request.route().0, endpoint), &request.head, &identity);
    request_apart(Bytes::from(out)).ok()
}
