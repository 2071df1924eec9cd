//! What is changed in JSON bodies, compiled once: members that are set, filled in, bounded or removed, by their paths.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

use super::decimal::Decimal;
use super::wanted::{Set, Wanted, positions};

/// What is done with one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It says this, whatever it said; a value as JSON.
    Set(String),
    /// It says this where it is absent or null; a value as JSON.
    Default(String),
    /// A number above this one becomes this one; a number as JSON.
    Clamp(String),
    /// It goes.
    Remove,
}

/// What is done with a member, all edits of it together.
#[derive(Debug)]
pub(super) enum Rule {
    Set(Bytes),
    Remove,
    Bound { default: Option<Bytes>, most: Option<(Decimal, Bytes)> },
}

/// All that is changed in a body.
#[derive(Debug)]
pub struct BodyEdits {
    wanted: Arc<Wanted>,
    /// By the positions of the members.
    rules: Vec<Rule>,
    /// Those that are removed, and those that are put in where they are absent.
    removed: Set,
    inserted: Set,
    /// Where a bound has another name.
    pub(super) twin: Option<Twin>,
}

/// A bound under two names: where the second one is there, the first one counts as there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Twin {
    pub(super) first: usize,
    pub(super) second: usize,
    /// Whether the second one is there, where that does not depend on the client.
    pub(super) is_there: Option<bool>,
}

/// What OpenAI calls it, of old and today.
const BOUND: &str = "max_tokens";
const BOUND_TODAY: &str = "max_completion_tokens";

impl BodyEdits {
    /// Edits by the paths of their members; none where there are more members than a scan can look for.
    pub fn new<'e>(edits: impl IntoIterator<Item = (&'e str, &'e Edit)>) -> Option<Self> {
        let mut wanted = Wanted::default();
        let mut rules: Vec<Rule> = Vec::new();
        let fresh = || Rule::Bound { default: None, most: None };
        for (path, edit) in edits {
            let position = wanted.add(path)?;
            if position == rules.len() {
                rules.push(fresh());
            }
            rules[position].add(edit);
        }
        let first = wanted.position(BOUND).filter(|first| matches!(rules[*first], Rule::Bound { .. }));
        let twin = match first {
            None => None,
            Some(first) => {
                let second = wanted.add(BOUND_TODAY)?;
                if second == rules.len() {
                    rules.push(fresh());
                }
                if let Rule::Bound { most: Some((_, text)), .. } = &rules[first] {
                    let clamp = Edit::Clamp(String::from_utf8_lossy(text).into_owned());
                    rules[second].add(&clamp);
                }
                let is_there = match rules[second] {
                    Rule::Set(_) => Some(true),
                    Rule::Remove => Some(false),
                    Rule::Bound { .. } => None,
                };
                Some(Twin { first, second, is_there })
            }
        };
        let those = |is: fn(&Rule) -> bool| {
            let found = rules.iter().enumerate().filter(|(_, rule)| is(rule));
            found.fold(0, |set, (position, _)| set | 1 << position)
        };
        let removed = those(|rule| matches!(rule, Rule::Remove));
        let inserted = those(|rule| matches!(rule, Rule::Set(_) | Rule::Bound { default: Some(_), .. }));
        Some(Self { wanted: Arc::new(wanted), rules, removed, inserted, twin })
    }

    /// The members that it looks for.
    pub fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// Whether a body must be an object: something may have to be put into it.
    pub fn needs_object(&self) -> bool {
        self.inserted != 0
    }

    /// Whether what the client says as the member at `path` goes nowhere.
    pub fn replaces(&self, path: &str) -> bool {
        let rule = self.wanted.position(path).map(|position| &self.rules[position]);
        matches!(rule, Some(Rule::Set(_) | Rule::Remove))
    }

    /// What is put in as the member at `path` where the client leaves it out, as JSON.
    pub fn provided(&self, path: &str) -> Option<&[u8]> {
        match &self.rules[self.wanted.position(path)?] {
            Rule::Set(value) | Rule::Bound { default: Some(value), .. } => Some(value),
            Rule::Remove | Rule::Bound { default: None, .. } => None,
        }
    }

    pub(super) fn rule(&self, position: usize) -> &Rule {
        &self.rules[position]
    }

    /// Those of `among` that are removed from the object at `level`.
    pub(super) fn removed(&self, among: Set, level: usize) -> Set {
        self.wanted.ending(among & self.removed, level)
    }

    /// The first of `among` that is put in where it is absent.
    pub(super) fn inserted(&self, among: Set) -> Option<usize> {
        positions(among & self.inserted).next()
    }

    /// The members of `among` that are put into an object at `level`, as JSON with commas between them; nothing for
    /// `but`.
    pub(super) fn members(&self, among: Set, level: usize, but: Option<usize>) -> String {
        let mut left = among & self.inserted & !but.map_or(0, |position| 1 << position);
        let mut members = Vec::new();
        while let Some(position) = positions(left).next() {
            let name = self.wanted.segment(position, level);
            let same = positions(left).filter(|other| self.wanted.segment(*other, level) == name);
            let same = same.fold(0, |set, other| set | 1 << other);
            left &= !same;
            let name = serde_json::Value::from(name);
            members.push(match (self.wanted.ending(same, level), &self.rules[position]) {
                (0, _) => format!("{name}:{{{}}}", self.members(same, level + 1, None)),
                (_, Rule::Set(value) | Rule::Bound { default: Some(value), .. }) => {
                    format!("{name}:{}", String::from_utf8_lossy(value))
                }
                (_, Rule::Remove | Rule::Bound { default: None, .. }) => {
                    unreachable!("it is among those that are put in")
                }
            });
        }
        members.join(",")
    }
}

impl Rule {
    fn add(&mut self, edit: &Edit) {
        match (edit, self) {
            (Edit::Set(value), rule) => *rule = Self::Set(Bytes::from(value.clone())),
            (Edit::Remove, rule) => *rule = Self::Remove,
            (Edit::Default(value), Self::Bound { default, .. }) => {
                *default = Some(Bytes::from(value.clone()))
            }
            (Edit::Clamp(bound), Self::Bound { most, .. }) => {
                let new = Decimal::of(bound);
                let is_lower = |(old, _): &(Decimal, Bytes)| new.compared(old) == Ordering::Less;
                if most.as_ref().is_none_or(is_lower) {
                    *most = Some((new, Bytes::from(bound.clone())));
                }
            }
            // What is set or gone anyway is neither absent nor too high.
            (Edit::Default(_) | Edit::Clamp(_), Self::Set(_) | Self::Remove) => {}
        }
    }
}
