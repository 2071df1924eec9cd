//! Filters and their chains: names become ids.

use super::types::RoutePlan;
use crate::base::digest::Digest;
use crate::base::ids::{FilterId, Id, IdVec, ListenerId, RouteId};
use crate::base::problem::{Placed, Problem};
use crate::config::{Config, CorsConfig, FilterConfig, IpConfig, KeyConfig, KeysConfig, ListenerConfig};
use crate::base::glob::Glob;
use crate::filter::cors::{Cors, Origins};
use crate::filter::holder::Holder;
use crate::filter::ip::Ip;
use crate::filter::keys::Keys;
use crate::filter::{FilterPlan, Filters};

/// The ids that the names of filters stand for.
pub(super) struct Names<'c> {
    known: Vec<&'c str>,
    /// Those that were not understood, which is told.
    broken: &'c [String],
}

impl<'c> Names<'c> {
    /// Those of a configuration, in the order written.
    pub(super) fn of(config: &'c Config) -> Self {
        let known = config.filters.0.iter().map(|(name, _)| name.value.as_str()).collect();
        Self { known, broken: &config.filters.1 }
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
    /// All routes.
    pub(super) routes: &'p IdVec<RouteId, RoutePlan>,
    /// What works, though hardly as it was meant.
    pub(super) warnings: &'p mut Vec<Problem>,
}

/// All filters, in the order written.
pub(super) fn filters(config: &Config, mut known: Known<'_>) -> Filters {
    let named = config.filters.0.iter();
    named.map(|(name, filter)| (name.value.clone(), understood(filter, &mut known))).collect()
}

fn understood(filter: &FilterConfig, known: &mut Known<'_>) -> FilterPlan {
    match filter {
        FilterConfig::Ip(IpConfig { kind: _, allow, deny }) => {
            FilterPlan::Ip(Ip { allow: allow.clone(), deny: deny.clone() })
        }
        FilterConfig::Cors(cors) => FilterPlan::Cors(cors_of(cors)),
        FilterConfig::Keys(KeysConfig { kind: _, file }) => {
            FilterPlan::Keys(Keys::new(file.keys.iter().map(|key| key_of(key, known))))
        }
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

fn key_of(key: &KeyConfig, known: &mut Known<'_>) -> (Vec<Digest>, Holder) {
    let KeyConfig { name, digests, routes, class, expires } = key;
    let mut id_of = |route: &Placed<String>| {
        let found = known.routes.pairs().find(|(_, known)| known.name == route.value);
        if found.is_none() {
            known.warnings.push(route.problem(
                format!("the key \"{}\" is for the route \"{}\", which this gateway does not have", name.value, route.value),
                "no request of the key is on it",
                "correct the name, or leave it: one file may serve several gateways",
            ));
        }
        found.map(|(id, _)| id)
    };
    let holder = Holder {
        name: name.value.as_str().into(),
        routes: routes.as_ref().map(|routes| routes.iter().filter_map(&mut id_of).collect()),
        class: class.as_deref().map(Into::into),
        expires: expires.map(|expires| expires.0),
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
