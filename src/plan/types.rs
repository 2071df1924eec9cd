//! What a plan is made of. A table of the configuration that holds as it was read stands here as it is.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::catalog::Catalog;
use super::placing::Placing;
use super::sharing::Sharing;
use crate::admission::Queue;
use crate::balance::Balancing;
use crate::base::address::Address;
use crate::base::choice::Gathering;
use crate::base::ids::{ClusterId, EndpointId, FilterId, IdVec, ListenerId, RouteId};
use crate::base::problem::{Place, Problem};
use crate::base::secret::Secret;
use crate::base::trust::TlsClient;
use crate::board::audit::Audit;
use crate::board::buffered::Budget;
use crate::board::in_flight::InFlight;
use crate::board::loads::EndpointLoad;
use crate::board::published::Published;
use crate::board::served::Served;
use crate::board::verdicts::Verdict;
use crate::cluster::Rules;
use crate::cluster::listings::Listings;
use crate::codec::edit::Edits;
use crate::codec::json::BodyEdits;
use crate::codec::reply::LocalReply;
use crate::config::file::FilePrint;
use crate::config::values::ByName;
pub use crate::config::{
    AccessLogConfig as AccessLogPlan, LimitsConfig as LimitsPlan, ListenerConfig as ListenerPlan,
    ObserveConfig as ObservePlan, ServerConfig as ServerPlan, TimeoutConfig as Timeouts,
};
use crate::config::{ClusterConfig, FilterConfig, RouteConfig};
use crate::discovery::dns::Resolved;
use crate::discovery::signals::{Gauges, gauges};
use crate::filter::jwt::KeySource;
use crate::filter::{FilterPlan, Filters};
use crate::health::{self, Health, Ward};
use crate::metrics::records::Records;
use crate::retry::{self, RetryOn};
use crate::route::RouteTable;
use crate::route::matcher::PathRule;
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
    /// The same with its secrets, to be understood anew once a file that it names changes.
    pub text: Secret,
    /// What cannot change while running.
    pub server: ServerPlan,
    /// Where clients are accepted.
    pub listeners: IdVec<ListenerId, ListenerPlan>,
    /// Bounds on clients.
    pub limits: LimitsPlan,
    /// All filters, with their names.
    pub filters: Filters,
    /// Whether some of them look into bodies, or a route does for the model.
    pub reads_bodies: bool,
    /// Whether some of them change fields.
    pub edits_fields: bool,
    /// What was written of them.
    pub filter_settings: ByName<FilterConfig>,
    /// Those that each request of a listener meets first.
    pub chains: IdVec<ListenerId, Vec<FilterId>>,
    /// All clusters.
    pub clusters: IdVec<ClusterId, ClusterPlan>,
    /// All endpoints of all clusters.
    pub endpoints: IdVec<EndpointId, EndpointPlan>,
    /// The models that routes and keys name, sorted: what is asked for beside them is counted as `other`.
    pub models: Vec<Box<str>>,
    /// Which models clients are told of, where a route tells.
    pub catalog: Option<Arc<Published<Catalog>>>,
    /// All routes.
    pub routes: IdVec<RouteId, RoutePlan>,
    /// How routes are found.
    pub table: RouteTable,
    /// Names of the fields that conditions and filters look at, in lower case.
    pub judged: Vec<String>,
    /// What is told of exchanges besides metrics.
    pub observe: ObservePlan,
    /// The flight recorder; kept through reloads that do not change its size.
    pub records: Arc<Records>,
    /// How many refused credentials are told; kept through reloads.
    pub audit: Arc<Audit>,
    /// Files that were read with the configuration.
    pub files: Vec<FilePrint>,
    /// What works, though hardly as it was meant.
    pub warnings: Vec<Problem>,
    /// Room for bodies that are held; kept through reloads that do not change its size.
    pub budget: Arc<Budget>,
}

impl Plan {
    /// How long requests wait for others at most before they travel together.
    pub fn longest_gathering(&self) -> Duration {
        let batching = |cluster: &ClusterPlan| Some(cluster.sharing.as_ref()?.batching.as_ref()?.max_wait);
        self.clusters.iter().filter_map(batching).max().unwrap_or_default()
    }

    /// The place of a model among those that are named.
    pub fn model_at(&self, name: &[u8]) -> Option<u32> {
        let at = self.models.binary_search_by(|known| known.as_bytes().cmp(name)).ok()?;
        u32::try_from(at).ok()
    }

