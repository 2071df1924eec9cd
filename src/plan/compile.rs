//! Config to plan, or all problems at once: defaults are filled, names become ids, ranges become types.

use std::collections::HashMap;
use std::sync::Arc;

use super::actions;
use super::balancing;
use super::chains;
use super::edits;
use super::filters;
use super::fixed;
use super::listing;
use super::placing::Placing;
use super::routes::{self, Rows};
use super::sharing::Sharing;
use super::trusts::{self, Trusts};
pub use super::types::Surroundings;
use super::types::{Action, ClusterPlan, EndpointPlan, Plan, RoutePlan};
use super::unshared;
use crate::admission::Queue;
use crate::base::address::Address;
use crate::base::choice::{BatchProtocol, Words};
use crate::base::ids::{ClusterId, EndpointId, FilterId, Id, IdVec, RouteId};
use crate::base::problem::{Placed, Problem};
use crate::base::secret::Secret;
use crate::base::trust::Trust;
use crate::board::buffered::Budget;
use crate::board::loads::EndpointLoad;
use crate::board::served::Served;
use crate::board::verdicts::Verdict;
use crate::config::url::EndpointAddress;
use crate::config::{BatchConfig, ClusterConfig, Config, EndpointConfig, NamedRoute};
use crate::discovery::dns::Resolved;
use crate::filter::Filters;
use crate::health::{Health, Ward};
use crate::metrics::records::Records;
use crate::route::RouteTable;
use crate::route::matcher::PathRule;
use crate::route::rewrite::Rewrite;

/// Compiles `config`. The only way to a plan.
pub fn compile(config: &Config, around: &Surroundings<'_>) -> Result<Plan, Vec<Problem>> {
    let mut problems = Vec::new();
    let server = fixed::server(config, around, &mut problems);
    let listeners = fixed::listeners(config, around, &mut problems);
    if let Some(previous) = around.previous {
        fixed::check_unchanged(config, (&server, &listeners), (previous, around), &mut problems);
    }
    let trusts = Trusts::of(config, &mut problems);
    let (mut clusters, endpoints) = compile_clusters(config, around, &trusts, &mut problems);
    filters::find_unreachable(config, around.resolved, &trusts, &mut problems);
    let names = clusters.pairs().map(|(id, cluster)| (cluster.name.as_str(), id)).collect();
    let filters = chains::Names::of(config);
    let chains = filters.of_listeners(&config.listeners, &mut problems);
    let mut routes = IdVec::new();
    let mut rows = Rows::default();
    for route in &config.routes {
        let Some(action) = actions::compile(route, (&names, around), &mut problems) else { continue };
        let whose = format!("route \"{}\"", route.name.value);
        let chain = filters.chain(&whose, &route.settings.filters, &mut problems);
        let compiled = compile_route(route, (chain, action), (&clusters, config.limits.body), &mut problems);
        let id: RouteId = routes.push(compiled);
        rows.add(route, id, &mut problems);
        routes::check_rewrite(route, &mut problems);
        if around.is_whole {
            let reader = filters.reader_of(&routes[id].chain, &chains);
            routes::check_room(route, (&routes[id], reader), config.limits.buffered, &mut problems);
        }
    }
    find_useless(config, around, &rows, &mut problems);
    problems.sort_by(|a, b| a.place.cmp(&b.place));
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut warnings = Vec::new();
    let known = filters::Known { routes: by_name(&routes), warnings: &mut warnings, around, trusts: &trusts };
    let filters = filters::filters(config, known);
    chains::find_disorder(config, &mut warnings);
    unshared::find(&config.routes, (&routes, &chains), (&filters, &clusters), &mut warnings);
    let table = rows.into_table();
    let catalog = listing::catalog(&mut clusters, (&endpoints, &routes), around.now);
    Ok(Plan {
        generation: around.previous.map_or(1, |plan| plan.generation + 1),
        lanes: around.lanes,
        loaded_at: around.now,
        written: around.written.to_owned(),
        text: Secret::new(around.text),
        server,
        listeners,
        limits: config.limits.clone(),
        judged: judged(&table, &filters, &clusters, &routes),
        edits_fields: edits_fields(&filters, &routes),
        reads_bodies: reads_bodies(config, &routes),
        models: listing::named(&routes, &filters),
        filters,
        filter_settings: config.filters.clone(),
        chains,
        clusters,
        endpoints,
        catalog,
        routes,
        table,
        observe: config.observe.clone(),
        records: records(config.observe.recorder, around),
        audit: around.previous.map_or_else(Arc::default, |plan| Arc::clone(&plan.audit)),
        files: around.files.to_vec(),
        warnings,
        budget: budget(config.limits.buffered, around),
    })
}

