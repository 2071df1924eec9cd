//! What endpoints say they serve, put together for those who look at it, whenever one of them says something else.

use std::sync::Arc;

use super::types::{ClusterPlan, EndpointPlan, Plan};
use crate::base::ids::{EndpointId, IdVec};
use crate::board::published::Published;
use crate::board::served::Served;
use crate::cluster::listings::Listings;

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

impl Plan {
    /// This plan came into force: lanes look at what is known now.
    pub fn relist(&self) {
        self.clusters.iter().for_each(|cluster| self.relist_cluster(cluster));
    }

    /// The same where one endpoint said something new.
    pub fn relist_for(&self, served: &Arc<Served>) {
        for endpoint in self.endpoints.iter().filter(|endpoint| Arc::ptr_eq(&endpoint.served, served)) {
            self.relist_cluster(&self.clusters[endpoint.cluster]);
        }
    }

    fn relist_cluster(&self, cluster: &ClusterPlan) {
        if cluster.settings.discover.is_some() {
            cluster.listings.publish(listings(&cluster.endpoints, &self.endpoints));
        }
    }
}
