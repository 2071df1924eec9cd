//! The whole configuration: its tables, and what it is without a file.

use super::cluster::ClusterConfig;
use super::filter::FilterConfig;
use super::key::Kind;
use super::limits::LimitsConfig;
use super::listener::ListenerConfig;
use super::observe::ObserveConfig;
use super::reader::{Table, nothing};
use super::route::{NamedRoute, RouteConfig, name};
use super::server::ServerConfig;
use super::table::table;
use super::values::ByName;
use crate::base::problem::Place;

table! {
    /// A whole configuration, with what holds where nothing is written.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Config checked by check {
        /// The process: lanes, cores, admin API, drain.
        server: ServerConfig = key("server", Table(ServerConfig::KEYS), Is("{}")),
        /// Addresses that clients connect to.
        listeners: Vec<ListenerConfig> = key(
            "listener",
            List(&Table(ListenerConfig::KEYS)),
            Is("[{ address = '127.0.0.1:8080' }]")
        ),
        /// Bounds on clients.
        limits: LimitsConfig = key("limits", Table(LimitsConfig::KEYS), Is("{}")),
        /// What looks at requests before they are answered: routes and listeners name them.
        filters: ByName<FilterConfig> = key("filter", Named(&FilterConfig::KINDS), Is("{}")),
        /// Named sets of interchangeable endpoints.
        clusters: ByName<ClusterConfig> = key("cluster", Named(&Table(ClusterConfig::KEYS)), Is("{}")),
        /// What becomes of requests; the most specific route wins.
        routes: Vec<NamedRoute> = key(
            "route",
            List(&Table(RouteConfig::KEYS)),
            Required("each request would be answered with 404", "[[route]] with to = \"CLUSTER\"")
        ),
        /// What is told of exchanges besides metrics.
        observe: ObserveConfig = key("observe", Table(ObserveConfig::KEYS), Is("{}")),
    }
}

/// The names of clusters stand in statistics as those of routes do.
fn check(table: &Table<'_, '_>, config: &Config) {
    for (known, _) in &config.clusters.0 {
        if let Err(fix) = name(&known.value) {
            let what = format!("{:?} is not the name of a cluster", known.value);
            table.tell(known.problem(what, "statistics and messages could not tell it", fix));
        }
    }
}

/// The kind of a whole file.
pub static ROOT: Kind = Kind::Table(Config::KEYS);

impl Default for Config {
    /// What holds where nothing at all is written: no route.
    fn default() -> Self {
        nothing(Place::option("configuration"), &ROOT).expect("a file can be read without any of its tables")
    }
}
