//! TOML to `Config`, with places: all problems of a file at once.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::Kind;
use super::reader::{Setting, Source, Value};
use super::root::{Config, ROOT};
use crate::base::problem::{Place, Placed, Problem};

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
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = source.place(error.span().map_or(0, |span| span.start));
        let what = format!("this is not TOML: {}", error.message());
        source.complain(Placed { value: (), place }.problem(
            what,
            "the file cannot be read past here",
            "correct the syntax",
        ));
    }
    // A file with syntax errors is read only as far as they are told: what follows from them would only confuse.
    let root = Spanned::new(0..0, DeValue::Table(document.into_inner()));
    let config = match errors.is_empty() {
        true => Config::read(Value::root(&source, &root), kind),
        false => None,
    };
    Reading { config, place: source.place(0), secrets: source.secrets(), problems: source.into_problems() }
}
