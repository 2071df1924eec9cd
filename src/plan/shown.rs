//! A plan as JSON, in the shape of the configuration file: what was understood, with every default and address.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::types::{Action, ClusterPlan, EndpointPlan, Plan, RoutePlan};
use crate::codec::reply::LocalReply;
use crate::config::FilterConfig;
use crate::config::key::Kind;
use crate::config::reader::Setting;
use crate::config::units::show_size;

// Every structure is taken apart by all its fields: a new one must be thought about here.

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self {
            generation: _,
            lanes,
            loaded_at: _,
            written: _,
            text: _,
            server,
            listeners,
            limits,
            filters: _,
            filter_settings,
            chains: _,
            clusters,
            endpoints: _,
            catalog: _,
            routes,
            table,
            judged: _,
            observe,
            records: _,
            audit: _,
            files: _,
            warnings: _,
            budget: _,
            reads_bodies: _,
            edits_fields: _,
            models: _,
        } = self;
        let mut server = json!(server);
        server["lanes"] = json!(lanes);
        let clusters: Map<_, _> =
            clusters.iter().map(|known| (known.name.clone(), cluster(self, known))).collect();
        // In the order in which they are tried; a list of values makes several rows of one route.
        let mut order = Vec::new();
        for (_, id) in table.rows() {
            if !order.contains(&id) {
                order.push(id);
            }
        }
        json!({
            "server": server,
            "listener": listeners.iter().collect::<Vec<_>>(),
            "limits": limits,
            "filter": filter_settings.show(&Kind::Named(&FilterConfig::KINDS)),
            "cluster": clusters,
            "route": order.into_iter().map(|id| route(self, &routes[id])).collect::<Vec<_>>(),
            "observe": observe,
        })
        .serialize(to)
    }
}

fn cluster(plan: &Plan, cluster: &ClusterPlan) -> Value {
    let ClusterPlan { name: _, endpoints, settings, .. } = cluster;
    let mut shown = json!(settings);
    shown["endpoints"] = endpoints.iter().map(|id| endpoint(&plan.endpoints[*id])).collect();
    shown
}

fn endpoint(endpoint: &EndpointPlan) -> Value {
    let EndpointPlan {
        cluster: _,
        url,
        addresses,
        tls: _,
        base,
        host,
        weight,
        max_in_flight,
        load: _,
        health: _,
        served: _,
    } = endpoint;
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let mut shown =
        json!({ "url": url, "weight": weight, "addresses": addresses, "base": base, "host": host });
    if let Some(most) = max_in_flight {
        shown["max_in_flight"] = json!(most);
    }
    shown
}

fn route(plan: &Plan, route: &RoutePlan) -> Value {
    // What `rewrite` and the edits do stands in the settings as it was written.
    let RoutePlan { name, action, body_max, settings, .. } = route;
    let mut shown = json!(settings);
    shown["name"] = json!(name);
    shown["body"] = json!(show_size(*body_max));
    match action {
        Action::Forward(targets) => {
            let target =
                |(id, weight): &(_, u32)| json!({ "cluster": plan.clusters[*id].name, "weight": weight });
            shown["to"] = targets.shares.iter().map(target).collect();
        }
        Action::Fanout(fanout) => shown["fanout"]["need"] = json!(fanout.need),
        Action::Multi(_) | Action::Models => {}
        Action::Respond(reply) => {
            let LocalReply { status, content_type, fields: _, body } = reply;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            shown["respond"] =
                json!({ "status": status, "body": text(body), "content_type": text(content_type) });
        }
    }
    shown
}
