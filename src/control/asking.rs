//! Endpoints are asked what they serve and how they fare, some at once. Who does not answer keeps what it listed; what it said of
//! its load grows old.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::lookups::{Lookup, What};
use super::state::Control;
use crate::base::ids::EndpointId;
use crate::base::limits::{LOOKUP_TIME, METRICS_BYTES_MAX, MODEL_LIST_BYTES_MAX, SIGNAL_TIME, TICK};
use crate::base::model::Models;
use crate::base::say;
use crate::board::pressure::EVEN;
use crate::discovery::engine::model_lists;
use crate::discovery::signals::{METRICS, Signal};
use crate::plan::Plan;
use crate::proxy::lookup::{self, Target};

impl Control {
    /// Asks endpoints, for the life of the process.
    pub(super) async fn look_up(self: Rc<Self>) {
        loop {
            let plan = self.plan();
            if !self.lookups.follow(&plan, Instant::now()) {
                self.lookups.changed.wait().await;
                self.lookups.changed.clear();
                continue;
            }
            while let Some(lookup) = self.lookups.next(Instant::now()) {
                monoio::spawn(Rc::clone(&self).look_up_one(Arc::clone(&plan), lookup));
            }
            drop(plan);
            monoio::time::sleep(TICK).await;
        }
    }

    async fn look_up_one(self: Rc<Self>, plan: Arc<Plan>, lookup: Lookup) {
        let answered = self.guarded(self.take_in(&plan, &lookup)).await;
        let answered = answered.unwrap_or_else(|| Err("the gateway failed at it, which was told".to_owned()));
        let is_to_tell = self.lookups.settle(&lookup, answered.is_ok(), Instant::now());
        if answered.is_ok() {
            say::debug(format_args!(
                "the {} of {} were read",
                lookup.what.name(),
                plan.endpoints[lookup.id].url
            ));
        }
        if let (Err(why), true) = (answered, is_to_tell) {
            let url = &plan.endpoints[lookup.id].url;
            match lookup.what {
                What::Models => say::warn(format_args!(
                    "the models of {url} cannot be read\n  why: {why}\n  fix: nothing, if it passes: it is asked again, and what it listed before stays in force"
                )),
                What::Signals => say::warn(format_args!(
                    "the metrics of {url} cannot be read\n  why: {why}\n  fix: have the engine show them, or nothing: its load is known by what goes through here alone"
                )),
            }
        }
    }

    /// Asks, and takes in what is answered.
    async fn take_in(&self, plan: &Plan, lookup: &Lookup) -> Result<(), String> {
        match lookup.what {
            What::Models => {
                let models = models_of(plan, lookup.id).await?;
                if lookup.served.put(models) {
                    self.plan().relist_for(&lookup.served);
                }
            }
            What::Signals => {
                let asked = Instant::now();
                let level = signal_of(plan, lookup.id).await?.pressure() * EVEN as f64;
                plan.endpoints[lookup.id].load.pressure().note(level as u64, asked);
            }
        }
        Ok(())
    }
}

/// What the endpoint says that it serves, by the first of its engine's lists that can be read.
async fn models_of(plan: &Plan, id: EndpointId) -> Result<Models, String> {
    let endpoint = &plan.endpoints[id];
    let cluster = &plan.clusters[endpoint.cluster];
    let target = Target::of(endpoint, cluster);
    let mut why = None;
    for (question, listing) in model_lists(cluster.settings.engine) {
        let told = lookup::run(&target, question, MODEL_LIST_BYTES_MAX, LOOKUP_TIME).await;
        match told.and_then(|body| listing.read(&body)) {
            Ok(models) => return Ok(models),
            Err(error) => why = why.or(Some(error)),
        }
    }
    Err(why.unwrap_or_else(|| "its engine has no such list".to_owned()))
}

/// What the endpoint's metrics say of its load.
async fn signal_of(plan: &Plan, id: EndpointId) -> Result<Signal, String> {
    let endpoint = &plan.endpoints[id];
    let cluster = &plan.clusters[endpoint.cluster];
    let gauges = cluster.gauges().ok_or("its engine has none that tell of its load")?;
    let target = match gauges.port {
        Some(port) => Target::beside(endpoint, port).ok_or("on a Unix socket it has no other port")?,
        None => Target::of(endpoint, cluster),
    };
    let body = lookup::run(&target, &METRICS, METRICS_BYTES_MAX, SIGNAL_TIME).await?;
    gauges.read(&body).ok_or_else(|| "what its engine tells of its load is not among them".to_owned())
}
