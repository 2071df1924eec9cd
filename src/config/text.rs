//! TOML to `Config`, with places: all problems of a file at once.

use toml::de::DeTable;

use super::Config;
use super::reader::{Source, Table};
use super::{observe, routes, sections};
use crate::base::problem::{Placed, Problem};

/// What was understood of a file, and every problem there is: syntax, unknown keys, wrong types, values out of range,
/// missing and doubled names. Where there are problems, what was understood serves to find further ones only.
#[derive(Debug)]
pub struct Reading {
    /// What was understood; nothing where the syntax is broken.
    pub config: Option<Config>,
    /// Its problems, in the order of their places.
    pub problems: Vec<Problem>,
}

/// Reads the text of `file`.
pub fn read(file: &str, text: &str) -> Reading {
    let source = Source::new(file, text);
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
    let config = errors.is_empty().then(|| {
        let mut config = Config { place: Some(source.place(0)), ..Config::default() };
        let mut root = Table::new(&source, "", document.get_ref(), 0);
        config.server = root.take("server").map(sections::server).unwrap_or_default();
        config.listeners = root.take("listener").map(sections::listeners).unwrap_or_default();
        config.limits = root.take("limits").map(sections::limits).unwrap_or_default();
        config.clusters = root.take("cluster").map(sections::clusters).unwrap_or_default();
        config.routes = root.take("route").map(routes::routes).unwrap_or_default();
        config.observe = root.take("observe").map(observe::observe).unwrap_or_default();
        root.finish();
        config
    });
    Reading { config, problems: source.into_problems() }
}
