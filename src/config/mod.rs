//! The tree the operator writes: options as written, with their places; knows no plan and no lane.
//!
//! Reading reports all problems of a file at once and fills no default: that is compilation's part.

pub mod keys;
mod observe;
mod reader;
mod routes;
pub mod schema;
pub mod sections;
pub mod text;
pub mod units;
pub mod url;

use std::time::Duration;

use crate::balance::BalancerKind;
use crate::base::address::Address;
use crate::base::choice::{HalfClose, HostRule, IoDriver, LogTarget, ProxyProtocol};
use crate::base::network::Network;
use crate::base::problem::Place;
pub use crate::base::problem::Placed;
use crate::metrics::access::Format;
use crate::route::pattern::Pattern;
use crate::route::rewrite::Rewrite;
use url::EndpointUrl;

/// A whole configuration.
#[derive(Debug, Default)]
pub struct Config {
    /// Where it begins; none on the command line.
    pub place: Option<Place>,
    /// `[server]`.
    pub server: ServerConfig,
    /// `[[listener]]`.
    pub listeners: Vec<ListenerConfig>,
    /// `[limits]`.
    pub limits: LimitsConfig,
    /// `[cluster.NAME]`, in the order of their names.
    pub clusters: Vec<ClusterConfig>,
    /// `[[route]]`, in the order written.
    pub routes: Vec<RouteConfig>,
    /// `[observe]`.
    pub observe: ObserveConfig,
}

/// `[observe]`.
#[derive(Debug, Default)]
pub struct ObserveConfig {
    /// The access log; an inner none is `off`.
    pub access_log: Option<Option<AccessLogConfig>>,
    /// Whether answers say where their time went.
    pub server_timing: Option<bool>,
}

/// `access_log`.
#[derive(Debug, Clone)]
pub struct AccessLogConfig {
    /// Where lines go.
    pub to: Placed<LogTarget>,
    /// How they look.
    pub format: Format,
    /// The share of exchanges that are logged, from 0 to 1.
    pub sample: f64,
}

/// `[server]`.
#[derive(Debug, Default)]
pub struct ServerConfig {
    /// Cores to pin lanes to.
    pub cores: Option<Placed<Vec<usize>>>,
    /// How many lanes; none is `auto`.
    pub lanes: Option<Placed<Option<usize>>>,
    /// The driver; none is `auto`.
    pub io: Option<Placed<Option<IoDriver>>>,
    /// Where the admin API listens; none is `off`.
    pub admin: Option<Placed<Option<Address>>>,
    /// How long a drain may take.
    pub drain: Option<Duration>,
    /// How long accepting goes on after a drain began.
    pub drain_delay: Option<Duration>,
}

/// `[[listener]]`.
#[derive(Debug)]
pub struct ListenerConfig {
    /// Where clients are accepted.
    pub address: Placed<Address>,
    /// Whose forwarding fields are believed.
    pub trusted: Vec<Network>,
    /// What connections begin with.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What a client means that closes its sending side.
    pub on_half_close: Option<HalfClose>,
}

/// `[limits]`.
#[derive(Debug, Default)]
pub struct LimitsConfig {
    /// Open client connections.
    pub connections: Option<usize>,
    /// Bytes of a request head.
    pub head: Option<u64>,
    /// Bytes of a request body.
    pub body: Option<u64>,
    /// Bytes of request bodies that are held at once.
    pub buffered: Option<u64>,
    /// Slowest average, in bytes a second, that a client may send a body at.
    pub body_rate: Option<u64>,
    /// From the first byte of a head to its end; an inner none is `"none"`.
    pub head_timeout: Option<Option<Duration>>,
    /// A client connection between exchanges.
    pub idle_timeout: Option<Option<Duration>>,
    /// How long a client may take no byte of its answer.
    pub write_timeout: Option<Option<Duration>>,
}

/// `[cluster.NAME]`.
#[derive(Debug)]
pub struct ClusterConfig {
    /// NAME.
    pub name: Placed<String>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointConfig>,
    /// Who picks.
    pub balance: Option<BalancerKind>,
    /// Which Host is sent.
    pub host: Option<HostRule>,
    /// `timeout.connect`.
    pub connect: Option<Duration>,
    /// `timeout.first_byte`.
    pub first_byte: Option<Option<Duration>>,
    /// `timeout.between_bytes`.
    pub between_bytes: Option<Option<Duration>>,
    /// `timeout.total`.
    pub total: Option<Option<Duration>>,
    /// `keep_alive.idle`; an inner none is `auto`.
    pub idle: Option<Option<Duration>>,
    /// `keep_alive.max_idle`.
    pub max_idle: Option<usize>,
}

/// One endpoint of a cluster.
#[derive(Debug)]
pub struct EndpointConfig {
    /// Where it listens.
    pub url: Placed<EndpointUrl>,
    /// Its share.
    pub weight: Option<u32>,
}

/// `[[route]]`.
#[derive(Debug)]
pub struct RouteConfig {
    /// Its name, given or `route-N`.
    pub name: Placed<String>,
    /// `match`.
    pub matching: MatchConfig,
    /// `to` or `respond`; none where that was a problem.
    pub action: Option<ActionConfig>,
    /// What becomes of the target.
    pub rewrite: Option<Placed<Rewrite>>,
    /// The route's own body limit.
    pub body: Option<u64>,
}

/// What a route does.
#[derive(Debug)]
pub enum ActionConfig {
    /// `to`: clusters and their shares.
    To(Vec<(Placed<String>, u32)>),
    /// `respond`.
    Respond(RespondConfig),
}

/// A fixed answer.
#[derive(Debug)]
pub struct RespondConfig {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
    /// Its media type.
    pub content_type: Option<String>,
}

/// `match`.
#[derive(Debug, Default)]
pub struct MatchConfig {
    /// Host without port, or a glob.
    pub host: Option<String>,
    /// `/whole`, `/prefix/*` or `/with/{parameter}`.
    pub path: Option<String>,
    /// A method.
    pub method: Option<String>,
    /// Fields, each with what one of its values must look like.
    pub header: Vec<(String, Vec<Pattern>)>,
    /// Members of the body by their paths, each with what its value must look like.
    pub body: Vec<(Placed<String>, Vec<Pattern>)>,
}
