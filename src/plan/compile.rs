//! Config to plan, or all problems at once: defaults are filled, names become ids, ranges become types.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::fixed;
use super::routes::{self, Rows};
use super::{
    AccessLogPlan, Action, ClusterPlan, EndpointPlan, HostRule, LimitsPlan, ObservePlan, Plan, RoutePlan,
    Timeouts,
};
use crate::balance::BalancerKind;
use crate::base::address::Address;
use crate::base::ids::{ClusterId, EndpointId, Id, IdVec, RouteId};
use crate::base::limits as bound;
use crate::base::problem::{Placed, Problem};
use crate::board::buffered::Budget;
use crate::board::loads::EndpointLoad;
use crate::board::verdicts::Verdict;
use crate::codec::reply::LocalReply;
use crate::config::url::EndpointAddress;
use crate::config::{ActionConfig, ClusterConfig, Config, EndpointConfig, ObserveConfig, RouteConfig};
use crate::discovery::dns::Resolved;
use crate::pool::IdleLimit;

/// What compilation needs besides the configuration.
pub struct Surroundings<'a> {
    /// The text as written.
    pub written: &'a str,
    /// Addresses of the endpoints' hosts.
    pub resolved: &'a Resolved,
    /// How many lanes will run the plan.
    pub lanes: usize,
    /// The cores that lanes can be pinned to.
    pub cores: &'a [usize],
    /// The plan in force, whose endpoints keep their cells on the board.
    pub previous: Option<&'a Plan>,
    /// When this happens.
    pub now: SystemTime,
    /// Whether all of the configuration was understood. Where it was not, nothing is said that the missing parts
    /// would change.
    pub is_whole: bool,
}

/// Compiles `config`. The only way to a plan.
pub fn compile(config: &Config, around: &Surroundings<'_>) -> Result<Plan, Vec<Problem>> {
    let mut problems = Vec::new();
    let server = fixed::server(config, around, &mut problems);
    let listeners = fixed::listeners(config, &server, &mut problems);
    if let Some(previous) = around.previous {
        fixed::check_unchanged(config, (&server, &listeners), previous, &mut problems);
    }
    let mut clusters = IdVec::new();
    let mut endpoints = IdVec::new();
    let mut names = BTreeMap::new();
    for cluster in &config.clusters {
        let id = ClusterId::at(clusters.len());
        names.insert(cluster.name.value.as_str(), id);
        clusters.push(compile_cluster(id, cluster, &mut endpoints, around, &mut problems));
    }
    let body_max = config.limits.body.unwrap_or(bound::BODY_BYTES_MAX);
    let buffered = config.limits.buffered.unwrap_or(bound::BUFFERED_BYTES_MAX);
    let mut routes = IdVec::new();
    let mut rows = Rows::default();
    for route in &config.routes {
        let Some(action) = compile_action(route, &names, &mut problems) else { continue };
        let body_max = route.body.unwrap_or(body_max);
        let rewrite = route.rewrite.as_ref().map(|rewrite| rewrite.value.clone()).unwrap_or_default();
        let name = route.name.value.clone();
        let id: RouteId = routes.push(RoutePlan { name, action, rewrite, body_max });
        rows.add(route, id, &mut problems);
        routes::check_rewrite(route, &mut problems);
        if around.is_whole {
            routes::check_room(route, body_max, buffered, &mut problems);
        }
    }
    if config.routes.is_empty() {
        problems.push(no_route(config));
    }
    if around.is_whole {
        rows.find_shadows(&mut problems);
    }
    problems.sort_by(|a, b| a.place.cmp(&b.place));
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Plan {
        generation: around.previous.map_or(1, |plan| plan.generation + 1),
        lanes: around.lanes,
        loaded_at: around.now,
        written: around.written.to_owned(),
        server,
        listeners,
        limits: LimitsPlan {
            connections: config.limits.connections.unwrap_or(bound::CONNECTIONS_MAX),
            head_bytes: config.limits.head.map_or(bound::HEAD_BYTES_MAX, |size| size as usize),
            body: body_max,
            buffered,
            body_rate: config.limits.body_rate.unwrap_or(bound::BODY_RATE),
            head_timeout: config.limits.head_timeout.unwrap_or(Some(bound::HEAD_TIMEOUT)),
            idle_timeout: config.limits.idle_timeout.unwrap_or(Some(bound::IDLE_TIMEOUT)),
            write_timeout: config.limits.write_timeout.unwrap_or(Some(bound::WRITE_TIMEOUT)),
        },
        clusters,
        endpoints,
        routes,
        table: rows.into_table(),
        observe: observe(&config.observe),
        budget: match around.previous {
            Some(plan) if plan.budget.max() == buffered => Arc::clone(&plan.budget),
            _ => Arc::new(Budget::new(buffered)),
        },
    })
}

