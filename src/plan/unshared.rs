//! Fields that are written for one request, and that no call for several carries.

use std::collections::BTreeSet;

use super::types::{Action, ClusterPlan, RoutePlan};
use crate::base::ids::{ClusterId, FilterId, IdVec, ListenerId, RouteId};
use crate::base::problem::Problem;
use crate::codec::shared::is_compared;
use crate::config::NamedRoute;
use crate::filter::{FilterPlan, Filters};

/// Warns of them: who writes a field means it to arrive.
pub(super) fn find(
    written: &[NamedRoute],
    (routes, chains): (&IdVec<RouteId, RoutePlan>, &IdVec<ListenerId, Vec<FilterId>>),
    (filters, clusters): (&Filters, &IdVec<ClusterId, ClusterPlan>),
    warnings: &mut Vec<Problem>,
) {
    for (route, written) in routes.iter().zip(written) {
        let Action::Forward(targets) = &route.action else { continue };
        let met = chains.iter().flatten().chain(&route.chain);
        let by_filters = met.flat_map(|id| said(&filters[*id].1));
        let by_route = route.field_edits.iter().flat_map(|edits| edits.rules.said());
        let names: BTreeSet<String> = by_filters.chain(by_route).map(str::to_ascii_lowercase).collect();
        for (id, _) in &targets.shares {
            let cluster = &clusters[*id];
            let Some(sharing) = &cluster.sharing else { continue };
            let keyed = sharing.batching.as_ref().map_or(&[][..], |batching| &batching.key_headers);
            let lost = names.iter().filter(|name| !is_compared(name.as_bytes(), keyed));
            warnings.extend(lost.map(|name| {
                written.name.problem(
                    format!(
                        "the field {name} that is written for requests of the route \"{}\" does not reach cluster \"{}\" where several share a call",
                        route.name, cluster.name
                    ),
                    "a call for several carries what they were compared by, and nothing else of any of them",
                    match sharing.batching {
                        Some(_) => "name it in `batch.key_headers`, which compares it too, or share nothing there",
                        None => "share nothing there (`single_flight`, `cache`), or do not write it",
                    },
                )
            }));
        }
    }
}

/// The fields that a filter writes into requests.
fn said(filter: &FilterPlan) -> impl Iterator<Item = &str> {
    let (edits, add) = match filter {
        FilterPlan::Headers(headers) => (Some(&headers.request.rules), None),
        FilterPlan::Ask(ask) => (None, Some(&ask.add)),
        _ => (None, None),
    };
    edits.into_iter().chain(add).flat_map(|rules| rules.said())
}