    /// The key sets of issuers that are fetched.
    pub fn key_sources(&self) -> impl Iterator<Item = &Arc<KeySource>> {
        let sources = self.filters.iter().filter_map(|(_, filter)| match filter {
            FilterPlan::Jwt(jwt) => Some(&jwt.source),
            _ => None,
        });
        sources.filter(|source| source.address.is_some())
    }

    /// Whether some route's requests are copied to that cluster.
    pub fn is_mirror(&self, cluster: ClusterId) -> bool {
        self.routes.iter().filter_map(|route| route.action.mirror()).any(|mirror| mirror.cluster == cluster)
    }
}

/// One cluster.
#[derive(Debug)]
pub struct ClusterPlan {
    /// Its name.
    pub name: String,
    /// Its endpoints, in the order written.
    pub endpoints: Vec<EndpointId>,
    /// Decides over ejections; kept through reloads.
    pub ward: Arc<Ward>,
    /// Where requests wait while it is full; kept through reloads.
    pub queue: Arc<Queue>,
    /// Who picks; what its lanes share of that is kept through reloads.
    pub balancing: Balancing,
    /// What is looked for in a request before an endpoint is picked.
    pub placing: Placing,
    /// What requests of it share of their answers, where they share some; kept through reloads.
    pub sharing: Option<Arc<Sharing>>,
    /// Which of its endpoints list which model, as far as they were asked.
    pub listings: Arc<Published<Listings>>,
    /// Whether they are asked.
    pub is_listed: bool,
    /// All that needs no compiling: balancing, clocks, idle connections and so on.
    pub settings: ClusterConfig,
}

impl Action {
    /// The clusters that it leads to; who gets copies is none of them.
    pub fn clusters(&self) -> impl Iterator<Item = ClusterId> {
        let (shares, others) = match self {
            Self::Forward(Targets { shares, fallback, mirror: _ }) => (&shares[..], &fallback[..]),
            Self::Fanout(fanout) => (&[][..], &fanout.to[..]),
            Self::Respond(_) | Self::Models | Self::Multi(_) => (&[][..], &[][..]),
        };
        shares.iter().map(|(id, _)| *id).chain(others.iter().copied())
    }

    /// Who gets copies of what it forwards.
    pub fn mirror(&self) -> Option<&Mirror> {
        match self {
            Self::Forward(targets) => targets.mirror.as_deref(),
            Self::Respond(_) | Self::Models | Self::Fanout(_) | Self::Multi(_) => None,
        }
    }
}

impl EndpointPlan {
    /// Whether it is admitted, and at which share.
    pub fn verdict(&self) -> &Arc<Verdict> {
        self.health.verdict()
    }
}

impl ClusterPlan {
    /// The rules of picking, repeating and health.
    pub fn rules(&self) -> Rules {
        let ClusterConfig { retry, .. } = &self.settings;
        Rules {
            balancing: self.balancing.clone(),
            retry: retry::Rules { attempts: retry.attempts, on: retry.on.clone(), share: retry.budget },
            health: self.health_rules(),
        }
    }

    /// Those of health alone.
    pub fn health_rules(&self) -> health::Rules {
        let ClusterConfig { ejection, slow_start, health, .. } = &self.settings;
        let health = health.as_ref().map(|health| &health.value);
        health::Rules {
            consecutive_faults: ejection.consecutive_faults,
            window: ejection.window,
            share: ejection.share,
            slow_start: *slow_start,
            unhealthy_after: health.map_or(0, |health| health.unhealthy_after),
            healthy_after: health.map_or(0, |health| health.healthy_after),
        }
    }

    /// What of its endpoints' metrics tells of their load, where that counts: with one of them there is nothing to weigh.
    pub fn gauges(&self) -> Option<&'static Gauges> {
        let weighs = self.settings.balancer.weighs_load() && self.endpoints.len() > 1;
        gauges(self.settings.engine).filter(|_| weighs)
    }

    /// Whether a request may go to another endpoint though one answered it.
    pub fn repeats_answers(&self) -> bool {
        let retry = &self.settings.retry;
        let is_answer = |on: &RetryOn| matches!(on, RetryOn::TooManyRequests | RetryOn::Unavailable);
        retry.attempts > 1 && retry.on.iter().any(is_answer)
    }
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
    /// Whom to trust there, where it is at https://.
    pub tls: Option<TlsClient>,
    /// Path in front of the client's target, without a slash at its end.
    pub base: String,
    /// Its own authority, for Host.
    pub host: String,
    /// Its share relative to the others.
    pub weight: u32,
    /// Most exchanges at once, over all lanes.
    pub max_in_flight: Option<u64>,
    /// Its load over all lanes; kept through reloads.
    pub load: Arc<EndpointLoad>,
    /// What is known of it, and whether it is admitted; kept through reloads.
    pub health: Arc<Health>,
    /// What it says that it serves; kept through reloads.
    pub served: Arc<Served>,
}

