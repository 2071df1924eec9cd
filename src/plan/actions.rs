//! What routes do: names of clusters become ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::types::{Action, Fanout, Mirror, Multi, Surroundings, Targets};
use crate::base::ids::ClusterId;
use crate::base::problem::{Placed, Problem};
use crate::codec::reply::LocalReply;
use crate::config::{
    FanoutConfig, MirrorConfig, MultiConfig, NamedRoute, RespondConfig, RouteConfig, Says, TargetConfig,
};

/// What a route does; none where that was told as a problem already.
pub(super) fn compile(
    route: &NamedRoute,
    (clusters, around): (&BTreeMap<&str, ClusterId>, &Surroundings<'_>),
    problems: &mut Vec<Problem>,
) -> Option<Action> {
    let RouteConfig { to, respond, fanout, multi, .. } = &route.settings;
    match (to, &respond.0, fanout, multi) {
        (Some(to), None, None, None) => {
            let mut found = Vec::new();
            for TargetConfig { cluster, weight } in &to.value.0 {
                match clusters.get(cluster.value.as_str()) {
                    Some(id) => found.push((*id, *weight)),
                    None => problems.push(unknown_cluster(route, cluster, clusters)),
                }
            }
            let mut fallback = Vec::new();
            for cluster in &route.settings.fallback {
                match clusters.get(cluster.value.as_str()) {
                    Some(id) => fallback.push(*id),
                    None => problems.push(unknown_cluster(route, cluster, clusters)),
                }
            }
            let mirror = mirror(route, (clusters, around), problems);
            Some(Action::Forward(Targets { shares: found, fallback, mirror }))
        }
        (None, Some(Says::Models), None, None) => Some(Action::Models),
        (None, Some(Says::This(respond)), None, None) => {
            let RespondConfig { status, body, content_type } = respond;
            Some(Action::Respond(LocalReply {
                status: *status,
                content_type: Bytes::from(content_type.value.clone()),
                fields: Vec::new(),
                body: Bytes::from(body.clone()),
            }))
        }
        (None, None, None, Some(multi)) => {
            let MultiConfig { max, lines, in_flight, answers } = multi.value;
            Some(Action::Multi(Multi {
                max: max as usize,
                lines: lines as usize,
                in_flight: in_flight as usize,
                answers,
            }))
        }
        (None, None, Some(fanout), None) => {
            let FanoutConfig { to, gather, need, timeout } = &fanout.value;
            let mut found = Vec::new();
            for cluster in to {
                match clusters.get(cluster.value.as_str()) {
                    Some(id) => found.push(*id),
                    None => problems.push(unknown_cluster(route, cluster, clusters)),
                }
            }
            let need = need.map_or(to.len() / 2 + 1, |need| usize::try_from(need).unwrap_or(usize::MAX));
            if need > to.len() && !to.is_empty() {
                problems.push(fanout.problem(
                    format!("route \"{}\" needs {need} good answers of {}", route.name.value, to.len()),
                    "no request could be answered",
                    format!("write need = {}, or less", to.len()),
                ));
            }
            Some(Action::Fanout(Fanout { to: found, gather: *gather, need, timeout: *timeout }))
        }
        // Told where it was read.
        _ => None,
    }
}

/// Who gets copies of what a route forwards; those under way are counted on through a reload.
fn mirror(
    route: &NamedRoute,
    (clusters, around): (&BTreeMap<&str, ClusterId>, &Surroundings<'_>),
    problems: &mut Vec<Problem>,
) -> Option<Box<Mirror>> {
    let MirrorConfig { cluster, share } = &route.settings.mirror.as_ref()?.value;
    let Some(id) = clusters.get(cluster.value.as_str()) else {
        problems.push(Problem {
            what: format!(
                "route \"{}\" copies its requests to cluster \"{}\", which is not defined",
                route.name.value, cluster.value
            ),
            why: "nobody would get a copy".to_owned(),
            ..unknown_cluster(route, cluster, clusters)
        });
        return None;
    };
    let mut known = around.previous.iter().flat_map(|plan| plan.routes.iter());
    let known = known.find(|known| known.name == route.name.value).and_then(|known| known.action.mirror());
    let in_flight = known.map_or_else(Arc::default, |known| Arc::clone(&known.in_flight));
    Some(Box::new(Mirror { cluster: *id, share: *share, in_flight }))
}

fn unknown_cluster(
    route: &NamedRoute,
    name: &Placed<String>,
    clusters: &BTreeMap<&str, ClusterId>,
) -> Problem {
    let known: Vec<_> = clusters.keys().map(|name| format!("\"{name}\"")).collect();
    let fix = match known.is_empty() {
        true => format!("add [cluster.{}]", name.value),
        false => format!("add [cluster.{}], or use one of: {}", name.value, known.join(", ")),
    };
    name.problem(
        format!(
            "route \"{}\" forwards to cluster \"{}\", which is not defined",
            route.name.value, name.value
        ),
        "each request on this route would be answered with 503",
        fix,
    )
}
