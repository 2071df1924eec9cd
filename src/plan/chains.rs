//! Chains of filters: names become ids, and what cannot work as it was meant is told.

use crate::base::ids::{FilterId, Id, IdVec, ListenerId};
use crate::base::problem::{Placed, Problem};
use crate::config::{Config, FilterConfig, ListenerConfig, RouteConfig};
use crate::filter::rate_limit::By;

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

/// What works, though hardly as it was meant.
pub(super) fn find_disorder(config: &Config, warnings: &mut Vec<Problem>) {
    let filters = Kinds(config);
    for listener in &config.listeners {
        filters.check(&[], &listener.filters, warnings);
    }
    for route in &config.routes {
        // Where one listener lets requests in without a key, they share the bucket.
        let listeners = config.listeners.iter();
        let least = listeners
            .min_by_key(|listener| listener.filters.iter().filter(|name| filters.knows(name)).count());
        let before = least.map_or(&[][..], |listener| &listener.filters);
        filters.check(before, &route.settings.filters, warnings);
        filters.check_agreement(config, &route.settings, warnings);
    }
    if let (Some(dump), 0) = (&config.observe.dump, config.observe.recorder) {
        warnings.push(dump.problem(
            "`dump` has nothing to tell of, for `recorder` is 0".to_owned(),
            "what it writes is what the flight recorder keeps",
            "remove one of them",
        ));
    }
    for (name, filter) in &config.filters.0 {
        if let FilterConfig::Jwt(jwt) = filter
            && jwt.audience.is_empty()
        {
            warnings.push(name.problem(
                format!("the filter \"{}\" takes tokens that are for anybody", name.value),
                "one that the issuer made for another service opens this one",
                "write audience = \"…\", which the issuer puts into the tokens for this gateway",
            ));
        }
    }
}

/// What the names of filters stand for.
struct Kinds<'c>(&'c Config);

impl<'c> Kinds<'c> {
    fn of(&self, name: &Placed<String>) -> Option<&'c FilterConfig> {
        let mut all = self.0.filters.0.iter();
        all.find(|(known, _)| known.value == name.value).map(|(_, filter)| filter)
    }

    /// Whether it knows whose request it is.
    fn knows(&self, name: &Placed<String>) -> bool {
        self.of(name).is_some_and(names_holder)
    }

    /// A chain in which a filter asks for what nobody before it finds out.
    fn check(&self, before: &[Placed<String>], chain: &[Placed<String>], warnings: &mut Vec<Problem>) {
        for (position, name) in chain.iter().enumerate() {
            let is_known = before.iter().chain(&chain[..position]).any(|name| self.knows(name));
            let (what, why) = match self.of(name) {
                Some(FilterConfig::RateLimit(limit))
                    if limit.by.iter().any(|by| by.0 == By::Key) && !is_known =>
                {
                    (
                        "counts by key, and stands before any that knows the key",
                        "all requests here share one bucket",
                    )
                }
                // What it says is said at the end, and any route's keys may be known then.
                Some(FilterConfig::Headers(headers))
                    if headers.says_key()
                        && !self.0.filters.0.iter().any(|(_, filter)| names_holder(filter)) =>
                {
                    ("says {key}, and there is none that knows the key", "nothing is said in its place")
                }
                _ => continue,
            };
            warnings.push(name.problem(
                format!("the filter \"{}\" {what}", name.value),
                why,
                "write a filter of the kind \"keys\" or \"jwt\" before it",
            ));
        }
    }

    /// A chain whose filters cannot agree: no credential is both a key and a token.
    fn check_agreement(&self, config: &Config, route: &RouteConfig, warnings: &mut Vec<Problem>) {
        for listener in &config.listeners {
            let chain = || listener.filters.iter().chain(&route.filters);
            let find = |is: fn(&FilterConfig) -> bool| chain().find(|name| self.of(name).is_some_and(is));
            let keys = find(|filter| matches!(filter, FilterConfig::Keys(_)));
            let tokens = find(|filter| matches!(filter, FilterConfig::Jwt(_)));
            if let (Some(keys), Some(tokens)) = (keys, tokens) {
                warnings.push(tokens.problem(
                    format!("the filters \"{}\" and \"{}\" are in one chain", keys.value, tokens.value),
                    "all filters of a chain must agree, and no credential is both a key and a token: nobody passes",
                    "give each a route, told apart by header = { authorization = \"~^Bearer ey\" }",
                ));
                return;
            }
        }
    }
}

fn names_holder(filter: &FilterConfig) -> bool {
    matches!(filter, FilterConfig::Keys(_) | FilterConfig::Jwt(_))
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
