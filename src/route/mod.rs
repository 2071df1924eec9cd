//! Which route a request takes; knows no cluster, no socket, no clock.
//!
//! The most specific route wins: host, then path (exact over parameter over prefix, longest first), then method, then
//! the number of conditions, then exact over glob over expression, then the order in the file. The table is sorted so
//! once, at compile time; a look-up takes the first row that fits. A list of values makes one row for each.
//!
//! Where the first row that fits the head asks for the body too, the look-up goes on once the body is known, from that
//! row on.

pub mod body;
pub mod glob;
pub mod matcher;
pub mod path;
pub mod pattern;
pub mod rewrite;

use std::borrow::Cow;
use std::sync::Arc;

use body::{BodyRules, BodySeen, Decision};
use matcher::Matcher;

use crate::base::ids::RouteId;
use crate::codec::head::RequestHead;
use crate::codec::json::Wanted;

/// The compiled routes, most specific first.
#[derive(Debug, Default)]
pub struct RouteTable {
    rows: Vec<(Matcher, RouteId)>,
    wanted: Arc<Wanted>,
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
    /// The path breaks the rules: dot segments, encoded slashes, backslashes, NUL.
    BadPath,
}

impl RouteTable {
    /// Sorts rows by how specific they are; equal ones keep their order. `wanted` are the members that their body
    /// conditions speak of.
    pub fn new(mut rows: Vec<(Matcher, RouteId)>, wanted: Wanted) -> Self {
        rows.sort_by_key(|(matcher, _)| std::cmp::Reverse(matcher.specificity()));
        Self { rows, wanted: Arc::new(wanted) }
    }

    /// The route for this head, as far as the head decides it.
    pub fn find(&self, head: &RequestHead) -> Lookup {
        let path: Cow<'_, [u8]> = match path::normalized(head.path()) {
            Ok(path) => path,
            Err(path::BadPath) => return Lookup::BadPath,
        };
        let host = host_of(head.authority());
        let mut methods: Vec<String> = Vec::new();
        // A route that fails for another reason than its method: then the method is not what is wrong.
        let mut takes_method = false;
        for (position, (matcher, route)) in self.rows.iter().enumerate() {
            if !matcher.has_place(&host, &path) {
                continue;
            }
            match matcher.method() {
                Some(method) if !method.accepts(head) => methods.push(method.name().to_owned()),
                _ if !matcher.has_headers(head) => takes_method = true,
                _ if matcher.body.is_empty() => return Lookup::Route(*route),
                _ => return Lookup::NeedBody(BodyRules { first: position }),
            }
        }
        if takes_method || methods.is_empty() {
            return Lookup::NotFound;
        }
        if methods.iter().any(|method| method == "GET") {
            methods.push("HEAD".to_owned());
        }
        methods.sort();
        methods.dedup();
        Lookup::OtherMethods(methods)
    }

    /// The route for this head and what was seen of its body.
    pub fn decide(&self, rules: BodyRules, head: &RequestHead, body: BodySeen<'_>) -> Decision {
        let (mut tried, mut asked_model) = (false, false);
        for (matcher, route) in self.possible_rows(rules, head) {
            let fits = match body {
                BodySeen::Members(members) => matcher.has_members(members),
                BodySeen::Nothing | BodySeen::Malformed(_) => matcher.body.is_empty(),
            };
            if fits {
                return Decision::Route(route);
            }
            tried = true;
            asked_model |= matcher.body.iter().any(|rule| rule.path == "model");
        }
        debug_assert!(tried, "a look-up asks for the body only where a row does");
        match body {
            BodySeen::Nothing | BodySeen::Malformed(_) => Decision::NoBody,
            BodySeen::Members(_) if asked_model => Decision::NoModel,
            BodySeen::Members(_) => Decision::NoRoute,
        }
    }

    /// The routes that are still possible for this head.
    pub fn possible(&self, rules: BodyRules, head: &RequestHead) -> impl Iterator<Item = RouteId> {
        self.possible_rows(rules, head).map(|(_, route)| route)
    }

    /// The members that body conditions speak of.
    pub fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// The rows that fit the head, down to the first that does not ask for the body.
    fn possible_rows<'t>(
        &'t self,
        rules: BodyRules,
        head: &RequestHead,
    ) -> impl Iterator<Item = (&'t Matcher, RouteId)> {
        let path = path::normalized(head.path()).unwrap_or_default();
        let host = host_of(head.authority());
        let mut is_settled = false;
        self.rows[rules.first..]
            .iter()
            .filter(move |(matcher, _)| {
                matcher.has_place(&host, &path)
                    && matcher.method().is_none_or(|method| method.accepts(head))
                    && matcher.has_headers(head)
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

/// The host of an authority as routes see it: without its port and the dot at its end, an IPv6 address in its one
/// canonical form.
fn host_of(authority: &[u8]) -> Cow<'_, [u8]> {
    if authority.first() == Some(&b'[') {
        let literal = memchr::memchr(b']', authority).map_or(authority, |close| &authority[..=close]);
        return Cow::Owned(glob::canonical_host(&String::from_utf8_lossy(literal)).into_bytes());
    }
    let name = &authority[..memchr::memchr(b':', authority).unwrap_or(authority.len())];
    // Servers differ on more than one dot: all of them are left out.
    let end = name.iter().rposition(|&byte| byte != b'.').map_or(0, |last| last + 1);
    Cow::Borrowed(&name[..end])
}

#[cfg(test)]
mod tests;
