//! Which members of a document are wanted, compiled once.

use std::sync::Arc;

use crate::base::limits::{BODY_FIELDS_MAX, BODY_PATH_SEGMENTS_MAX};

/// Paths of wanted members, `model` or `metadata.tier`, each known by its position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    paths: Vec<Vec<String>>,
    longest_segment: usize,
}

/// A set of wanted paths, one bit each.
pub type Set = u64;

const _: () = assert!(BODY_FIELDS_MAX <= Set::BITS as usize, "a set has a bit for each wanted path");

impl Wanted {
    /// These members, for a reader that knows them to have room.
    pub fn of<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Arc<Self> {
        let mut wanted = Self::default();
        for path in paths {
            wanted.add(path.as_ref()).expect("they are few, and paths");
        }
        Arc::new(wanted)
    }

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

    /// The path at `position`, as it was written.
    pub fn path(&self, position: usize) -> Option<String> {
        self.paths.get(position).map(|segments| segments.join("."))
    }

    /// The position of `path`, if it is wanted.
    pub fn position(&self, path: &str) -> Option<usize> {
        self.paths.iter().position(|known| known.iter().map(String::as_str).eq(path.split('.')))
    }

    /// The segment of the path at `position` that names a member of the object at `level`; empty behind its end.
    pub(super) fn segment(&self, position: usize, level: usize) -> &str {
        self.paths[position].get(level).map_or("", String::as_str)
    }

    /// All of them.
    pub fn all(&self) -> Set {
        match self.paths.len() {
            0 => 0,
            count => Set::MAX >> (Set::BITS as usize - count),
        }
    }

    /// Bytes of the longest key that matters. One letter of another case may take three (`K`, the sign of Kelvin).
    pub(crate) fn key_bytes_max(&self) -> usize {
        3 * self.longest_segment
    }

    /// Those of `among` whose segment at `level` is `key`.
    pub(super) fn at(&self, among: Set, level: usize, key: &[u8]) -> Keyed {
        let keyed = |fits: fn(&str, &[u8]) -> bool| {
            self.filter(among, |path| path.get(level).is_some_and(|segment| fits(segment, key)))
        };
        Keyed { exact: keyed(|segment, key| segment.as_bytes() == key), folded: keyed(folds_to) }
    }

    /// The wanted member of one name only that a form's field called `name` is.
    pub(crate) fn field(&self, name: &[u8]) -> Field {
        let keyed = self.at(self.ending(self.all(), 0), 0, name);
        match (positions(keyed.exact).next(), positions(keyed.folded).next()) {
            (Some(member), _) => Field::Wanted(member),
            (None, Some(member)) => Field::OtherCase(member),
            (None, None) => Field::Unwanted,
        }
    }

    /// Those of `among` that end at `level`.
    pub(super) fn ending(&self, among: Set, level: usize) -> Set {
        self.filter(among, |path| path.len() == level + 1)
    }

    fn filter(&self, among: Set, keep: impl Fn(&[String]) -> bool) -> Set {
        positions(among).filter(|&at| keep(&self.paths[at])).fold(0, |set, at| set | 1 << at)
    }
}

/// The wanted paths that a key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keyed {
    /// By its own spelling.
    pub(super) exact: Set,
    /// In any case: these, and those that only some readers take it for.
    pub(super) folded: Set,
}

/// What a form's field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The wanted member at this position.
    Wanted(usize),
    /// That member, but for the case of a letter.
    OtherCase(usize),
    /// Nothing that anybody asks for.
    Unwanted,
}

/// Whether `key` is `segment` to a reader that ignores case. Go's encoding/json does, and takes the last such key; it folds
/// simply, so that the long s is an s and the sign of Kelvin a k.
pub(crate) fn folds_to(segment: &str, key: &[u8]) -> bool {
    if segment.is_ascii() && key.is_ascii() {
        return segment.as_bytes().eq_ignore_ascii_case(key);
    }
    std::str::from_utf8(key).is_ok_and(|key| segment.chars().map(folded).eq(key.chars().map(folded)))
}

/// One character for all cases of a letter: up and down again, where each way leads to one character.
fn folded(letter: char) -> char {
    let upper = only(letter.to_uppercase()).unwrap_or(letter);
    only(upper.to_lowercase()).unwrap_or(upper)
}

fn only(mut characters: impl Iterator<Item = char>) -> Option<char> {
    characters.next().filter(|_| characters.next().is_none())
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
    /// It is null.
    Null,
    /// It is there, but nothing that a condition can be held against: an object, an array, a string that is longer than any
    /// condition.
    Other,
}
