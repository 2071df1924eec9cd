//! Which values of a document are meant: `messages[*].content`, `prompt`. A path means all that stands inside it too, for
//! what is a text in one request is a list of parts in the next.

use super::wanted::folds_to;
use crate::base::limits::{BODY_FIELDS_MAX, BODY_PATH_SEGMENTS_MAX};

/// Paths of values; without one all are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection(Vec<Vec<Step>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// The member of this name.
    Member(String),
    /// Each item of a list.
    Each,
}

/// A set of paths, one bit each.
type Set = u64;

const _: () = assert!(BODY_FIELDS_MAX <= Set::BITS as usize, "a set has a bit for each path");

/// The paths that lead to a value, and whether it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    fitting: Set,
    depth: usize,
    pub(super) is_meant: bool,
}

impl Selection {
    /// Adds a path: names with `.` between them, `[*]` for each item of a list.
    ///
    /// # Errors
    ///
    /// What to write instead.
    pub fn add(&mut self, path: &str) -> Result<(), String> {
        let fix = || {
            format!(
                "write names with \".\" between them and \"[*]\" for each item, {BODY_PATH_SEGMENTS_MAX} steps at most, such as \"messages[*].content\""
            )
        };
        let mut steps = Vec::new();
        for segment in path.split('.') {
            let (name, mut rest) = segment.split_at(segment.find('[').unwrap_or(segment.len()));
            if name.is_empty() || name.contains(']') {
                return Err(fix());
            }
            steps.push(Step::Member(name.to_owned()));
            while !rest.is_empty() {
                rest = rest.strip_prefix("[*]").ok_or_else(fix)?;
                steps.push(Step::Each);
            }
        }
        match steps.len() <= BODY_PATH_SEGMENTS_MAX && self.0.len() < BODY_FIELDS_MAX {
            true => self.0.push(steps),
            false => return Err(fix()),
        }
        Ok(())
    }

    /// The document itself.
    pub(super) fn root(&self) -> Place {
        let all = match self.0.len() {
            0 => 0,
            count => Set::MAX >> (Set::BITS as usize - count),
        };
        Place { fitting: all, depth: 0, is_meant: self.0.is_empty() }
    }

    /// The member called `key` of what is at `place`, in any case: some readers do not mind.
    pub(super) fn member(&self, place: Place, key: &[u8]) -> Place {
        self.step(place, |step| matches!(step, Step::Member(name) if folds_to(name, key)))
    }

    /// An item of the list at `place`.
    pub(super) fn item(&self, place: Place) -> Place {
        self.step(place, |step| *step == Step::Each)
    }

    /// Whether the field of a form is meant.
    pub fn has_field(&self, name: &[u8]) -> bool {
        self.member(self.root(), name).is_meant
    }

    fn step(&self, Place { fitting, depth, is_meant }: Place, fits: impl Fn(&Step) -> bool) -> Place {
        let mut next = Place { fitting: 0, depth: depth + 1, is_meant };
        for (position, path) in self.0.iter().enumerate().filter(|(position, _)| fitting >> position & 1 == 1)
        {
            if path.get(depth).is_some_and(&fits) {
                next.fitting |= 1 << position;
                next.is_meant |= path.len() == depth + 1;
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_and_items() {
        for (path, holds) in [
            ("prompt", true),
            ("messages[*].content", true),
            ("a[*][*].b", true),
            ("", false),
            ("a..b", false),
            ("a[0]", false),
            ("[*]", false),
            ("a[*]b", false),
            ("a]", false),
            ("a.b.c.d.e.f.g.h.i", false),
        ] {
            assert_eq!(Selection::default().add(path).is_ok(), holds, "{path}");
        }
    }
}
