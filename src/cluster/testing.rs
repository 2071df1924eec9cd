//! Clusters without a plan, for tests.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::listings::Listings;
use super::{Cluster, Rules};
use crate::balance::{Balancing, Candidate};
use crate::base::ids::{ClusterId, Id, LaneId};
use crate::base::rng::Rng;
use crate::board::loads::EndpointLoad;
use crate::board::published::{Published, Seen};
use crate::board::verdicts::Verdict;
use crate::health::{self, Health};
use crate::retry::{self, RetryOn};

/// The usual rules.
pub(crate) fn rules(balancing: Balancing) -> Rules {
    Rules {
        balancing,
        retry: retry::Rules { attempts: 2, on: vec![RetryOn::Connect, RetryOn::Stale], share: 0.1 },
        health: health::Rules {
            consecutive_faults: 5,
            window: Duration::from_secs(30),
            share: 0.5,
            slow_start: Duration::from_secs(10),
            unhealthy_after: 3,
            healthy_after: 2,
        },
    }
}

/// So many endpoints, as lanes share them.
pub(crate) fn endpoints(count: usize, max_in_flight: Option<u64>) -> Vec<(Candidate, Arc<Health>)> {
    let endpoint = |_| {
        let verdict = Arc::new(Verdict::new(Instant::now()));
        let load = Arc::new(EndpointLoad::new(1, Instant::now()));
        load.set_most(max_in_flight);
        (Candidate { weight: 1, load, verdict: Arc::clone(&verdict) }, Arc::new(Health::new(verdict)))
    };
    (0..count).map(endpoint).collect()
}

/// One lane's cluster of them.
pub(crate) fn cluster(endpoints: &[(Candidate, Arc<Health>)], balancing: Balancing) -> Rc<Cluster> {
    with_rules(endpoints, rules(balancing), 5)
}

/// The same with these rules and this seed.
pub(crate) fn with_rules(endpoints: &[(Candidate, Arc<Health>)], rules: Rules, seed: u64) -> Rc<Cluster> {
    let ids = (ClusterId::at(0), LaneId::at(0));
    let (parts, now) = (endpoints.iter().cloned().unzip(), Instant::now());
    Cluster::start(ids, parts, Default::default(), rules, None, (Rng::new(seed), now))
}

/// The same, asking only those that list the model.
pub(crate) fn narrowing(endpoints: &[(Candidate, Arc<Health>)], listings: Listings) -> Rc<Cluster> {
    let ids = (ClusterId::at(0), LaneId::at(0));
    let (parts, now) = (endpoints.iter().cloned().unzip(), Instant::now());
    let listings = Some(Seen::of(&Arc::new(Published::new(listings))));
    Cluster::start(ids, parts, Default::default(), rules(Balancing::Random), listings, (Rng::new(5), now))
}
