//! What is wrong with a configuration: place, what, why, fix.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Where something stands in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, or the command line option.
    pub file: Arc<str>,
    /// Line, counted from 1; 0 on the command line.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

impl Place {
    /// A place on the command line.
    pub fn option(name: &str) -> Self {
        Self { file: Arc::from(name), line: 0, column: 0 }
    }

    /// The place of a byte `offset` in the text of `file`.
    pub fn at(file: &Arc<str>, text: &str, offset: usize) -> Self {
        Lines::of(text).place(file, text, offset)
    }
}

/// Where the lines of a text begin: many places in one text are found without counting from its start each time.
#[derive(Debug)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// The lines of `text`.
    pub fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect())
    }

    /// The place of a byte `offset` in that text, which is the text of `file`.
    pub fn place(&self, file: &Arc<str>, text: &str, offset: usize) -> Place {
        let offset = if text.is_char_boundary(offset) { offset } else { text.len() };
        let line = self.0.partition_point(|start| *start <= offset);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let start = self.0[line - 1];
        Place {
            file: Arc::clone(file),
            line: count(line),
            column: count(text[start..offset].chars().count() + 1),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// One problem, addressed to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What it would lead to, or which rule it breaks.
    pub why: String,
    /// What to write instead.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, what, why, fix } = self;
        write!(f, "{place}: {}\n  why: {}\n  fix: {}", plain(what), plain(why), plain(fix))
    }
}

/// `text` on one line: what an operator wrote must not steer the terminal it is shown on.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T> Placed<T> {
    /// A problem with this value.
    pub fn problem(
        &self,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Problem {
        Problem { place: self.place.clone(), what: what.into(), why: why.into(), fix: fix.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_messages_are_plain() {
        let file = Arc::from("f");
        let place = Place::at(&file, "a\nüx", 4);
        assert_eq!(place.to_string(), "f:2:2");
        let problem = Placed { value: (), place: place.clone() }.problem("\"é\u{1b}[1m\n\"", "why", "fix");
        assert_eq!(problem.to_string(), "f:2:2: \"é\\u{1b}[1m\\n\"\n  why: why\n  fix: fix");
        assert_eq!(Place::option("--upstream").to_string(), "--upstream");
    }
}