fn observe(config: &ObserveConfig) -> ObservePlan {
    let access_log = config.access_log.clone().flatten();
    ObservePlan {
        access_log: access_log.map(|log| AccessLogPlan {
            to: log.to.value,
            format: log.format,
            sample: log.sample,
        }),
        server_timing: config.server_timing.unwrap_or(false),
    }
}

fn compile_cluster(
    id: ClusterId,
    config: &ClusterConfig,
    all: &mut IdVec<EndpointId, EndpointPlan>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> ClusterPlan {
    let mut own = Vec::new();
    for endpoint in &config.endpoints {
        if let Some(addresses) = addresses(endpoint, around.resolved, problems) {
            let (load, verdict) = cells(&config.name.value, &endpoint.url.value.text, around);
            own.push(all.push(EndpointPlan {
                cluster: id,
                url: endpoint.url.value.text.clone(),
                addresses,
                base: endpoint.url.value.base.clone(),
                host: endpoint.url.value.authority(),
                weight: endpoint.weight.unwrap_or(1),
                load,
                verdict,
            }));
        }
    }
    ClusterPlan {
        name: config.name.value.clone(),
        endpoints: own,
        balancer: config.balance.unwrap_or(BalancerKind::LeastWork),
        host: config.host.unwrap_or(HostRule::Endpoint),
        timeouts: Timeouts {
            connect: config.connect.unwrap_or(bound::CONNECT_TIMEOUT),
            first_byte: config.first_byte.flatten(),
            between_bytes: config.between_bytes.unwrap_or(Some(bound::BETWEEN_BYTES_TIMEOUT)),
            total: config.total.flatten(),
        },
        idle: config.idle.flatten().map_or(IdleLimit::Auto, IdleLimit::Fixed),
        max_idle: config.max_idle.unwrap_or(bound::IDLE_PER_ENDPOINT_MAX),
    }
}

fn addresses(
    endpoint: &EndpointConfig,
    resolved: &Resolved,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Address>> {
    match &endpoint.url.value.address {
        EndpointAddress::Unix(path) => Some(vec![Address::Unix(path.clone())]),
        EndpointAddress::Tcp { host, port } => match resolved.get(host, *port) {
            Ok(found) => Some(found.iter().copied().map(Address::Tcp).collect()),
            Err(error) => {
                problems.push(endpoint.url.problem(
                    format!("the host \"{host}\" cannot be resolved"),
                    format!("nothing could be sent to it; the resolver says: {error}"),
                    "correct the name, or write its address",
                ));
                None
            }
        },
    }
}

/// The cells of an endpoint that stays, or new ones.
fn cells(cluster: &str, url: &str, around: &Surroundings<'_>) -> (Arc<EndpointLoad>, Arc<Verdict>) {
    let known = around.previous.and_then(|plan| {
        plan.endpoints
            .iter()
            .find(|endpoint| endpoint.url == url && plan.clusters[endpoint.cluster].name == cluster)
    });
    match known {
        Some(endpoint) => (Arc::clone(&endpoint.load), Arc::clone(&endpoint.verdict)),
        None => (Arc::new(EndpointLoad::new(around.lanes)), Arc::default()),
    }
}

fn compile_action(
    route: &RouteConfig,
    clusters: &BTreeMap<&str, ClusterId>,
    problems: &mut Vec<Problem>,
) -> Option<Action> {
    match route.action.as_ref()? {
        ActionConfig::To(targets) => {
            let mut found = Vec::new();
            for (name, weight) in targets {
                match clusters.get(name.value.as_str()) {
                    Some(id) => found.push((*id, *weight)),
                    None => problems.push(unknown_cluster(route, name, clusters)),
                }
            }
            Some(Action::Forward(found))
        }
        ActionConfig::Respond(respond) => Some(Action::Respond(LocalReply {
            status: respond.status,
            content_type: Bytes::from(
                respond.content_type.clone().unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
            ),
            fields: Vec::new(),
            body: Bytes::from(respond.body.clone()),
        })),
    }
}

fn unknown_cluster(
    route: &RouteConfig,
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

fn no_route(config: &Config) -> Problem {
    Placed { value: (), place: fixed::whole(config) }.problem(
        "there is no route",
        "each request would be answered with 404",
        "add [[route]] with to = \"CLUSTER\"",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::ids::ListenerId;
    use crate::config::text::read;

    fn plan(text: &str, previous: Option<&Plan>) -> Result<Plan, Vec<Problem>> {
        let reading = read("f.toml", text);
        assert_eq!(reading.problems, []);
        let config = reading.config.unwrap();
        let resolved = Resolved::look_up([("127.0.0.1", 1), ("127.0.0.1", 2)]);
        let now = SystemTime::UNIX_EPOCH;
        compile(
            &config,
            &Surroundings {
                written: text,
                resolved: &resolved,
                lanes: 2,
                cores: &[0, 1],
                previous,
                now,
                is_whole: true,
            },
        )
    }

    const TWO: &str =
        "[cluster.a]\nendpoints = [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"]\n[[route]]\nto = \"a\"\n";

    #[test]
    fn defaults_are_the_contracts() {
        let plan = plan(TWO, None).unwrap();
        assert_eq!(plan.limits.connections, 10_000);
        assert_eq!(plan.limits.head_timeout, Some(Duration::from_secs(10)));
        assert_eq!(plan.listeners[ListenerId::at(0)].address.to_string(), "127.0.0.1:8080");
        assert_eq!(plan.server.admin.unwrap().to_string(), "127.0.0.1:9901");
        assert_eq!(plan.routes[RouteId::at(0)].body_max, 64 << 20);
        let cluster = &plan.clusters[ClusterId::at(0)];
        assert_eq!((cluster.balancer, cluster.max_idle), (BalancerKind::LeastWork, 128));
        assert_eq!(cluster.timeouts.first_byte, None);
        assert_eq!(cluster.timeouts.between_bytes, Some(Duration::from_secs(300)));
    }

    #[test]
    fn an_endpoint_that_stays_keeps_its_cells() {
        let old = plan(TWO, None).unwrap();
        let one = "[cluster.a]\nendpoints = [\"http://127.0.0.1:2\"]\n[[route]]\nto = \"a\"\n";
        let new = plan(one, Some(&old)).unwrap();
        assert_eq!(new.generation, 2);
        let (kept, was) = (&new.endpoints[EndpointId::at(0)], &old.endpoints[EndpointId::at(1)]);
        assert!(Arc::ptr_eq(&kept.load, &was.load));
    }

    #[test]
    fn cores_are_those_that_can_be_used() {
        let problems = plan(&format!("[server]\ncores = \"0-3\"\n{TWO}"), None).unwrap_err();
        assert_eq!(problems[0].what, "core 2 cannot be used by this process");
        assert_eq!(problems[0].fix, "use some of: 0, 1");
    }

    #[test]
    fn what_is_made_at_start_stays() {
        let old = plan(TWO, None).unwrap();
        let head =
            "[server]\nio = \"epoll\"\nlanes = 2\ncores = \"1\"\n[[listener]]\naddress = \"127.0.0.1:9\"\n";
        let problems = plan(&format!("{head}{TWO}"), Some(&old)).unwrap_err();
        let told: Vec<_> = problems.iter().map(|p| format!("{} {}", p.place, p.what)).collect();
        assert_eq!(
            told,
            [
                "f.toml:2:6 `io` cannot change while the gateway runs",
                "f.toml:3:9 `lanes` cannot change while the gateway runs",
                "f.toml:4:9 `cores` names 1 core for 2 lanes",
                "f.toml:4:9 `cores` cannot change while the gateway runs",
                "f.toml:6:11 the addresses of [[listener]] cannot change while the gateway runs",
            ]
        );
    }

    #[test]
    fn a_dangling_name_and_a_shadowed_route_are_both_told() {
        let text = format!(
            "{TWO}[[route]]\nname = \"late\"\nto = \"a\"\n[[route]]\nmatch = {{ path = \"/x\" }}\nto = \"b\"\n"
        );
        let problems = plan(&text, None).unwrap_err();
        let texts: Vec<_> = problems.iter().map(|problem| problem.what.as_str()).collect();
        assert_eq!(
            texts,
            [
                "route \"late\" can never win",
                "route \"route-3\" forwards to cluster \"b\", which is not defined"
            ]
        );
        assert_eq!(problems[1].fix, "add [cluster.b], or use one of: \"a\"");
    }
}
