//! The compiled form of a configuration: resolved, complete, immutable, shared by all lanes.
//!
//! A plan has no "unset", no name that is looked up later and no value that needs checking again. Ids are valid only
//! inside their own plan.

pub mod compile;
mod fixed;
mod routes;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::balance::BalancerKind;
use crate::base::address::Address;
pub use crate::base::choice::{HalfClose, HostRule, ProxyProtocol};
use crate::base::choice::{IoDriver, LogTarget};
use crate::base::ids::{ClusterId, EndpointId, IdVec, ListenerId, RouteId};
use crate::base::network::Network;
use crate::board::buffered::Budget;
use crate::board::loads::EndpointLoad;
use crate::board::verdicts::Verdict;
use crate::codec::reply::LocalReply;
use crate::metrics::access::Format;
use crate::pool::IdleLimit;
use crate::route::RouteTable;
use crate::route::rewrite::Rewrite;

/// Everything lanes need to know.
#[derive(Debug)]
pub struct Plan {
    /// One more with each reload; the first is 1.
    pub generation: u64,
    /// How many lanes run it.
    pub lanes: usize,
    /// When it was compiled.
    pub loaded_at: SystemTime,
    /// The file's text as written, for `/config`; empty where there is no file.
    pub written: String,
    /// What cannot change while running.
    pub server: ServerPlan,
    /// Where clients are accepted.
    pub listeners: IdVec<ListenerId, ListenerPlan>,
    /// Bounds on clients.
    pub limits: LimitsPlan,
    /// All clusters.
    pub clusters: IdVec<ClusterId, ClusterPlan>,
    /// All endpoints of all clusters.
    pub endpoints: IdVec<EndpointId, EndpointPlan>,
    /// All routes.
    pub routes: IdVec<RouteId, RoutePlan>,
    /// How routes are found.
    pub table: RouteTable,
    /// What is told of exchanges besides metrics.
    pub observe: ObservePlan,
    /// Room for bodies that are held; kept through reloads that do not change its size.
    pub budget: Arc<Budget>,
}

/// What is told of exchanges besides metrics.
#[derive(Debug, Clone)]
pub struct ObservePlan {
    /// The access log, if there is one.
    pub access_log: Option<AccessLogPlan>,
    /// Whether answers say where their time went.
    pub server_timing: bool,
}

/// The access log.
#[derive(Debug, Clone)]
pub struct AccessLogPlan {
    /// Where lines go.
    pub to: LogTarget,
    /// How they look.
    pub format: Format,
    /// The share of exchanges that are logged, from 0 to 1.
    pub sample: f64,
}

/// What is fixed for the life of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPlan {
    /// Cores to pin lanes to, one each; empty for lanes that are not pinned.
    pub cores: Vec<usize>,
    /// How many lanes; none for one per core that may be used.
    pub lanes: Option<usize>,
    /// The driver asked for; none for the best that runs.
    pub io: Option<IoDriver>,
    /// Where the admin API listens; none where it is off.
    pub admin: Option<Address>,
    /// How long a drain may take.
    pub drain: Duration,
    /// How long accepting goes on after a drain began.
    pub drain_delay: Duration,
}

/// One address that is accepted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerPlan {
    /// Where.
    pub address: Address,
    /// Whose forwarding fields are believed.
    pub trusted: Vec<Network>,
    /// What connections begin with.
    pub proxy_protocol: ProxyProtocol,
    /// What a client means that closes its sending side after a complete request.
    pub on_half_close: HalfClose,
}

/// Bounds on clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsPlan {
    /// Open client connections over all lanes.
    pub connections: usize,
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Bytes of a request body, where its route says nothing.
    pub body: u64,
    /// Bytes of request bodies that are held at once, over all lanes.
    pub buffered: u64,
    /// Slowest average, in bytes a second, that a client may send a body at; zero for any.
    pub body_rate: u64,
    /// From the first byte of a head to its end.
    pub head_timeout: Option<Duration>,
    /// A client connection between exchanges.
    pub idle_timeout: Option<Duration>,
    /// How long a client may take no byte of its answer before it is cut, as the client's doing.
    pub write_timeout: Option<Duration>,
}

/// One cluster.
#[derive(Debug)]
pub struct ClusterPlan {
    /// Its name.
    pub name: String,
    /// Its endpoints, in the order written.
    pub endpoints: Vec<EndpointId>,
    /// Who picks.
    pub balancer: BalancerKind,
    /// Which Host is sent.
    pub host: HostRule,
    /// Its clocks.
    pub timeouts: Timeouts,
    /// How long idle connections are kept.
    pub idle: IdleLimit,
    /// Idle connections per endpoint over all lanes.
    pub max_idle: usize,
}

/// The clocks of a cluster; none never runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// From the last byte of the request to the first of the answer.
    pub first_byte: Option<Duration>,
    /// Silence inside an answer.
    pub between_bytes: Option<Duration>,
    /// The whole exchange.
    pub total: Option<Duration>,
}

/// One endpoint.
#[derive(Debug)]
pub struct EndpointPlan {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// As written: its name in metrics and statistics.
    pub url: String,
    /// Where it listens; several where its name has several addresses, tried in order.
    pub addresses: Vec<Address>,
    /// Path in front of the client's target, without a slash at its end.
    pub base: String,
    /// Its own authority, for Host.
    pub host: String,
    /// Its share relative to the others.
    pub weight: u32,
    /// Its load over all lanes; kept through reloads.
    pub load: Arc<EndpointLoad>,
    /// Whether it is admitted; kept through reloads.
    pub verdict: Arc<Verdict>,
}

/// One route.
#[derive(Debug)]
pub struct RoutePlan {
    /// Its name.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// What becomes of the target on its way upstream.
    pub rewrite: Rewrite,
    /// Longest request body.
    pub body_max: u64,
}

/// What a route does.
#[derive(Debug)]
pub enum Action {
    /// Sends the request to one of these clusters; weights are shares, their sum is not zero.
    Forward(Vec<(ClusterId, u32)>),
    /// Answers by itself.
    Respond(LocalReply),
}
