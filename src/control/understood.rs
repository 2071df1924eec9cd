//! `/config`: the configuration as written and as understood.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Control;
use crate::base::choice::{HalfClose, HostRule, LogTarget, ProxyProtocol};
use crate::metrics::access::Format;
use crate::plan::{Action, ClusterPlan, ObservePlan, Plan, RoutePlan};
use crate::pool::IdleLimit;

impl Control {
    /// The document of `/config`.
    pub(super) fn config(&self) -> Value {
        let plan = self.plan();
        json!({ "generation": plan.generation, "written": plan.written, "understood": understood(&plan) })
    }
}

fn understood(plan: &Plan) -> Value {
    let server = &plan.server;
    let listeners: Vec<_> = plan
        .listeners
        .iter()
        .map(|listener| {
            let on_half_close = match listener.on_half_close {
                HalfClose::Cancel => "cancel",
                HalfClose::Finish => "finish",
            };
            let proxy_protocol = match listener.proxy_protocol {
                ProxyProtocol::Off => "off",
                ProxyProtocol::V1 => "v1",
                ProxyProtocol::V2 => "v2",
            };
            json!({
                "address": listener.address.to_string(),
                "trusted": listener.trusted.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "proxy_protocol": proxy_protocol,
                "on_half_close": on_half_close,
            })
        })
        .collect();
    let clusters: Map<_, _> =
        plan.clusters.iter().map(|known| (known.name.clone(), cluster(plan, known))).collect();
    let routes: Vec<_> = plan.table.rows().map(|(_, id)| route(plan, &plan.routes[id])).collect();
    json!({
        "server": {
            "cores": server.cores,
            "lanes": plan.lanes,
            "io": server.io.map_or("auto", |io| io.name()),
            "admin": server.admin.as_ref().map_or("off".to_owned(), ToString::to_string),
            "drain": duration(Some(server.drain)),
            "drain_delay": duration(Some(server.drain_delay)),
        },
        "listener": listeners,
        "limits": {
            "connections": plan.limits.connections,
            "head": plan.limits.head_bytes,
            "body": plan.limits.body,
            "buffered": plan.limits.buffered,
            "body_rate": plan.limits.body_rate,
            "head_timeout": duration(plan.limits.head_timeout),
            "idle_timeout": duration(plan.limits.idle_timeout),
            "write_timeout": duration(plan.limits.write_timeout),
        },
        "observe": observe(&plan.observe),
        "cluster": clusters,
        "route": routes,
    })
}

fn observe(observe: &ObservePlan) -> Value {
    let access_log = observe.access_log.as_ref().map_or(json!("off"), |log| {
        let to = match &log.to {
            LogTarget::Stdout => "stdout".to_owned(),
            LogTarget::Stderr => "stderr".to_owned(),
            LogTarget::File(path) => path.display().to_string(),
        };
        let format = match &log.format {
            Format::Json => "json",
            Format::Template(_) => "template",
        };
        json!({ "to": to, "format": format, "sample": format!("{}%", log.sample * 100.0) })
    });
    json!({ "access_log": access_log, "server_timing": observe.server_timing })
}

fn cluster(plan: &Plan, cluster: &ClusterPlan) -> Value {
    let endpoints: Vec<_> = cluster
        .endpoints
        .iter()
        .map(|id| {
            let endpoint = &plan.endpoints[*id];
            let addresses: Vec<_> = endpoint.addresses.iter().map(ToString::to_string).collect();
            json!({ "url": endpoint.url, "addresses": addresses, "weight": endpoint.weight })
        })
        .collect();
    let host = match cluster.host {
        HostRule::Endpoint => "endpoint",
        HostRule::Keep => "keep",
    };
    let idle = match cluster.idle {
        IdleLimit::Auto => "auto".to_owned(),
        IdleLimit::Fixed(limit) => duration(Some(limit)),
    };
    json!({
        "endpoints": endpoints,
        "balance": cluster.balancer.name(),
        "host": host,
        "timeout": {
            "connect": duration(Some(cluster.timeouts.connect)),
            "first_byte": duration(cluster.timeouts.first_byte),
            "between_bytes": duration(cluster.timeouts.between_bytes),
            "total": duration(cluster.timeouts.total),
        },
        "keep_alive": { "idle": idle, "max_idle": cluster.max_idle },
    })
}

/// Routes stand in the order in which they are tried.
fn route(plan: &Plan, route: &RoutePlan) -> Value {
    let action = match &route.action {
        Action::Forward(targets) => {
            let target =
                |(id, weight): &(_, u32)| json!({ "cluster": plan.clusters[*id].name, "weight": weight });
            json!({ "to": targets.iter().map(target).collect::<Vec<_>>() })
        }
        Action::Respond(reply) => json!({ "respond": { "status": reply.status } }),
    };
    let rewrite = json!({ "strip": route.rewrite.strip, "add": route.rewrite.add });
    json!({ "name": route.name, "body": route.body_max, "rewrite": rewrite, "action": action })
}

fn duration(value: Option<Duration>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) if value.subsec_millis() == 0 => format!("{}s", value.as_secs()),
        Some(value) => format!("{}ms", value.as_millis()),
    }
}
