//! Filters and their chains: names become ids.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::types::Surroundings;
use crate::base::digest::Digest;
use crate::base::glob::Glob;
use crate::base::ids::{FilterId, Id, IdVec, ListenerId, RouteId};
use crate::base::problem::{Placed, Problem};
use crate::board::buckets::{Buckets, Rate, Single};
use crate::codec::edit::EditRules;
use crate::codec::json::Selection;
use crate::config::{
    Config, CorsConfig, FilterConfig, GuardConfig, HeadersConfig, IpConfig, KeyConfig, KeysConfig,
    ListenerConfig, RateLimitConfig, RequestRate, SchemaConfig, SideConfig, ValidateConfig,
};
use crate::filter::cors::{Cors, Origins};
use crate::filter::guard::{Guard, Patterns, Redact};
use crate::filter::headers::{Headers, SideEdits};
use crate::filter::holder::Holder;
use crate::filter::ip::Ip;
use crate::filter::keys::Keys;
use crate::filter::rate_limit::{By, RateLimit};
use crate::filter::validate::{Schema, Validate};
use crate::filter::{FilterPlan, Filters};

/// The ids that the names of filters stand for.
pub(super) struct Names<'c> {
    known: Vec<&'c str>,
    /// Those that look into bodies.
    readers: Vec<(FilterId, &'c str)>,
    /// Those that were not understood, which is told.
    broken: &'c [String],
}

impl<'c> Names<'c> {
    /// Those of a configuration, in the order written.
    pub(super) fn of(config: &'c Config) -> Self {
        let (all, broken) = (&config.filters.0, &config.filters.1);
        let known = all.iter().map(|(name, _)| name.value.as_str()).collect();
        let readers = all.iter().enumerate().filter(|(_, (_, filter))| filter.reads_bodies());
        let readers = readers.map(|(at, (name, _))| (FilterId::at(at), name.value.as_str())).collect();
        Self { known, readers, broken }
    }

    /// The first filter of a route, or of any listener, that looks into bodies.
    pub(super) fn reader_of(
        &self,
        chain: &[FilterId],
        listeners: &IdVec<ListenerId, Vec<FilterId>>,
    ) -> Option<&'c str> {
        let mut all = chain.iter().chain(listeners.iter().flatten());
        all.find_map(|id| self.readers.iter().find(|(known, _)| known == id)).map(|(_, name)| *name)
    }

    /// The chain of each listener.
    pub(super) fn of_listeners(
        &self,
        listeners: &[ListenerConfig],
        problems: &mut Vec<Problem>,
    ) -> IdVec<ListenerId, Vec<FilterId>> {
        let chain = |listener: &ListenerConfig| {
            self.chain(&format!("the listener {}", listener.address.value), &listener.filters, problems)
        };
        listeners.iter().map(chain).collect()
    }

    /// The chain that `whose` names. One that names a filter twice, or one that there is not, is a mistake.
    pub(super) fn chain(
        &self,
        whose: &str,
        names: &[Placed<String>],
        problems: &mut Vec<Problem>,
    ) -> Vec<FilterId> {
        let mut chain = Vec::new();
        for name in names {
            match self.known.iter().position(|known| *known == name.value).map(FilterId::at) {
                Some(id) if chain.contains(&id) => problems.push(name.problem(
                    format!("{whose} has the filter \"{}\" twice", name.value),
                    "the second time it would say the same",
                    "remove one of them",
                )),
                Some(id) => chain.push(id),
                None if self.broken.contains(&name.value) => {}
                None => problems.push(self.unknown(whose, name)),
            }
        }
        chain
    }

    fn unknown(&self, whose: &str, name: &Placed<String>) -> Problem {
        let known: Vec<_> = self.known.iter().map(|name| format!("\"{name}\"")).collect();
        let fix = match known.is_empty() {
            true => format!("add [filter.{}]", name.value),
            false => format!("add [filter.{}], or use one of: {}", name.value, known.join(", ")),
        };
        name.problem(
            format!("{whose} has the filter \"{}\", which is not defined", name.value),
            "its requests would pass without it",
            fix,
        )
    }
}

/// What filters may speak of, and what is told of them.
pub(super) struct Known<'p> {
    /// All routes by their names: keys name them by the thousands.
    pub(super) routes: HashMap<&'p str, RouteId>,
    /// What works, though hardly as it was meant.
    pub(super) warnings: &'p mut Vec<Problem>,
    /// The plan in force, whose limits stay.
    pub(super) around: &'p Surroundings<'p>,
}