/// What would do nothing, once all is known.
fn find_useless(config: &Config, around: &Surroundings<'_>, rows: &Rows<'_>, problems: &mut Vec<Problem>) {
    if !around.is_whole {
        return;
    }
    if config.routes.is_empty() {
        problems.push(no_route(around));
    }
    rows.find_shadows(problems);
    chains::find_unused(config, problems);
}

/// Whether a filter looks into bodies, or a route for the model.
fn reads_bodies(config: &Config, routes: &IdVec<RouteId, RoutePlan>) -> bool {
    config.filters.0.iter().any(|(_, filter)| filter.reads_bodies())
        || routes.iter().any(|route| route.narrows)
}

fn by_name(routes: &IdVec<RouteId, RoutePlan>) -> HashMap<&str, RouteId> {
    routes.pairs().map(|(id, route)| (route.name.as_str(), id)).collect()
}

/// Whether some filter or route changes fields.
fn edits_fields(filters: &Filters, routes: &IdVec<RouteId, RoutePlan>) -> bool {
    filters.iter().any(|(_, filter)| filter.edits()) || routes.iter().any(|route| route.field_edits.is_some())
}

/// Names of fields that somebody looks at.
fn judged(
    table: &RouteTable,
    filters: &Filters,
    clusters: &IdVec<ClusterId, ClusterPlan>,
    routes: &IdVec<RouteId, RoutePlan>,
) -> Vec<String> {
    let by_filters = filters.iter().flat_map(|(_, filter)| filter.judged());
    let by_clusters = clusters.iter().filter_map(|cluster| match &cluster.placing {
        Placing::Header(name) => Some(name.as_str()),
        Placing::Nothing | Placing::Body(_) | Placing::Prompt => None,
    });
    let by_routes = routes.iter().flat_map(|route| &route.field_edits).flat_map(|edits| edits.rules.names());
    let said = by_filters.chain(by_clusters).chain(by_routes).map(str::to_ascii_lowercase);
    table.judged().iter().cloned().chain(said).collect()
}

/// The room for bodies that are held: that of before, if it is as large.
fn budget(bytes: u64, around: &Surroundings<'_>) -> Arc<Budget> {
    match around.previous {
        Some(plan) if plan.budget.max() == bytes => Arc::clone(&plan.budget),
        _ => Arc::new(Budget::new(bytes)),
    }
}

/// The flight recorder: that of before, if it is as large.
fn records(len: usize, around: &Surroundings<'_>) -> Arc<Records> {
    match around.previous {
        Some(plan) if plan.records.size() == (around.lanes, len) => Arc::clone(&plan.records),
        _ => Arc::new(Records::new(around.lanes, len)),
    }
}

fn compile_route(
    route: &NamedRoute,
    (chain, action): (Vec<FilterId>, Action),
    (clusters, body_max): (&IdVec<ClusterId, ClusterPlan>, u64),
    problems: &mut Vec<Problem>,
) -> RoutePlan {
    let settings = route.settings.clone();
    let narrows = action.clusters().any(|id| clusters[id].settings.discover.is_some());
    let rewrite = settings.rewrite.as_ref().map(|rewrite| &rewrite.value);
    let part = |part: Option<&Option<String>>| part.cloned().flatten().unwrap_or_default();
    RoutePlan {
        name: route.name.value.clone(),
        chain,
        model_at: settings.matching.path.as_deref().map(PathRule::new).and_then(|rule| {
            let place = rule.parameter("model")?;
            Some((rule, place))
        }),
        narrows,
        model_set: edits::model_set(&settings),
        streams: streams(&action, clusters),
        action,
        rewrite: Rewrite {
            strip: part(rewrite.map(|rewrite| &rewrite.strip)),
            add: part(rewrite.map(|rewrite| &rewrite.add)),
        },
        edits: edits::of_body(route, problems),
        field_edits: edits::of_fields(&settings),
        body_max: settings.body.unwrap_or(body_max),
        settings,
    }
}

/// Whether requests are sent on as they come: not where clusters share answers, which takes their whole bodies.
fn streams(action: &Action, clusters: &IdVec<ClusterId, ClusterPlan>) -> bool {
    match action {
        Action::Forward(targets) => targets.shares.iter().all(|(id, _)| clusters[*id].sharing.is_none()),
        Action::Respond(_) | Action::Models | Action::Fanout(_) | Action::Multi(_) => false,
    }
}

