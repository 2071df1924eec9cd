//! The ways in which servers may read what a request is routed by; nearly all requests have one.

use std::borrow::Cow;

use super::path::{self, BadPath, Readings};
use crate::base::glob::canonical_host;
use crate::base::limits::HEADER_READINGS_MAX;
use crate::codec::head::RequestHead;

/// One of the values of a field that comes more than once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Single<'h> {
    pub(super) name: &'h str,
    pub(super) value: &'h [u8],
}

/// One way to read a request.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) host: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) singles: &'a [Single<'a>],
}

/// What a request asks for, in all its readings.
#[derive(Debug)]
pub(super) struct Asked<'h> {
    host: Cow<'h, [u8]>,
    paths: Readings<'h>,
    /// A choice of one value for each routed field that comes more than once; none where none does.
    singles: Vec<Vec<Single<'h>>>,
}

/// Why a request has no one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclear {
    /// Its path breaks the rules, or leads here and there in different readings.
    Path,
    /// A field that rows look at comes more than once, and its values lead here and there. Its position in `RouteTable::judged`.
    Header(usize),
}

impl<'h> Asked<'h> {
    /// Of the request with this head, in a table whose rows look at these fields.
    pub(super) fn new(head: &'h RequestHead, fields: &'h [String]) -> Result<Self, Unclear> {
        let paths = path::readings(head.path()).map_err(|BadPath| Unclear::Path)?;
        let mut singles = Vec::new();
        for (position, name) in fields.iter().enumerate() {
            if is_doubled(head, name) {
                singles = each(singles, head, name).ok_or(Unclear::Header(position))?;
            }
        }
        Ok(Self { host: host_of(head.authority()), paths, singles })
    }

    /// All readings; the first is the request as it came.
    pub(super) fn readings(&self) -> impl Iterator<Item = Reading<'_>> {
        let choices = self.singles.len().max(1);
        (0..self.paths.len() * choices).map(move |at| Reading {
            host: &self.host,
            path: self.paths.at(at / choices),
            singles: self.singles.get(at % choices).map_or(&[], Vec::as_slice),
        })
    }

    /// What its readings differ in.
    pub(super) fn differs_in(&self, fields: &[String]) -> Unclear {
        let doubled = self.singles.first().and_then(|choice| choice.first());
        let position = doubled.and_then(|single| fields.iter().position(|name| name == single.name));
        match (&self.paths, position) {
            (Readings::One(_), Some(position)) => Unclear::Header(position),
            (Readings::One(_), None) | (Readings::Several(_), _) => Unclear::Path,
        }
    }
}

/// Whether the field called `name` comes more than once.
pub(super) fn is_doubled(head: &RequestHead, name: &str) -> bool {
    head.head().values_of(name.as_bytes()).nth(1).is_some()
}

/// Each of `choices` once for each value of the field called `name`; none where that makes too many.
#[cold]
fn each<'h>(
    choices: Vec<Vec<Single<'h>>>,
    head: &'h RequestHead,
    name: &'h str,
) -> Option<Vec<Vec<Single<'h>>>> {
    let mut values: Vec<&[u8]> = head.head().values_of(name.as_bytes()).collect();
    values.sort_unstable();
    values.dedup();
    let choices = if choices.is_empty() { vec![Vec::new()] } else { choices };
    if choices.len() * values.len() > HEADER_READINGS_MAX {
        return None;
    }
    let with = |choice: &Vec<Single<'h>>, value| {
        choice.iter().copied().chain(std::iter::once(Single { name, value })).collect()
    };
    Some(choices.iter().flat_map(|choice| values.iter().map(move |value| with(choice, *value))).collect())
}

/// The host of an authority as routes see it: without its port and the dot at its end, an IPv6 address in its one
/// canonical form.
pub(super) fn host_of(authority: &[u8]) -> Cow<'_, [u8]> {
    if authority.first() == Some(&b'[') {
        let literal = memchr::memchr(b']', authority).map_or(authority, |close| &authority[..=close]);
        return Cow::Owned(canonical_host(&String::from_utf8_lossy(literal)).into_bytes());
    }
    let name = &authority[..memchr::memchr(b':', authority).unwrap_or(authority.len())];
    // Servers differ on more than one dot: all of them are left out.
    let dots = name.iter().rev().take_while(|byte| **byte == b'.').count();
    Cow::Borrowed(&name[..name.len() - dots])
}
