//! Filters as they are understood: what needs names, files and what was before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::trusts::Trusts;
use super::types::Surroundings;
use crate::base::address::Address;
use crate::base::digest::Digest;
use crate::base::glob::Glob;
use crate::base::ids::RouteId;
use crate::base::problem::{Placed, Problem};
use crate::board::buckets::{Buckets, Rate, Single};
use crate::codec::edit::EditRules;
use crate::codec::json::Selection;
use crate::config::url::EndpointAddress;
use crate::config::{
    AskConfig, Config, CorsConfig, FilterConfig, GuardConfig, HeadersConfig, IpConfig, JwksConfig, JwtConfig,
    KeyConfig, KeysConfig, LimitRate, RateLimitConfig, SchemaConfig, SideConfig, ValidateConfig,
};
use crate::discovery::dns::Resolved;
use crate::filter::ask::Ask;
use crate::filter::cors::{Cors, Origins};
use crate::filter::guard::{Guard, Patterns, Redact};
use crate::filter::headers::{Headers, SideEdits};
use crate::filter::holder::Holder;
use crate::filter::ip::Ip;
use crate::filter::jwt::{Jwt, KeySet, KeySource, Signature};
use crate::filter::keys::Keys;
use crate::filter::rate_limit::{Bound, RateLimit};
use crate::filter::validate::{Schema, Validate};
use crate::filter::{FilterPlan, Filters};

/// What filters may speak of, and what is told of them.
pub(super) struct Known<'p> {
    /// All routes by their names: keys name them by the thousands.
    pub(super) routes: HashMap<&'p str, RouteId>,
    /// What works, though hardly as it was meant.
    pub(super) warnings: &'p mut Vec<Problem>,
    /// The plan in force, whose limits stay.
    pub(super) around: &'p Surroundings<'p>,
    /// Whom services may trust.
    pub(super) trusts: &'p Trusts,
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
        FilterConfig::Ask(ask) => FilterPlan::Ask(ask_of(ask, known)),
        FilterConfig::Jwt(jwt) => FilterPlan::Jwt(jwt_of(name, jwt, known.around)),
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
    let RateLimitConfig { kind: _, by, requests, tokens, burst } = limit;
    let by: Vec<_> = by.iter().map(|by| by.0.clone()).collect();
    let before = match filter_before(name, around) {
        Some(FilterPlan::RateLimit(known)) if known.by == by => Some(known),
        _ => None,
    };
    let bound = |rate: &LimitRate, burst: Option<u64>, before: Option<&Bound>| {
        let LimitRate { permits, period } = *rate;
        Bound {
            rate: Rate { permits, period, burst: burst.unwrap_or(permits) },
            buckets: before
                .map_or_else(|| Arc::new(Buckets::new(around.at)), |bound| Arc::clone(&bound.buckets)),
        }
    };
    RateLimit {
        by,
        requests: requests
            .as_ref()
            .map(|rate| bound(rate, *burst, before.and_then(|known| known.requests.as_ref()))),
        tokens: tokens.as_ref().map(|rate| bound(rate, None, before.and_then(|known| known.tokens.as_ref()))),
    }
}

/// Whose tokens pass, with the keys that were fetched for the filter of that name before it.
fn jwt_of(name: &str, jwt: &JwtConfig, around: &Surroundings<'_>) -> Jwt {
    let before = match filter_before(name, around) {
        Some(FilterPlan::Jwt(jwt)) => Some(&jwt.source),
        _ => None,
    };
    let source = match &jwt.jwks {
        JwksConfig::File { text, .. } => {
            Arc::new(KeySource::of_file(KeySet::parse(text).expect("it was understood when it was read")))
        }
        JwksConfig::At(address) => {
            let same = before.filter(|source| source.address.as_ref() == Some(address));
            same.map_or_else(|| Arc::new(KeySource::at(address.clone())), Arc::clone)
        }
    };
    Jwt {
        source,
        signatures: jwt.algorithms.iter().filter_map(|word| Signature::named(word)).collect(),
        issuer: jwt.issuer.clone(),
        audience: jwt.audience.clone(),
        leeway: jwt.leeway,
        claims: jwt.claims.0.iter().map(|(path, value)| (path.clone(), Glob::new(value))).collect(),
        name_claim: jwt.name_claim.clone(),
        class_claim: jwt.class_claim.clone(),
        models_claim: jwt.models_claim.clone(),
    }
}

/// Whom to ask, at addresses that were found before (see [`find_unreachable`]).
fn ask_of(ask: &AskConfig, known: &Known<'_>) -> Ask {
    let AskConfig { kind: _, url, headers, body, timeout, add, on_error, cache } = ask;
    let (addresses, resolves) = match &url.value.at.address {
        EndpointAddress::Unix(path) => (vec![Address::Unix(path.clone())], None),
        EndpointAddress::Tcp { host, port } => {
            let found = known.around.resolved.get(host, *port).unwrap_or_default();
            (found.iter().copied().map(Address::Tcp).collect(), Some((host.clone(), *port)))
        }
    };
    Ask {
        addresses,
        resolves,
        tls: known.trusts.towards(&url.value.at).and_then(Result::ok),
        host: url.value.at.authority(),
        target: url.value.target.clone(),
        headers: headers.clone(),
        body: *body,
        timeout: *timeout,
        add: Arc::new(EditRules { set: add.clone(), ..EditRules::default() }),
        allows_on_error: on_error == "allow",
        cache: *cache,
    }
}

/// Services whose names nobody knows, or no certificate can be for.
pub(super) fn find_unreachable(
    config: &Config,
    resolved: &Resolved,
    trusts: &Trusts,
    problems: &mut Vec<Problem>,
) {
    for (_, filter) in &config.filters.0 {
        let FilterConfig::Ask(ask) = filter else { continue };
        if let Some(Err(why)) = trusts.towards(&ask.url.value.at) {
            problems.push(ask.url.problem("the service cannot be trusted", why, "correct its host"));
        }
        if let EndpointAddress::Tcp { host, port } = &ask.url.value.at.address
            && let Err(error) = resolved.get(host, *port)
        {
            problems.push(ask.url.problem(
                format!("the host \"{host}\" cannot be resolved"),
                format!("the service could not be asked; the resolver says: {error}"),
                "correct the name, or write its address",
            ));
        }
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
    let KeyConfig { name, digests, routes, models, rpm, tpm, in_flight, class, expires } = key;
    let before = before.get(name.value.as_str());
    let at = known.around.at;
    let bound = |permits: u64, known: Option<&(Rate, Arc<Single>)>| {
        let rate = Rate { permits, period: Duration::from_secs(60), burst: permits };
        (rate, known.map_or_else(|| Arc::new(Single::new(at)), |(_, bucket)| Arc::clone(bucket)))
    };
    let under_way =
        || before.and_then(|holder| holder.in_flight.as_ref()).map(|(_, flight)| Arc::clone(flight));
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
        requests: rpm.map(|permits| bound(permits, before.and_then(|holder| holder.requests.as_ref()))),
        tokens: tpm.map(|permits| bound(permits, before.and_then(|holder| holder.tokens.as_ref()))),
        in_flight: in_flight.map(|max| (max, under_way().unwrap_or_default())),
    };
    (digests.0.iter().map(|digest| digest.value).collect(), holder)
}
