//! Which members of a document are wanted, compiled once.

use crate::base::limits::{BODY_FIELDS_MAX, BODY_PATH_SEGMENTS_MAX};

/// Paths of wanted members, `model` or `metadata.tier`, each known by its position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    paths: Vec<Vec<String>>,
    longest_segment: usize,
}

/// A set of wanted paths, one bit each.
pub(super) type Set = u64;

const _: () = assert!(BODY_FIELDS_MAX <= Set::BITS as usize, "a set has a bit for each wanted path");

impl Wanted {
    /// The position of `path`, which is added if it is new; none where there is no room, or where it has too many
    /// segments or an empty one.
    pub fn add(&mut self, path: &str) -> Option<usize> {
        let segments: Vec<String> = path.split('.').map(str::to_owned).collect();
        if let Some(known) = self.paths.iter().position(|known| *known == segments) {
            return Some(known);
        }
        let fits = self.paths.len() < BODY_FIELDS_MAX
            && segments.len() <= BODY_PATH_SEGMENTS_MAX
            && segments.iter().all(|segment| !segment.is_empty());
        if !fits {
            return None;
        }
        let longest = segments.iter().map(String::len).max().unwrap_or(0);
        self.longest_segment = self.longest_segment.max(longest);
        self.paths.push(segments);
        Some(self.paths.len() - 1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The path at `position`, if it has one segment only: the name of a form's part, too.
    pub fn name(&self, position: usize) -> Option<&str> {
        match self.paths.get(position)?.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    /// The path at `position`, as it was written.
    pub fn path(&self, position: usize) -> Option<String> {
        self.paths.get(position).map(|segments| segments.join("."))
    }

    pub(super) fn all(&self) -> Set {
        match self.paths.len() {
            0 => 0,
            count => Set::MAX >> (Set::BITS as usize - count),
        }
    }

    /// Bytes of the longest key that matters.
    pub(super) fn longest_segment(&self) -> usize {
        self.longest_segment
    }

    /// Those of `among` whose segment at `level` is `key`.
    pub(super) fn at(&self, among: Set, level: usize, key: &[u8]) -> Set {
        self.filter(among, |path| path.get(level).is_some_and(|segment| segment.as_bytes() == key))
    }

    /// Those of `among` that end at `level`.
    pub(super) fn ending(&self, among: Set, level: usize) -> Set {
        self.filter(among, |path| path.len() == level + 1)
    }

    fn filter(&self, among: Set, keep: impl Fn(&[String]) -> bool) -> Set {
        positions(among).filter(|&at| keep(&self.paths[at])).fold(0, |set, at| set | 1 << at)
    }
}

/// The members of a set.
pub(super) fn positions(mut set: Set) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let next = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        next
    })
}

/// What is known of a wanted member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Member {
    /// It has not come, or never will.
    #[default]
    Absent,
    /// A string's decoded text, or a number, `true` or `false` as written.
    Scalar(Vec<u8>),
    /// It is there, but nothing that a condition can be held against: null, an object, an array, a string that is
    /// longer than any condition.
    Other,
}
