//! Which route a request takes; knows no cluster, no socket, no clock.
//!
//! The most specific route wins: host, then path (exact over parameter over prefix, longest first), then method, then
//! the number of conditions, then exact over glob, then the order in the file. The table is sorted so once, at compile
//! time; a look-up takes the first that fits.

pub mod glob;
pub mod matcher;
pub mod path;

use std::borrow::Cow;

use matcher::Matcher;

use crate::base::ids::RouteId;
use crate::codec::head::RequestHead;

/// The compiled routes, most specific first.
#[derive(Debug, Default)]
pub struct RouteTable {
    rows: Vec<(Matcher, RouteId)>,
}

/// What a look-up finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This route.
    Route(RouteId),
    /// No route has this host and path.
    NotFound,
    /// Some route has this host and path, none this method; these are the methods there are.
    OtherMethods(Vec<String>),
    /// The path breaks the rules: dot segments, encoded slashes, backslashes, NUL.
    BadPath,
}

impl RouteTable {
    /// Sorts routes by how specific they are; equal ones keep their order.
    pub fn new(mut rows: Vec<(Matcher, RouteId)>) -> Self {
        rows.sort_by_key(|(matcher, _)| std::cmp::Reverse(matcher.specificity()));
        Self { rows }
    }

    /// The route for this head.
    pub fn find(&self, head: &RequestHead) -> Lookup {
        let path: Cow<'_, [u8]> = match path::normalized(head.path()) {
            Ok(path) => path,
            Err(path::BadPath) => return Lookup::BadPath,
        };
        let host = host_of(head.authority());
        let mut methods: Vec<String> = Vec::new();
        for (matcher, route) in &self.rows {
            if !matcher.has_place(host, &path) {
                continue;
            }
            match matcher.method() {
                Some(method) if !method.accepts(head) => methods.push(method.name().to_owned()),
                _ if matcher.has_headers(head) => return Lookup::Route(*route),
                _ => {}
            }
        }
        if methods.is_empty() {
            return Lookup::NotFound;
        }
        if methods.iter().any(|method| method == "GET") {
            methods.push("HEAD".to_owned());
        }
        methods.sort();
        methods.dedup();
        Lookup::OtherMethods(methods)
    }

    /// The routes in the order they are tried.
    pub fn rows(&self) -> impl Iterator<Item = (&Matcher, RouteId)> {
        self.rows.iter().map(|(matcher, route)| (matcher, *route))
    }
}

/// The host of an authority, without its port.
fn host_of(authority: &[u8]) -> &[u8] {
    let end = match authority.first() {
        Some(b'[') => memchr::memchr(b']', authority).map(|close| close + 1),
        _ => memchr::memchr(b':', authority),
    };
    &authority[..end.unwrap_or(authority.len())]
}

#[cfg(test)]
mod tests;
