//! Host, path, method, header and body conditions of one row of the table, and how specific they are.

pub use super::path_rule::PathRule;
use super::pattern::Pattern;
use super::reading::Single;
use crate::base::glob::{Case, Glob};
use crate::codec::head::RequestHead;
use crate::codec::json::{Member, Set};
use crate::codec::method::Method;

/// The method of a route; GET takes HEAD too (RFC 9110 §9.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodRule {
    name: String,
    kind: Method,
}

impl MethodRule {
    /// The method called `name`.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), kind: Method::of(name.as_bytes()) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether every method that `other` takes is taken by this one too.
    fn covers(&self, other: &Self) -> bool {
        self == other || matches!((self.kind, other.kind), (Method::Get, Method::Head))
    }

    pub(super) fn accepts(&self, head: &RequestHead) -> bool {
        self.takes(head.method(), head.method_bytes())
    }

    pub(super) fn takes(&self, method: Method, name: &[u8]) -> bool {
        match (self.kind, method) {
            (Method::Get, Method::Head) => true,
            (Method::Other, Method::Other) => self.name.as_bytes() == name,
            (wanted, asked) => wanted == asked,
        }
    }
}

/// A field that must be there with a value that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderRule {
    /// The name, in any case.
    pub name: String,
    /// What one of its values must look like.
    pub value: Pattern,
}

/// A member of the body that must be there with a value that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct BodyRule {
    /// Its position among the wanted members of the table.
    pub member: usize,
    /// Its path.
    pub path: String,
    /// What its value must look like.
    pub value: Pattern,
}

/// All conditions of one row. Absent ones fit everything.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    /// The host, without port.
    pub host: Option<Glob>,
    /// The path.
    pub path: Option<PathRule>,
    /// The method.
    pub method: Option<MethodRule>,
    /// Fields.
    pub headers: Vec<HeaderRule>,
    /// Members of the body.
    pub body: Vec<BodyRule>,
}

/// Orders matchers: the greater one is tried first.
pub type Specificity = ((u8, usize), (u8, usize), bool, usize, (usize, usize));

impl Matcher {
    pub(super) fn has_place(&self, host: &[u8], path: &[u8]) -> bool {
        self.path.as_ref().is_none_or(|rule| rule.fits(path))
            && self.host.as_ref().is_none_or(|glob| glob.fits(host, Case::Insensitive))
    }

    pub(super) fn method(&self) -> Option<&MethodRule> {
        self.method.as_ref()
    }

    /// Names of the fields that it looks at, in lower case.
    pub(super) fn judged(&self) -> impl Iterator<Item = String> {
        self.headers.iter().map(|rule| rule.name.to_ascii_lowercase())
    }

    /// Whether the fields fit; of those that come more than once, `singles` says which value counts.
    pub(super) fn has_headers(&self, head: &RequestHead, singles: &[Single<'_>]) -> bool {
        self.headers.iter().all(|rule| {
            match singles.iter().find(|single| single.name.eq_ignore_ascii_case(&rule.name)) {
                Some(single) => rule.value.fits(single.value),
                None => head.head().values_of(rule.name.as_bytes()).any(|value| rule.value.fits(value)),
            }
        })
    }

    /// Whether the members that were found in the body fit.
    pub(super) fn has_members(&self, members: &[Member]) -> bool {
        self.body.iter().all(|rule| match members.get(rule.member) {
            Some(Member::Scalar(value)) => rule.value.fits(value),
            Some(Member::Absent | Member::Null | Member::Other) | None => false,
        })
    }

    /// The same of a body that is still to come in part: none where that depends on members which are not `known` yet.
    pub(super) fn foresees(&self, members: &[Member], known: Set) -> Option<bool> {
        let is_known = |rule: &&BodyRule| known >> rule.member & 1 == 1;
        let fits = |rule: &BodyRule| match members.get(rule.member) {
            Some(Member::Scalar(value)) => rule.value.fits(value),
            Some(Member::Absent | Member::Null | Member::Other) | None => false,
        };
        if self.body.iter().filter(is_known).any(|rule| !fits(rule)) {
            return Some(false);
        }
        self.body.iter().all(|rule| is_known(&rule)).then_some(true)
    }

    /// How specific this is; the fields stand in the order in which they count. A condition that is there is never
    /// less specific than one that is not.
    pub fn specificity(&self) -> Specificity {
        let host =
            self.host.as_ref().map_or((0, 0), |glob| (1 + u8::from(glob.is_exact()), glob.fixed_len()));
        let path = self.path.as_ref().map_or((0, 0), |rule| {
            let (kind, length) = rule.rank();
            (kind + 1, length)
        });
        let values =
            || self.headers.iter().map(|rule| &rule.value).chain(self.body.iter().map(|rule| &rule.value));
        let with = |rank| values().filter(|value| value.rank() == rank).count();
        (host, path, self.method.is_some(), values().count(), (with(2), with(1)))
    }

    /// Whether everything that fits `other` fits this one too, as far as can be told without looking inside
    /// expressions: then `other` can never win behind it.
    pub fn covers(&self, other: &Self) -> bool {
        let host = match (&self.host, &other.host) {
            (None, _) => true,
            (Some(host), None) => host.takes_all(),
            (Some(host), Some(other)) => host.covers(other, Case::Insensitive),
        };
        let path =
            self.path.as_ref().is_none_or(|path| other.path.as_ref().is_some_and(|other| path.covers(other)));
        let method = self
            .method
            .as_ref()
            .is_none_or(|method| other.method.as_ref().is_some_and(|other| method.covers(other)));
        let header = |rule: &HeaderRule| {
            let same = |other: &&HeaderRule| other.name.eq_ignore_ascii_case(&rule.name);
            other.headers.iter().filter(same).any(|other| rule.value.covers(&other.value))
        };
        let member = |rule: &BodyRule| {
            let same = |other: &&BodyRule| other.member == rule.member;
            other.body.iter().filter(same).any(|other| rule.value.covers(&other.value))
        };
        host && path && method && self.headers.iter().all(header) && self.body.iter().all(member)
    }
}
