//! What the things of past plans were called: a record of the flight recorder has their positions.

use std::collections::VecDeque;

use crate::base::ids::{EndpointId, Id, RouteId};
use crate::base::limits::NAMED_PLANS_MAX;
use crate::plan::Plan;

/// Names of the things of past plans: a record has their positions.
#[derive(Debug, Default)]
pub(super) struct Named {
    plans: VecDeque<PlanNames>,
}

/// Names of the things of one plan.
#[derive(Debug)]
pub(super) struct PlanNames {
    generation: u64,
    routes: Vec<String>,
    /// Cluster and URL.
    endpoints: Vec<(String, String)>,
}

impl Named {
    /// A plan is in force.
    pub(super) fn note(&mut self, plan: &Plan) {
        let endpoints = plan.endpoints.iter();
        self.plans.push_front(PlanNames {
            generation: plan.generation,
            routes: plan.routes.iter().map(|route| route.name.clone()).collect(),
            endpoints: endpoints
                .map(|endpoint| (plan.clusters[endpoint.cluster].name.clone(), endpoint.url.clone()))
                .collect(),
        });
        self.plans.truncate(NAMED_PLANS_MAX);
    }

    pub(super) fn of(&self, generation: u64) -> Option<&PlanNames> {
        self.plans.iter().find(|names| names.generation == generation)
    }

    /// Whether some plan had a route and an endpoint of these names.
    pub(super) fn has(&self, route: Option<&String>, endpoint: Option<&String>) -> Result<(), String> {
        let some = |has: &dyn Fn(&PlanNames) -> bool| self.plans.iter().any(has);
        match (route, endpoint) {
            (Some(route), _) if !some(&|names| names.routes.contains(route)) => {
                Err(format!("there is no route \"{route}\""))
            }
            (_, Some(url)) if !some(&|names| names.endpoints.iter().any(|(_, known)| known == url)) => {
                Err(format!("there is no endpoint \"{url}\"; write its URL as in the configuration"))
            }
            _ => Ok(()),
        }
    }
}

impl PlanNames {
    pub(super) fn route(&self, id: Option<RouteId>) -> Option<&str> {
        self.routes.get(id?.position()).map(String::as_str)
    }

    pub(super) fn endpoint(&self, id: Option<EndpointId>) -> Option<(&str, &str)> {
        let (cluster, url) = self.endpoints.get(id?.position())?;
        Some((cluster, url))
    }
}
