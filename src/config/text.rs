//! TOML to `Config`, with places: all problems of a file at once.

use std::ops::Range;

use super::file::FilePrint;
use super::key::Kind;
use super::reader::{Source, parse};
use super::root::{Config, ROOT};
use crate::base::problem::{Place, Problem};

/// What was understood of a file, and every problem there is: syntax, unknown keys, wrong types, values out of range,
/// missing and doubled names. Where there are problems, what was understood serves to find further ones only.
#[derive(Debug)]
pub struct Reading {
    /// What was understood; nothing where the syntax is broken.
    pub config: Option<Config>,
    /// Where it begins.
    pub place: Place,
    /// Its problems, in the order of their places.
    pub problems: Vec<Problem>,
    /// Where secrets stand in the text, in bytes.
    pub secrets: Vec<Range<usize>>,
    /// The files that it names.
    pub files: Vec<FilePrint>,
}

/// Reads the text of `file`.
pub fn read(file: &str, text: &str) -> Reading {
    read_as(Source::new(file, text), text, &ROOT)
}

/// Reads a text that stands for a command line option.
pub fn read_option(name: &str, text: &str) -> Reading {
    read_as(Source::within(Place::option(name), text), text, &ROOT)
}

/// Reads `text` by the keys of `kind`.
pub(super) fn read_as(source: Source<'_>, text: &str, kind: &'static Kind) -> Reading {
    let config = parse(&source, text, kind);
    let (place, secrets, files) = (source.place(0), source.secrets(), source.files());
    Reading { config, place, secrets, files, problems: source.into_problems() }
}
