//! Endpoints are asked what they serve, some at once; who does not answer keeps what was known of it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::state::Control;
use crate::base::ids::EndpointId;
use crate::base::limits::{MODEL_LIST_BYTES_MAX, TICK};
use crate::base::model::Models;
use crate::base::say::say;
use crate::board::served::Served;
use crate::discovery::engine::model_lists;
use crate::plan::Plan;
use crate::proxy::lookup;

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
            while let Some((id, served)) = self.lookups.next(Instant::now()) {
                monoio::spawn(Rc::clone(&self).look_up_one(Arc::clone(&plan), id, served));
            }
            drop(plan);
            monoio::time::sleep(TICK).await;
        }
    }

    async fn look_up_one(self: Rc<Self>, plan: Arc<Plan>, id: EndpointId, served: Arc<Served>) {
        let read = self.guarded(models_of(&plan, id)).await;
        let read = read.unwrap_or_else(|| Err("the gateway failed at it, which was told".to_owned()));
        let is_failing = self.lookups.settle(&served, read.is_ok(), Instant::now());
        match read {
            Ok(models) => {
                if served.put(models) {
                    self.plan().relist_for(&served);
                }
            }
            Err(why) if is_failing => say(format_args!(
                "the models of {} cannot be read\n  why: {why}\n  fix: nothing, if it passes: it is asked again, and what it listed before stays in force",
                plan.endpoints[id].url
            )),
            Err(_) => {}
        }
    }
}

/// What the endpoint says that it serves, by the first of its engine's lists that can be read.
async fn models_of(plan: &Plan, id: EndpointId) -> Result<Models, String> {
    let endpoint = &plan.endpoints[id];
    let cluster = &plan.clusters[endpoint.cluster];
    let mut why = None;
    for (question, listing) in model_lists(cluster.settings.engine) {
        let told = lookup::run(endpoint, cluster, question, MODEL_LIST_BYTES_MAX).await;
        match told.and_then(|body| listing.read(&body)) {
            Ok(models) => return Ok(models),
            Err(error) => why = why.or(Some(error)),
        }
    }
    Err(why.unwrap_or_else(|| "its engine has no such list".to_owned()))
}
