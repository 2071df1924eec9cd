//! Which route a request takes; knows no cluster, no socket, no clock.
//!
//! The most specific route wins: host, then path (exact over parameter over prefix, longest first), then method, then
//! the number of conditions, then exact over glob over expression, then the order in the file. The table is sorted so
//! once, at compile time; a look-up takes the first row that fits. A list of values makes one row for each.
//!
//! What stands behind may read a path or a doubled field in another way than we do: a request that has several readings is
//! looked up in each, and refused unless they agree ([`Unclear`]).
//!
//! Where the first row that fits the head asks for the body too, the look-up goes on once the body is known, from that
//! row on. Such a row does not fail open: a body that some server could read otherwise than we do is refused ([`crate::codec::content`]).

pub mod body;
pub mod matcher;
pub mod path;
pub mod path_rule;
pub mod pattern;
mod reading;
pub mod rewrite;

use std::sync::Arc;

use body::{BodyRules, Decision};
use matcher::Matcher;
pub use reading::Unclear;
use reading::{Asked, Reading, host_of, is_doubled};

use crate::base::ids::RouteId;
use crate::codec::content::{BodySeen, Kind, kind};
use crate::codec::head::RequestHead;
use crate::codec::json::{Member, Set, Wanted};
use crate::codec::method::Method;

/// The compiled routes, most specific first.
#[derive(Debug, Default)]
pub struct RouteTable {
    rows: Vec<(Matcher, RouteId)>,
    wanted: Arc<Wanted>,
    judged: Vec<String>,
}

/// What a look-up finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This route.
    Route(RouteId),
    /// The body decides.
    NeedBody(BodyRules),
    /// No route has this host and path.
    NotFound,
    /// Some route has this host and path, none this method; these are the methods there are.
    OtherMethods(Vec<String>),
    /// It breaks the rules, or may be read in several ways that lead here and there.
    Unclear(Unclear),
}

impl RouteTable {
    /// Sorts rows by how specific they are; equal ones keep their order. `wanted` are the members that their body
    /// conditions speak of.
    pub fn new(mut rows: Vec<(Matcher, RouteId)>, wanted: Wanted) -> Self {
        rows.sort_by_key(|(matcher, _)| std::cmp::Reverse(matcher.specificity()));
        let mut judged: Vec<_> = rows.iter().flat_map(|(matcher, _)| matcher.judged()).collect();
        judged.sort();
        judged.dedup();
        Self { rows, wanted: Arc::new(wanted), judged }
    }

    /// Names of the fields that conditions look at, in lower case.
    pub fn judged(&self) -> &[String] {
        &self.judged
    }

    /// The route for this head, as far as the head decides it.
    pub fn find(&self, head: &RequestHead) -> Lookup {
        // Nearly all requests have one reading.
        if let Some(path) = path::plain(head.path())
            && !self.judged.iter().any(|name| is_doubled(head, name))
        {
            let host = &host_of(head.authority());
            return match self.row(head, &Reading { host, path, singles: &[] }) {
                Ok(row) if self.rows[row].0.body.is_empty() => Lookup::Route(self.rows[row].1),
                Ok(first) => Lookup::NeedBody(BodyRules { first }),
                Err(nowhere) => nowhere,
            };
        }
        self.find_in_all(head)
    }

    /// The route that a request with this head and the method that it asks for would take, conditions on fields and body left
    /// out; none where its readings differ.
    pub fn find_place(&self, head: &RequestHead, method: &[u8]) -> Option<RouteId> {
        let asked = Asked::new(head, &[]).ok()?;
        let mut found = asked.readings().map(|reading| {
            let fits = |matcher: &Matcher| {
                matcher.has_place(reading.host, reading.path)
                    && matcher.method().is_none_or(|rule| rule.takes(Method::of(method), method))
            };
            self.rows.iter().find(|(matcher, _)| fits(matcher)).map(|(_, route)| *route)
        });
        let first = found.next()?;
        first.filter(|_| found.all(|other| other == first))
    }

    /// The route that all readings of this head lead to.
    fn find_in_all(&self, head: &RequestHead) -> Lookup {
        let asked = match Asked::new(head, &self.judged) {
            Ok(asked) => asked,
            Err(unclear) => return Lookup::Unclear(unclear),
        };
        let (mut first, mut asks_body) = (usize::MAX, false);
        let (mut settled, mut nowhere) = (None, None);
        for reading in asked.readings() {
            let differs = match self.row(head, &reading) {
                Ok(row) => {
                    let (matcher, route) = &self.rows[row];
                    first = first.min(row);
                    asks_body |= !matcher.body.is_empty();
                    matcher.body.is_empty() && settled.replace(*route).is_some_and(|other| other != *route)
                }
                Err(other) => {
                    nowhere.get_or_insert(other);
                    false
                }
            };
            if differs || (nowhere.is_some() && first != usize::MAX) {
                return Lookup::Unclear(asked.differs_in(&self.judged));
            }
        }
        match (settled, nowhere) {
            (Some(route), _) if !asks_body => Lookup::Route(route),
            (_, Some(nowhere)) => nowhere,
            (_, None) => Lookup::NeedBody(BodyRules { first }),
        }
    }