/// One route.
#[derive(Debug)]
pub struct RoutePlan {
    /// Its name.
    pub name: String,
    /// Filters that its requests meet.
    pub chain: Vec<FilterId>,
    /// Where its path says the model, with the rule that takes it.
    pub model_at: Option<(PathRule, usize)>,
    /// Whether some cluster that it leads to asks only those endpoints that list the request's model.
    pub narrows: bool,
    /// The model that goes upstream, where it says so itself.
    pub model_set: Option<Box<str>>,
    /// What it does.
    pub action: Action,
    /// What becomes of the target on its way upstream.
    pub rewrite: Rewrite,
    /// What is changed in its requests: members of their bodies, and fields.
    pub edits: Option<Arc<BodyEdits>>,
    /// See above.
    pub field_edits: Option<Edits>,
    /// Its requests may be sent on before all of their bodies have come.
    pub streams: bool,
    /// Longest request body.
    pub body_max: u64,
    /// All that needs no compiling.
    pub settings: RouteConfig,
}

/// What a route does.
#[derive(Debug)]
pub enum Action {
    /// Sends the request on.
    Forward(Targets),
    /// Answers by itself.
    Respond(LocalReply),
    /// Tells which models there are.
    Models,
    /// Sends the request to several clusters at once.
    Fanout(Fanout),
    /// Answers the requests in its body.
    Multi(Multi),
}

/// Many requests in one.
#[derive(Debug, Clone, Copy)]
pub struct Multi {
    /// Most elements of an array.
    pub max: usize,
    /// Most lines of a file.
    pub lines: usize,
    /// Most that are at work at once, at least one.
    pub in_flight: usize,
    /// What may be held of their answers, in bytes.
    pub answers: u64,
}

/// Clusters that a request is sent to at once.
#[derive(Debug)]
pub struct Fanout {
    /// Who is asked; none twice.
    pub to: Vec<ClusterId>,
    /// Which answers make the one that is told.
    pub gather: Gathering,
    /// Good answers that make a quorum, as many as there are clusters at most.
    pub need: usize,
    /// How long each may take.
    pub timeout: Option<Duration>,
}

/// Where a route's requests go.
#[derive(Debug)]
pub struct Targets {
    /// One of these clusters; weights are shares, their sum is not zero.
    pub shares: Vec<(ClusterId, u32)>,
    /// In this order, where that one cannot, or refuses.
    pub fallback: Vec<ClusterId>,
    /// Who gets copies of what goes there.
    pub mirror: Option<Box<Mirror>>,
}

/// A cluster that gets copies of a route's requests.
#[derive(Debug)]
pub struct Mirror {
    /// The cluster.
    pub cluster: ClusterId,
    /// How many are copied, from 0 to 1.
    pub share: f64,
    /// Copies under way, over all lanes; kept through reloads.
    pub in_flight: Arc<InFlight>,
}

/// What compilation needs besides the configuration.
pub struct Surroundings<'a> {
    /// Where the configuration begins, or the option that it comes from.
    pub place: Place,
    /// The text as written.
    pub written: &'a str,
    /// The same with its secrets.
    pub text: &'a str,
    /// The files that it names.
    pub files: &'a [FilePrint],
    /// Addresses of the endpoints' hosts.
    pub resolved: &'a Resolved,
    /// How many lanes will run the plan.
    pub lanes: usize,
    /// The cores that lanes can be pinned to.
    pub cores: &'a [usize],
    /// The plan in force, whose endpoints keep their cells on the board.
    pub previous: Option<&'a Plan>,
    /// When this happens, by the calendar,
    pub now: SystemTime,
    /// and by the clock.
    pub at: Instant,
    /// Whether all of the configuration was understood. Where it was not, nothing is said that the missing parts
    /// would change.
    pub is_whole: bool,
}

impl<'a> Surroundings<'a> {
    /// The cluster of this name in the plan in force, if it has one.
    pub(super) fn cluster(&self, name: &str) -> Option<&'a ClusterPlan> {
        self.previous?.clusters.iter().find(|known| known.name == name)
    }
}