type Clusters = (IdVec<ClusterId, ClusterPlan>, IdVec<EndpointId, EndpointPlan>);

fn compile_clusters(
    config: &Config,
    around: &Surroundings<'_>,
    trusts: &Trusts,
    problems: &mut Vec<Problem>,
) -> Clusters {
    let (mut clusters, mut endpoints) = (IdVec::new(), IdVec::new());
    for (name, settings) in &config.clusters.0 {
        let id = ClusterId::at(clusters.len());
        let trust = trusts.of_cluster(settings, problems);
        let whose = (id, name.value.as_str(), trust.as_ref());
        let own = compile_endpoints(whose, settings, &mut endpoints, around, problems);
        let ward = ward(&name.value, around);
        check_batch(settings, problems);
        check_queue(settings, problems);
        let whose = (name.value.as_str(), settings);
        let (balancing, placing) = balancing::of(whose, (&own, &endpoints), around, problems);
        if around.is_whole {
            check_health(settings, problems);
        }
        clusters.push(ClusterPlan {
            name: name.value.clone(),
            ward,
            queue: queue(&name.value, around),
            balancing,
            placing,
            sharing: sharing(&name.value, settings, around),
            listings: listing::published(&own, &endpoints),
            is_listed: settings.discover.is_some(),
            endpoints: own,
            settings: settings.clone(),
        });
    }
    (clusters, endpoints)
}

