//! What endpoints say they serve, put together for those who look at it, whenever one of them says something else.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::catalog::{Catalog, Said};
use super::types::{Action, ClusterPlan, EndpointPlan, Plan, RoutePlan};
use crate::base::glob::Glob;
use crate::base::ids::{ClusterId, EndpointId, IdVec, RouteId};
use crate::board::published::Published;
use crate::board::served::Served;
use crate::cluster::listings::Listings;
use crate::filter::{FilterPlan, Filters};
use crate::route::pattern::Pattern;

/// What is known of these endpoints of one cluster, to be looked at by lanes.
pub(super) fn published(
    own: &[EndpointId],
    all: &IdVec<EndpointId, EndpointPlan>,
) -> Arc<Published<Listings>> {
    Arc::new(Published::new(listings(own, all)))
}

fn listings(own: &[EndpointId], all: &IdVec<EndpointId, EndpointPlan>) -> Listings {
    Listings::of(&own.iter().map(|id| all[*id].served.list()).collect::<Vec<_>>())
}

/// What is told of models, where some route tells; then each cluster to which routes lead is asked for its own.
pub(super) fn catalog(
    clusters: &mut IdVec<ClusterId, ClusterPlan>,
    (endpoints, routes): (&IdVec<EndpointId, EndpointPlan>, &IdVec<RouteId, RoutePlan>),
    loaded_at: SystemTime,
) -> Option<Arc<Published<Catalog>>> {
    if !routes.iter().any(|route| matches!(route.action, Action::Models)) {
        return None;
    }
    for id in routes.iter().flat_map(|route| route.action.clusters()) {
        clusters[id].is_listed = true;
    }
    Some(Arc::new(Published::new(merged(clusters, (endpoints, routes), loaded_at))))
}

fn merged(
    clusters: &IdVec<ClusterId, ClusterPlan>,
    (endpoints, routes): (&IdVec<EndpointId, EndpointPlan>, &IdVec<RouteId, RoutePlan>),
    loaded_at: SystemTime,
) -> Catalog {
    let is_told =
        |id: &ClusterId| routes.iter().any(|route| route.action.clusters().any(|known| known == *id));
    let told = clusters.pairs().filter(|(id, _)| is_told(id)).flat_map(|(_, cluster)| &cluster.endpoints);
    let lists = told.filter_map(|id| endpoints[*id].served.list());
    let loaded = loaded_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Catalog::of(lists, &said(routes.iter()), loaded)
}

/// What these routes say of models.
fn said<'r>(routes: impl Iterator<Item = &'r RoutePlan> + Clone) -> Said {
    let mut said = Said::default();
    let routes = routes.filter(|route| route.action.clusters().next().is_some());
    for pattern in routes.clone().flat_map(patterns) {
        said.aliases.extend(pattern.exact().map(Arc::from));
    }
    let set = routes.clone().filter_map(|route| route.model_set.as_deref());
    let takes = |route: &RoutePlan, name: &str| {
        let mut patterns = patterns(route).peekable();
        route.model_set.is_none()
            && (patterns.peek().is_none() || patterns.any(|pattern| pattern.fits(name.as_bytes())))
    };
    let is_hidden = |name: &&str| !routes.clone().any(|route| takes(route, name));
    said.hidden.extend(set.filter(is_hidden).map(Arc::from));
    said
}

/// The models that routes and keys name without a star, sorted.
pub(super) fn named(routes: &IdVec<RouteId, RoutePlan>, filters: &Filters) -> Vec<Box<str>> {
    let taken = routes.iter().flat_map(patterns).filter_map(Pattern::exact);
    let set = routes.iter().filter_map(|route| route.model_set.as_deref());
    let keys = filters.iter().filter_map(|(_, filter)| match filter {
        FilterPlan::Keys(keys) => Some(keys),
        _ => None,
    });
    let holders = keys.flat_map(|keys| keys.named()).flat_map(|(_, holder)| holder.models.iter().flatten());
    let allowed = holders.filter_map(|glob| match glob {
        Glob::Exact(name) => Some(name.as_str()),
        Glob::Pieces(_) => None,
    });
    let mut named: Vec<Box<str>> = taken.chain(set).chain(allowed).map(Box::from).collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// What models a route takes; without any it takes all.
fn patterns(route: &RoutePlan) -> impl Iterator<Item = &Pattern> {
    let models = route.settings.matching.body.0.iter().filter(|(path, _)| path.value == "model");
    models.flat_map(|(_, values)| &values.0)
}

impl Plan {
    /// This plan came into force: lanes look at what is known now.
    pub fn relist(&self) {
        self.clusters.iter().for_each(|cluster| self.relist_cluster(cluster));
        self.merge_again();
    }

    /// The same where one endpoint said something new.
    pub fn relist_for(&self, served: &Arc<Served>) {
        for endpoint in self.endpoints.iter().filter(|endpoint| Arc::ptr_eq(&endpoint.served, served)) {
            self.relist_cluster(&self.clusters[endpoint.cluster]);
        }
        self.merge_again();
    }

    fn merge_again(&self) {
        if let Some(catalog) = &self.catalog {
            catalog.publish(merged(&self.clusters, (&self.endpoints, &self.routes), self.loaded_at));
        }
    }

    fn relist_cluster(&self, cluster: &ClusterPlan) {
        if cluster.settings.discover.is_some() {
            cluster.listings.publish(listings(&cluster.endpoints, &self.endpoints));
        }
    }
}
