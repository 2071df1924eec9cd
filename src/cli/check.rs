//! `corelane check`: every problem of configuration files, or a summary of what they would cost.

use std::path::PathBuf;

use clap::Args;

use super::print::{complain, print};
use crate::base::address::Address;
use crate::base::ids::ClusterId;
use crate::base::limits::{
    FLIGHT_BYTES_MAX, KEY_SERIES_MAX, KIB, LIMIT_BUCKETS_MAX, LOG_BYTES_MAX, MIB, RELAY_BYTES,
    RELAY_BYTES_LARGE,
};
use crate::board::buffered::Budget;
use crate::control::load::{Origin, Source, load};
use crate::filter::FilterPlan;
use crate::metrics::keyed::KEYED_SERIES;
use crate::metrics::recorder::{CACHE_RESULTS, MIRROR_RESULTS};
use crate::metrics::text::{batch_series, series};
use crate::plan::{Action, ClusterPlan, Plan};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  corelane check config/*.toml")]
pub(super) struct Check {
    /// The files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl Check {
    pub(super) fn run(self) -> u8 {
        let mut code = 0;
        for file in self.files {
            match load(&Origin::new(Source::File(file.clone())), None) {
                Ok(plan) => {
                    plan.warnings.iter().for_each(|warning| complain(format_args!("warning: {warning}")));
                    for warning in open_admin(&plan).into_iter().chain(circles(&plan)) {
                        complain(format_args!("warning: {}: {warning}", file.display()));
                    }
                    code = code.max(print(format_args!("{}: {}\n", file.display(), summary(&plan))));
                }
                Err(problems) => {
                    code = 2;
                    problems.iter().for_each(complain);
                }
            }
        }
        code
    }
}

/// An admin API that others reach, and that asks them for nothing.
fn open_admin(plan: &Plan) -> Option<String> {
    match (&plan.server.admin.value, &plan.server.admin_token) {
        (Some(Address::Tcp(address)), None) if !address.ip().to_canonical().is_loopback() => Some(format!(
            "the admin API listens on {address} and has no token\n  why: whoever reaches it can reload and drain the gateway\n  fix: set `server.admin_token`, or listen on 127.0.0.1"
        )),
        _ => None,
    }
}

/// Endpoints that are listeners of this same gateway: what it sends there comes back until it is ended with 508.
fn circles(plan: &Plan) -> impl Iterator<Item = String> {
    plan.endpoints.iter().filter_map(|endpoint| {
        let own = plan.listeners.iter().map(|listener| &listener.address.value);
        let listener = own.into_iter().find(|own| endpoint.addresses.iter().any(|address| meets(own, address)))?;
        Some(format!(
            "the endpoint {} is the gateway itself, which listens on {listener}\n  why: a request that is sent there comes back, and is ended with 508\n  fix: name the address of the inference server",
            endpoint.url
        ))
    })
}

/// Whether who connects to `address` from this machine meets the listener on `own`. A wildcard takes addresses of other
/// machines for its own here, so only those that surely are this one count.
fn meets(own: &Address, address: &Address) -> bool {
    let is_here = match address {
        Address::Tcp(address) => address.ip().is_loopback() || address.ip().is_unspecified(),
        Address::Unix(_) => false,
    };
    own == address || is_here && own.overlaps(address)
}

/// Resident memory of a process that does nothing yet, measured: code, thread stacks, rings.
const BASE_BYTES: usize = 8 * MIB;
/// Kept for a connection that is idle: its task, its reader, a socket's bookkeeping.
const IDLE_CONNECTION_BYTES: usize = 6 * KIB;
/// The buckets of one limit, two places for each.
const LIMIT_BYTES: usize = LIMIT_BUCKETS_MAX * 2 * 16;
/// A histogram of times, once it is used.
const HISTOGRAM_BYTES: usize = 28 * KIB;

fn summary(plan: &Plan) -> String {
    let connections = plan.limits.connections;
    // Each lane counts into one recorder while control holds another; six histograms a route, four an endpoint.
    let histograms =
        (6 * plan.routes.len() + 4 * plan.endpoints.len()) * HISTOGRAM_BYTES * (2 * plan.lanes + 1);
    let bounds = |filter: &FilterPlan| match filter {
        FilterPlan::RateLimit(limit) => {
            usize::from(limit.requests.is_some()) + usize::from(limit.tokens.is_some())
        }
        _ => 0,
    };
    let limits: usize = plan.filters.iter().map(|(_, filter)| bounds(filter)).sum();
    let placing: usize = plan.clusters.iter().map(|cluster| cluster.balancing.bytes()).sum();
    let idle = BASE_BYTES + plan.lanes * MIB + limits * LIMIT_BYTES + placing;
    let busy = 2 * RELAY_BYTES + IDLE_CONNECTION_BYTES;
    let typical = idle + histograms + plan.records.bytes() + connections / 10 * busy;
    // A large body holds one large step each way, for the client and for the endpoint.
    let streams = connections * (4 * RELAY_BYTES_LARGE + plan.limits.head_bytes);
    let holds = plan.reads_bodies
        || plan.table.rows().any(|(matcher, _)| !matcher.body.is_empty())
        || plan
            .routes
            .iter()
            .any(|route| !matches!(route.action, Action::Forward(_) | Action::Respond(_) | Action::Models))
        || plan.routes.iter().any(|route| route.edits.is_some())
        || plan.clusters.iter().any(|cluster| cluster.sharing.is_some() || cluster.placing.reads_bodies());
    // A shared answer keeps so much for those who come later; each has one client at least.
    let shares = plan.clusters.iter().any(|cluster| cluster.sharing.is_some());
    let flights = usize::from(shares) * connections * FLIGHT_BYTES_MAX;
    let kept: u64 =
        plan.clusters.iter().filter_map(|cluster| Some(cluster.settings.cache.as_ref()?.max)).sum();
    // A guard decodes the text at hand, which may be all of a body, and notes where each byte of it stands.
    let decodes = plan.filters.iter().any(|(_, filter)| matches!(filter, FilterPlan::Guard(_)));
    let held = (usize::from(holds) + 2 * usize::from(decodes)) * plan.limits.buffered as usize;
    // Copies have their part of the same room; where nobody else holds bodies it is theirs alone.
    let copied = plan.routes.iter().any(|route| route.action.mirror().is_some());
    let held = held.max(usize::from(copied) * Budget::spare(plan.limits.buffered) as usize);
    let logged = if plan.observe.access_log.is_some() { LOG_BYTES_MAX } else { 0 };
    let records = plan.records.bytes();
    let ceiling = idle + histograms + records + streams + held + logged + flights + kept as usize;
    let size = |bytes: usize| format!("{} MiB", bytes.div_ceil(MIB));
    let limiting = plan.filters.iter().filter(|(_, filter)| filter.limits()).count();
    format!(
        "ok\n  routes {}, clusters {}, endpoints {}, lanes {}\n  memory when idle {}, typical ({} busy clients) {}, at its ceiling ({} clients with large bodies) {}\n  metric series {}",
        plan.routes.len(),
        plan.clusters.len(),
        plan.endpoints.len(),
        plan.lanes,
        size(idle),
        connections / 10,
        size(typical),
        connections,
        size(ceiling),
        series(plan.routes.len(), (plan.clusters.len(), plan.endpoints.len()), (plan.lanes, limiting))
            + shared_series(plan),
    ) + &keyed_series(plan)
}

/// What those who show keys may add to these, where there are some: each asks for some of the models.
fn keyed_series(plan: &Plan) -> String {
    let named = |filter: &FilterPlan| match filter {
        FilterPlan::Keys(keys) => keys.named().count(),
        // Whose name stands in a token are others.
        FilterPlan::Jwt(_) => 1,
        _ => 0,
    };
    match plan.filters.iter().map(|(_, filter)| named(filter)).sum::<usize>() {
        0 => String::new(),
        keys => {
            let pairs = (keys * (plan.models.len() + 1)).min(KEY_SERIES_MAX + 1);
            format!(", and up to {} of keys", pairs * KEYED_SERIES)
        }
    }
}

/// Series of clusters that share answers or get copies, beside those that every cluster has.
fn shared_series(plan: &Plan) -> usize {
    let of = |(id, cluster): (ClusterId, &ClusterPlan)| {
        let shared = usize::from(cluster.sharing.is_some());
        let cached = usize::from(cluster.settings.cache.is_some()) * CACHE_RESULTS.len();
        let copied = usize::from(plan.is_mirror(id)) * MIRROR_RESULTS.len();
        let waiting = cluster.settings.queue.as_ref().map_or(0, |queue| queue.value.classes.len());
        let batched = usize::from(cluster.settings.batch.is_some()) * batch_series();
        waiting + shared + cached + copied + batched
    };
    plan.clusters.pairs().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_listener_where_it_would_be_met() {
        for (own, endpoint, meeting) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("0.0.0.0:8080", "127.0.0.1:8080", true),
            ("[::]:8080", "127.0.0.1:8080", true),
            ("[::]:8080", "[::1]:8080", true),
            ("0.0.0.0:8080", "127.0.0.1:8081", false),
            ("127.0.0.1:8080", "127.0.0.2:8080", false),
            ("0.0.0.0:8080", "10.0.0.7:8080", false),
            ("unix:/run/a", "unix:/run/a", true),
            ("unix:/run/a", "unix:/run/b", false),
        ] {
            let [from, to] = [own, endpoint].map(|address| match address.strip_prefix("unix:") {
                Some(path) => Address::Unix(path.into()),
                None => Address::Tcp(address.parse().unwrap()),
            });
            assert_eq!(meets(&from, &to), meeting, "{own} {endpoint}");
        }
    }
}
