//! Filters and their chains: names become ids.

use crate::base::ids::FilterId;
use crate::base::problem::{Placed, Problem};
use crate::config::{Config, FilterConfig, IpConfig};
use crate::filter::ip::Ip;
use crate::filter::{FilterPlan, Filters};

/// All filters, in the order written.
pub(super) fn filters(config: &Config) -> Filters {
    let named = config.filters.0.iter();
    named.map(|(name, filter)| (name.value.clone(), understood(filter))).collect()
}

fn understood(filter: &FilterConfig) -> FilterPlan {
    match filter {
        FilterConfig::Ip(IpConfig { kind: _, allow, deny }) => {
            FilterPlan::Ip(Ip { allow: allow.clone(), deny: deny.clone() })
        }
    }
}

/// The chain that `whose` names. One that names a filter twice, or one that there is not, is a mistake.
pub(super) fn chain(
    whose: &str,
    names: &[Placed<String>],
    filters: &Filters,
    problems: &mut Vec<Problem>,
) -> Vec<FilterId> {
    let mut chain = Vec::new();
    for name in names {
        match filters.pairs().find(|(_, (known, _))| *known == name.value) {
            Some((id, _)) if chain.contains(&id) => problems.push(name.problem(
                format!("{whose} has the filter \"{}\" twice", name.value),
                "the second time it would say the same",
                "remove one of them",
            )),
            Some((id, _)) => chain.push(id),
            None => problems.push(unknown(whose, name, filters)),
        }
    }
    chain
}

fn unknown(whose: &str, name: &Placed<String>, filters: &Filters) -> Problem {
    let known: Vec<_> = filters.iter().map(|(name, _)| format!("\"{name}\"")).collect();
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