/// All filters, in the order written.
pub(super) fn filters(config: &Config, mut known: Known<'_>) -> Filters {
    let named = config.filters.0.iter();
    named.map(|(name, filter)| (name.value.clone(), understood(&name.value, filter, &mut known))).collect()
}

fn understood(name: &str, filter: &FilterConfig, known: &mut Known<'_>) -> FilterPlan {
    match filter {
        FilterConfig::RateLimit(limit) => FilterPlan::RateLimit(limit_of(name, limit, known.around)),
        FilterConfig::Ip(IpConfig { kind: _, allow, deny }) => {
            FilterPlan::Ip(Ip { allow: allow.clone(), deny: deny.clone() })
        }
        FilterConfig::Cors(cors) => FilterPlan::Cors(cors_of(cors)),
        FilterConfig::Guard(guard) => FilterPlan::Guard(guard_of(guard)),
        FilterConfig::Validate(ValidateConfig { kind: _, schema }) => FilterPlan::Validate(match schema {
            SchemaConfig::Any => Validate::Json,
            SchemaConfig::OpenAi => Validate::OpenAi,
            SchemaConfig::File { text, .. } => {
                Validate::Schema(Box::new(Schema::parse(text).expect("it was understood when it was read")))
            }
        }),
        FilterConfig::Headers(HeadersConfig { kind: _, request, response }) => {
            let side = |side: &Option<SideConfig>| side.as_ref().map(side_of).unwrap_or_default();
            FilterPlan::Headers(Headers { request: side(request), response: side(response) })
        }
        FilterConfig::Keys(KeysConfig { kind: _, file }) => {
            let before = holders(name, known.around);
            FilterPlan::Keys(Keys::new(file.keys.iter().map(|key| key_of(key, &before, known))))
        }
    }
}

/// The filter of that name in the plan in force.
fn filter_before<'p>(name: &str, around: &Surroundings<'p>) -> Option<&'p FilterPlan> {
    around.previous?.filters.iter().find(|(known, _)| known == name).map(|(_, filter)| filter)
}

/// A limit, with the buckets of the one of that name before it, if they tell apart the same.
fn limit_of(name: &str, limit: &RateLimitConfig, around: &Surroundings<'_>) -> RateLimit {
    let RateLimitConfig { kind: _, by, requests, burst } = limit;
    let by: Vec<_> = by.iter().map(|by| by.0.clone()).collect();
    let kept = if let Some(FilterPlan::RateLimit(known)) = filter_before(name, around)
        && known.by == by
    {
        Some(Arc::clone(&known.buckets))
    } else {
        None
    };
    let RequestRate { permits, period } = *requests;
    RateLimit {
        by,
        rate: Rate { permits, period, burst: burst.unwrap_or(permits) },
        buckets: kept.unwrap_or_else(|| Arc::new(Buckets::new(around.at))),
    }
}

/// Chains in which a filter asks for what nobody before it finds out.
pub(super) fn find_disorder(config: &Config, warnings: &mut Vec<Problem>) {
    let kind = |name: &Placed<String>| {
        config.filters.0.iter().find(|(known, _)| known.value == name.value).map(|(_, filter)| filter)
    };
    let is_keys = |name: &Placed<String>| matches!(kind(name), Some(FilterConfig::Keys(_)));
    let has_keys = config.filters.0.iter().any(|(_, filter)| matches!(filter, FilterConfig::Keys(_)));
    let mut check = |before: &[Placed<String>], chain: &[Placed<String>]| {
        for (position, name) in chain.iter().enumerate() {
            let is_known = before.iter().chain(&chain[..position]).any(is_keys);
            let (what, why) = match kind(name) {
                Some(FilterConfig::RateLimit(limit))
                    if limit.by.iter().any(|by| by.0 == By::Key) && !is_known =>
                {
                    (
                        "counts by key, and stands before any that knows the key",
                        "all requests here share one bucket",
                    )
                }
                // What it says is said at the end, and any route's keys may be known then.
                Some(FilterConfig::Headers(headers)) if headers.says_key() && !has_keys => {
                    ("says {key}, and there is none that knows the key", "nothing is said in its place")
                }
                _ => continue,
            };
            warnings.push(name.problem(
                format!("the filter \"{}\" {what}", name.value),
                why,
                "write the filter of the kind \"keys\" before it",
            ));
        }
    };
    for listener in &config.listeners {
        check(&[], &listener.filters);
    }
    for route in &config.routes {
        // Where one listener lets requests in without a key, they share the bucket.
        let least = config
            .listeners
            .iter()
            .min_by_key(|listener| listener.filters.iter().filter(|name| is_keys(name)).count());
        check(least.map_or(&[], |listener| &listener.filters), &route.settings.filters);
    }
}

