//! Routes to the rows of the table: a list of values in a condition makes one row for each.

use super::types::RoutePlan;
use crate::base::glob::Glob;
use crate::base::ids::RouteId;
use crate::base::limits::ROUTE_ROWS_MAX;
use crate::base::problem::Problem;
use crate::board::buffered::Budget;
use crate::codec::json::Wanted;
use crate::config::{NamedRoute, RouteConfig};
use crate::route::RouteTable;
use crate::route::matcher::{BodyRule, HeaderRule, Matcher, MethodRule, PathRule};
use crate::route::pattern::Pattern;

/// The rows so far, each with the route it belongs to.
#[derive(Default)]
pub(super) struct Rows<'c> {
    rows: Vec<(Matcher, RouteId, &'c NamedRoute)>,
    wanted: Wanted,
}

impl<'c> Rows<'c> {
    /// Adds the rows of `route`.
    pub(super) fn add(&mut self, route: &'c NamedRoute, id: RouteId, problems: &mut Vec<Problem>) {
        let matching = &route.settings.matching;
        let mut rows = vec![Matcher {
            // Any host is no condition, and must not outweigh the paths of others.
            host: matching.host.as_deref().map(Glob::of_host).filter(|host| !host.takes_all()),
            path: matching.path.as_deref().map(PathRule::new),
            method: matching.method.as_deref().map(MethodRule::new),
            headers: Vec::new(),
            body: Vec::new(),
        }];
        for (name, values) in &matching.header.0 {
            rows = each(rows, &values.0, |row, value| {
                row.headers.push(HeaderRule { name: name.clone(), value: value.clone() });
            });
        }
        for (path, values) in &matching.body.0 {
            let Some(member) = self.wanted.add(&path.value) else {
                problems.push(path.problem(
                    "too many different members of bodies are asked for",
                    "each body would be searched for all of them",
                    "use fewer",
                ));
                return;
            };
            rows = each(rows, &values.0, |row, value| {
                row.body.push(BodyRule { member, path: path.value.clone(), value: value.clone() });
            });
        }
        if rows.len() > ROUTE_ROWS_MAX {
            problems.push(route.name.problem(
                format!(
                    "the lists in route \"{}\" have more than {ROUTE_ROWS_MAX} combinations",
                    route.name.value
                ),
                "each request would be compared with all of them",
                "use a glob or an expression instead of a list",
            ));
            return;
        }
        self.rows.extend(rows.into_iter().map(|row| (row, id, route)));
    }

    /// A route that can never win is a mistake: everything it fits is taken by rows that are tried before its own.
    pub(super) fn find_shadows(&self, problems: &mut Vec<Problem>) {
        let shadow = |position: usize| {
            let (row, id, _) = &self.rows[position];
            let before = self.rows.iter().enumerate().find(|(other, (before, owner, _))| {
                let is_first = (before.specificity(), std::cmp::Reverse(*other))
                    > (row.specificity(), std::cmp::Reverse(position));
                owner != id && is_first && before.covers(row)
            });
            before.map(|(_, (_, _, route))| *route)
        };
        let mut at = 0;
        while let Some((_, id, route)) = self.rows.get(at) {
            let end = at + self.rows[at..].iter().take_while(|(_, owner, _)| owner == id).count();
            let shadows: Option<Vec<&NamedRoute>> = (at..end).map(shadow).collect();
            if let Some([before, ..]) = shadows.as_deref() {
                problems.push(route.name.problem(
                    format!("route \"{}\" can never win", route.name.value),
                    format!("route \"{}\" takes all its requests before it", before.name.value),
                    "remove one of them, or give this one another condition",
                ));
            }
            at = end;
        }
    }

    /// The table.
    pub(super) fn into_table(self) -> RouteTable {
        RouteTable::new(self.rows.into_iter().map(|(row, id, _)| (row, id)).collect(), self.wanted)
    }
}

/// Each of `rows` once for each of `values`; past the bound nothing more is made.
fn each(rows: Vec<Matcher>, values: &[Pattern], put: impl Fn(&mut Matcher, &Pattern)) -> Vec<Matcher> {
    let pairs = rows.iter().flat_map(|row| values.iter().map(move |value| (row, value)));
    pairs
        .take(ROUTE_ROWS_MAX + 1)
        .map(|(row, value)| {
            let mut row = row.clone();
            put(&mut row, value);
            row
        })
        .collect()
}

/// A body that is looked into, by the route, for the endpoints that list its model, or by its filter `reader`, must have room to
/// be held.
pub(super) fn check_room(
    route: &NamedRoute,
    (RoutePlan { narrows, streams, body_max, .. }, reader): (&RoutePlan, Option<&str>),
    buffered: u64,
    problems: &mut Vec<Problem>,
) {
    let is_routed = *narrows || !route.settings.matching.body.0.is_empty();
    let RouteConfig { fanout, multi, set, default, clamp, remove, .. } = &route.settings;
    let is_set = set.as_ref().is_some_and(|set| !set.value.body.0.is_empty());
    let is_edited = is_set || default.is_some() || clamp.is_some() || remove.is_some();
    let is_held = fanout.is_some() || multi.is_some() || (is_edited && !streams);
    if (!is_routed && !is_held && reader.is_none()) || *body_max <= Budget::longest(buffered) {
        return;
    }
    let name = &route.name.value;
    let who = match reader {
        Some(reader) if !is_routed => {
            format!("the filter \"{reader}\" looks into bodies of route \"{name}\"")
        }
        _ if !is_routed => format!("route \"{name}\" holds bodies"),
        _ => format!("route \"{name}\" looks into bodies"),
    };
    problems.push(route.name.problem(
        format!("{who} that are larger than what `limits.buffered` has room for"),
        "a body that is looked into, or stands for several requests, is held, and its largest ones would have no room; a sixteenth is kept for small ones",
        format!("write body = \"{}B\" in the route, or raise limits.buffered", Budget::longest(buffered)),
    ));
}

/// What is taken off a path must be there.
pub(super) fn check_rewrite(route: &NamedRoute, problems: &mut Vec<Problem>) {
    if let (Some(rewrite), Some(path)) = (&route.settings.rewrite, &route.settings.matching.path) {
        let strip = rewrite.value.strip.as_deref().unwrap_or_default();
        let rest = path.strip_prefix(strip);
        if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            problems.push(rewrite.problem(
                format!("`strip` takes \"{strip}\" off paths that do not begin with it"),
                format!("the route's own path is \"{path}\""),
                "write a beginning of that path, in whole segments",
            ));
        }
    }
}