    /// The first row that fits this reading of the head, or what there is instead.
    fn row(&self, head: &RequestHead, reading: &Reading<'_>) -> Result<usize, Lookup> {
        let mut methods: Vec<String> = Vec::new();
        // A route that fails for another reason than its method: then the method is not what is wrong.
        let mut takes_method = false;
        for (position, (matcher, _)) in self.rows.iter().enumerate() {
            if !matcher.has_place(reading.host, reading.path) {
                continue;
            }
            match matcher.method() {
                Some(method) if !method.accepts(head) => methods.push(method.name().to_owned()),
                _ if !matcher.has_headers(head, reading.singles) => takes_method = true,
                _ => return Ok(position),
            }
        }
        if takes_method || methods.is_empty() {
            return Err(Lookup::NotFound);
        }
        if methods.iter().any(|method| method == "GET") {
            methods.push("HEAD".to_owned());
        }
        methods.sort();
        methods.dedup();
        Err(Lookup::OtherMethods(methods))
    }

    /// The route for this head and what was seen of its body.
    pub fn decide(&self, rules: BodyRules, head: &RequestHead, body: BodySeen<'_>) -> Decision {
        let asked = match Asked::new(head, &self.judged) {
            Ok(asked) => asked,
            Err(unclear) => return Decision::Unclear(unclear),
        };
        let mut all = asked.readings().map(|reading| self.decide_reading(rules, head, &reading, body));
        let first = all.next().unwrap_or(Decision::NoRoute);
        match all.all(|other| other.route() == first.route()) {
            true => first,
            false => Decision::Unclear(asked.differs_in(&self.judged)),
        }
    }

    fn decide_reading(
        &self,
        rules: BodyRules,
        head: &RequestHead,
        reading: &Reading<'_>,
        body: BodySeen<'_>,
    ) -> Decision {
        let (mut tried, mut asked_model) = (false, false);
        let is_compressed = kind(head) == Kind::Encoded;
        for (matcher, route) in self.possible_rows(rules, head, reading) {
            let fits = match body {
                BodySeen::Members(members) => matcher.has_members(members),
                BodySeen::Nothing => matcher.body.is_empty(),
            };
            // Many servers do not look at the label: a condition that could not be held against the body does not fail open.
            if fits && is_compressed && tried {
                return Decision::NoBody;
            }
            if fits {
                return Decision::Route(route);
            }
            tried = true;
            asked_model |= matcher.body.iter().any(|rule| rule.path == "model");
        }
        debug_assert!(tried, "a look-up asks for the body only where a row does");
        match body {
            BodySeen::Nothing => Decision::NoBody,
            BodySeen::Members(_) if asked_model => Decision::NoModel,
            BodySeen::Members(_) => Decision::NoRoute,
        }
    }

    /// The route for this head, whatever is still to come of its body; none while that may change it. Of a body that turns
    /// out to be malformed it says nothing.
    pub fn foresee(
        &self,
        rules: BodyRules,
        head: &RequestHead,
        (members, known): (&[Member], Set),
    ) -> Option<RouteId> {
        let asked = Asked::new(head, &self.judged).ok()?;
        let mut only = None;
        for reading in asked.readings() {
            let mut is_certain = false;
            for (matcher, route) in self.possible_rows(rules, head, &reading) {
                let foreseen = matcher.foresees(members, known);
                if foreseen == Some(false) {
                    continue;
                }
                if *only.get_or_insert(route) != route {
                    return None;
                }
                if foreseen == Some(true) {
                    is_certain = true;
                    break;
                }
            }
            if !is_certain {
                return None;
            }
        }
        only
    }

    /// The routes that are still possible for this head.
    pub fn possible(&self, rules: BodyRules, head: &RequestHead) -> impl Iterator<Item = RouteId> {
        let asked = Asked::new(head, &self.judged).ok();
        let readings = asked.iter().flat_map(Asked::readings);
        let routes = readings.flat_map(|reading| {
            self.possible_rows(rules, head, &reading).map(|(_, route)| route).collect::<Vec<_>>()
        });
        routes.collect::<Vec<_>>().into_iter()
    }

    /// The members that body conditions speak of.
    pub fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// The rows that fit this reading of the head, down to the first that does not ask for the body.
    fn possible_rows<'t>(
        &'t self,
        rules: BodyRules,
        head: &RequestHead,
        reading: &Reading<'_>,
    ) -> impl Iterator<Item = (&'t Matcher, RouteId)> {
        let mut is_settled = false;
        self.rows[rules.first..]
            .iter()
            .filter(move |(matcher, _)| {
                matcher.has_place(reading.host, reading.path)
                    && matcher.method().is_none_or(|method| method.accepts(head))
                    && matcher.has_headers(head, reading.singles)
            })
            .map_while(move |(matcher, route)| {
                let was_settled = is_settled;
                is_settled |= matcher.body.is_empty();
                (!was_settled).then_some((matcher, *route))
            })
    }

    /// The rows in the order they are tried.
    pub fn rows(&self) -> impl Iterator<Item = (&Matcher, RouteId)> {
        self.rows.iter().map(|(matcher, route)| (matcher, *route))
    }
}

#[cfg(test)]
mod tests;