fn guard_of(guard: &GuardConfig) -> Guard {
    let GuardConfig { kind: _, deny, require, fields, action, redact } = guard;
    let patterns = |all: &[String]| Patterns::new(all).expect("each was understood when it was read");
    let mut selection = Selection::default();
    for field in fields {
        selection.add(field).expect("it was understood when it was read");
    }
    Guard {
        deny: patterns(deny),
        require: patterns(require),
        selection,
        flags: action == "flag",
        redact: redact.iter().filter_map(|word| Redact::named(word)).collect(),
    }
}

fn side_of(side: &SideConfig) -> SideEdits {
    let SideConfig { set, add, rename, remove } = side;
    let names = |fields: &[(String, _)]| fields.iter().map(|(name, _)| name.clone()).collect();
    let templates = |fields: &[(String, _)]| fields.iter().map(|(_, value)| Clone::clone(value)).collect();
    SideEdits {
        rules: Arc::new(EditRules {
            remove: remove.clone(),
            rename: rename.0.clone(),
            set: names(&set.0),
            add: names(&add.0),
        }),
        set: templates(&set.0),
        add: templates(&add.0),
    }
}

fn cors_of(cors: &CorsConfig) -> Cors {
    let CorsConfig { kind: _, origins, methods, headers, expose, credentials, max_age } = cors;
    let are_all = origins.iter().any(|origin| origin == "*");
    Cors {
        origins: match are_all {
            true => Origins::All,
            false => Origins::These(origins.iter().map(|origin| Glob::new(origin)).collect()),
        },
        methods: methods.join(", "),
        headers: headers.join(", "),
        expose: expose.join(", "),
        credentials: *credentials,
        max_age: max_age.as_secs(),
    }
}

/// The holders of keys that the filter of that name knows in the plan in force.
fn holders<'p>(name: &str, around: &Surroundings<'p>) -> HashMap<&'p str, &'p Holder> {
    let Some(FilterPlan::Keys(keys)) = filter_before(name, around) else { return HashMap::new() };
    keys.named().collect()
}

fn key_of(key: &KeyConfig, before: &HashMap<&str, &Holder>, known: &mut Known<'_>) -> (Vec<Digest>, Holder) {
    let KeyConfig { name, digests, routes, models, rpm, in_flight, class, expires } = key;
    let before = before.get(name.value.as_str());
    let left = || before.and_then(|holder| holder.requests.as_ref()).map(|(_, bucket)| Arc::clone(bucket));
    let under_way =
        || before.and_then(|holder| holder.in_flight.as_ref()).map(|(_, flight)| Arc::clone(flight));
    let at = known.around.at;
    let mut id_of = |route: &Placed<String>| {
        let found = known.routes.get(route.value.as_str()).copied();
        if found.is_none() {
            known.warnings.push(route.problem(
                format!(
                    "the key \"{}\" is for the route \"{}\", which this gateway does not have",
                    name.value, route.value
                ),
                "no request of the key is on it",
                "correct the name, or leave it: one file may serve several gateways",
            ));
        }
        found
    };
    let holder = Holder {
        name: name.value.as_str().into(),
        routes: routes.as_ref().map(|routes| routes.iter().filter_map(&mut id_of).collect()),
        models: models.as_ref().map(|models| models.iter().map(|model| Glob::new(model)).collect()),
        class: class.as_deref().map(Into::into),
        expires: expires.map(|expires| expires.0),
        requests: rpm.map(|permits| {
            let rate = Rate { permits, period: Duration::from_secs(60), burst: permits };
            (rate, left().unwrap_or_else(|| Arc::new(Single::new(at))))
        }),
        in_flight: in_flight.map(|max| (max, under_way().unwrap_or_default())),
    };
    (digests.0.iter().map(|digest| digest.value).collect(), holder)
}

/// A filter that no chain names protects nobody.
pub(super) fn find_unused(config: &Config, problems: &mut Vec<Problem>) {
    let listeners = config.listeners.iter().flat_map(|listener| &listener.filters);
    let routes = config.routes.iter().flat_map(|route| &route.settings.filters);
    let used: Vec<_> = listeners.chain(routes).map(|name| &name.value).collect();
    for (name, _) in config.filters.0.iter().filter(|(name, _)| !used.contains(&&name.value)) {
        problems.push(name.problem(
            format!("no listener and no route has the filter \"{}\"", name.value),
            "it would judge nobody",
            format!("write filters = [\"{}\"] into a [[route]] or [[listener]], or remove it", name.value),
        ));
    }
}