/// Adds the endpoints of a cluster to all others.
fn compile_endpoints(
    (id, name, trust): (ClusterId, &str, Option<&Trust>),
    config: &ClusterConfig,
    all: &mut IdVec<EndpointId, EndpointPlan>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<EndpointId> {
    let mut own = Vec::new();
    let server_name = config.tls.as_ref().and_then(|tls| tls.value.server_name.as_deref());
    for endpoint in &config.endpoints {
        if let Some(addresses) = addresses(endpoint, around.resolved, problems) {
            let EndpointConfig { url, weight, max_in_flight } = &endpoint.value;
            let Cells { load, health, served } = Cells::of(name, &url.text, around);
            let told =
                |why| endpoint.problem("an endpoint cannot be trusted", why, "name it by tls.server_name");
            let tls = trusts::client(trust, url, server_name)
                .and_then(|client| client.map_err(|why| problems.push(told(why))).ok());
            own.push(all.push(EndpointPlan {
                cluster: id,
                url: url.text.clone(),
                addresses,
                tls,
                base: url.base.clone(),
                host: url.authority(),
                weight: *weight,
                max_in_flight: max_in_flight.map(u64::from),
                load,
                health,
                served,
            }));
        }
    }
    own
}

fn addresses(
    endpoint: &Placed<EndpointConfig>,
    resolved: &Resolved,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Address>> {
    match &endpoint.value.url.address {
        EndpointAddress::Unix(path) => Some(vec![Address::Unix(path.clone())]),
        EndpointAddress::Tcp { host, port } => match resolved.get(host, *port) {
            Ok(found) => Some(found.iter().copied().map(Address::Tcp).collect()),
            Err(error) => {
                problems.push(endpoint.problem(
                    format!("the host \"{host}\" cannot be resolved"),
                    format!("nothing could be sent to it; the resolver says: {error}"),
                    "correct the name, or write its address",
                ));
                None
            }
        },
    }
}

/// What is known of an endpoint beside its plan.
struct Cells {
    load: Arc<EndpointLoad>,
    health: Arc<Health>,
    served: Arc<Served>,
}

impl Cells {
    /// Those of one that stays, or nothing yet.
    fn of(cluster: &str, url: &str, around: &Surroundings<'_>) -> Self {
        let known = around.previous.and_then(|plan| {
            plan.endpoints
                .iter()
                .find(|endpoint| endpoint.url == url && plan.clusters[endpoint.cluster].name == cluster)
        });
        match known {
            Some(EndpointPlan { load, health, served, .. }) => {
                Self { load: Arc::clone(load), health: Arc::clone(health), served: Arc::clone(served) }
            }
            None => Self {
                load: Arc::new(EndpointLoad::new(around.lanes, around.at)),
                health: Arc::new(Health::new(Arc::new(Verdict::new(around.at)))),
                served: Arc::default(),
            },
        }
    }
}

/// Who decides over ejections in a cluster that stays, or a new one.
fn ward(cluster: &str, around: &Surroundings<'_>) -> Arc<Ward> {
    around.cluster(cluster).map_or_else(Arc::default, |known| Arc::clone(&known.ward))
}

/// Where requests of a cluster wait that stays, or a new place.
fn queue(cluster: &str, around: &Surroundings<'_>) -> Arc<Queue> {
    around.cluster(cluster).map_or_else(Arc::default, |known| Arc::clone(&known.queue))
}

/// A cluster is full where all of its endpoints are: each has a ceiling then.
fn check_queue(settings: &ClusterConfig, problems: &mut Vec<Problem>) {
    let unbounded = settings.endpoints.iter().find(|endpoint| endpoint.value.max_in_flight.is_none());
    if let (Some(queue), Some(endpoint)) = (&settings.queue, unbounded) {
        problems.push(queue.problem(
            format!("`queue` is set, and endpoint \"{}\" has no max_in_flight", endpoint.value.url.text),
            "the cluster would never be full, and nobody would ever wait",
            "give each endpoint a max_in_flight, or remove the queue",
        ));
    }
}

/// Probes need something to ask for.
fn check_health(settings: &ClusterConfig, problems: &mut Vec<Problem>) {
    if let (Some(health), None) = (&settings.health, settings.probe_path()) {
        problems.push(health.problem(
            "`health` does not say what is asked for",
            format!("of the engine \"{}\" it is not known", settings.engine.word()),
            "add path, such as \"/health\", or name the engine",
        ));
    }
}

/// Lists are named where they must be, and nowhere else.
fn check_batch(settings: &ClusterConfig, problems: &mut Vec<Problem>) {
    let Some(batch) = &settings.batch else { return };
    let BatchConfig { protocol, request, answer, .. } = &batch.value;
    for (name, is_there) in [("request", request.is_some()), ("answer", answer.is_some())] {
        match (*protocol == BatchProtocol::JsonArray, is_there) {
            (true, false) => problems.push(batch.problem(
                format!("`batch` of \"json-array\" has no `{name}`"),
                "nobody would know which list has the items",
                format!("add {name} = \"NAME\""),
            )),
            (false, true) => problems.push(batch.problem(
                format!("`batch` has `{name}`, which only \"json-array\" knows"),
                "the protocol says itself where its items are",
                "remove it",
            )),
            _ => {}
        }
    }
}

/// What a cluster that stays as it is shares already, or a new one.
fn sharing(cluster: &str, settings: &ClusterConfig, around: &Surroundings<'_>) -> Option<Arc<Sharing>> {
    let known = around.cluster(cluster);
    // What was kept of other endpoints, or asked in another name, is not of these.
    let known = known.filter(|known| known.settings == *settings).and_then(|known| known.sharing.as_ref());
    known.cloned().or_else(|| Sharing::of(settings).map(Arc::new))
}

fn no_route(around: &Surroundings<'_>) -> Problem {
    Placed { value: (), place: around.place.clone() }.problem(
        "there is no route",
        "each request would be answered with 404",
        "add [[route]] with to = \"CLUSTER\"",
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;
    use crate::balance::BalancerKind;
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
                place: reading.place,
                written: text,
                text,
                files: &[],
                resolved: &resolved,
                lanes: 2,
                cores: &[0, 1],
                previous,
                now,
                at: Instant::now(),
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
        assert_eq!(plan.listeners[ListenerId::at(0)].address.value.to_string(), "127.0.0.1:8080");
        assert_eq!(plan.server.admin.value.unwrap().to_string(), "127.0.0.1:9901");
        assert_eq!(plan.routes[RouteId::at(0)].body_max, 64 << 20);
        let cluster = &plan.clusters[ClusterId::at(0)].settings;
        assert_eq!((&cluster.balancer, cluster.keep_alive.max_idle), (&BalancerKind::LeastWork, 128));
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
    fn copies_under_way_are_counted_on_through_a_reload() {
        let mirrored = |share: &str| format!("{TWO}mirror = {{ cluster = \"a\", share = \"{share}\" }}\n");
        let old = plan(&mirrored("1%"), None).unwrap();
        let new = plan(&mirrored("2%"), Some(&old)).unwrap();
        let mirror = |plan: &Plan| {
            let mirror = plan.routes[RouteId::at(0)].action.mirror().unwrap();
            (mirror.share, Arc::clone(&mirror.in_flight))
        };
        let ((before, kept), (after, same)) = (mirror(&old), mirror(&new));
        assert_eq!((before, after), (0.01, 0.02));
        assert!(Arc::ptr_eq(&kept, &same));
        assert!(old.is_mirror(ClusterId::at(0)) && !plan(TWO, None).unwrap().is_mirror(ClusterId::at(0)));
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
