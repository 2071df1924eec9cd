//! Takes typed values out of a parsed table, one key after the other, and collects every problem on the way.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::units;
use crate::base::problem::{Place, Placed, Problem};

/// The text that is read and the problems found in it.
pub(super) struct Source<'t> {
    file: Arc<str>,
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Self {
        Self { file: Arc::from(file), text, problems: RefCell::default() }
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        Place::at(&self.file, self.text, offset)
    }

    pub(super) fn complain(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// All problems in the order of their places.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems
    }
}

/// A value that is looked at, with its name for messages.
#[derive(Clone, Copy)]
pub(super) struct Value<'s, 't> {
    source: &'s Source<'t>,
    name: &'s str,
    value: &'s Spanned<DeValue<'t>>,
}

impl<'s, 't> Value<'s, 't> {
    pub(super) fn placed<T>(&self, value: T) -> Placed<T> {
        Placed { value, place: self.source.place(self.value.span().start) }
    }

    /// Reports a problem with this value.
    pub(super) fn complain(&self, what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) {
        self.source.complain(self.placed(()).problem(what, why, fix));
    }

    fn wrong_type(&self, fix: &str) {
        let found = self.value.get_ref().type_str();
        self.complain(
            format!("`{}` cannot be of type {found}", self.name),
            "the value would have no meaning",
            fix,
        );
    }

    pub(super) fn string(&self) -> Option<Placed<String>> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(&format!("write {} = \"…\"", self.name));
        }
        text.map(|text| self.placed(text.to_owned()))
    }

    /// A string, a number or a truth value, as text that `parse` understands.
    pub(super) fn scalar<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match self.value.get_ref() {
            DeValue::Boolean(truth) => parse(if *truth { "true" } else { "false" }).ok(),
            _ => self.parsed(parse),
        }
    }

    /// `true` or `false`.
    pub(super) fn truth(&self) -> Option<bool> {
        let truth = self.value.get_ref().as_bool();
        if truth.is_none() {
            self.wrong_type(&format!("write {} = true or false", self.name));
        }
        truth
    }

    /// A share from 0 to 1, written in percent.
    pub(super) fn share(&self) -> Option<f64> {
        self.parsed(units::share)
    }

    /// Whether it is a list.
    pub(super) fn is_array(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// Reports a problem that was made elsewhere.
    pub(super) fn source_complain(&self, problem: Problem) {
        self.source.complain(problem);
    }

    /// Whether it is a string.
    pub(super) fn is_string(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// A number within bounds.
    pub(super) fn number(&self, least: u64, most: u64) -> Option<u64> {
        let number = self.value.get_ref().as_integer().and_then(|integer| {
            u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
        });
        match number {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                self.complain(
                    format!("`{}` must be a whole number from {least} to {most}", self.name),
                    "outside these bounds the gateway cannot work",
                    format!("write {} = {least}, or a larger number", self.name),
                );
                None
            }
        }
    }

    /// A string that `parse` understands; its error says what to write.
    pub(super) fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = match self.value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            _ => {
                self.string();
                return None;
            }
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(fix) => {
                self.complain(
                    format!("`{}` cannot be {}", self.name, quoted(&text)),
                    "the value would have no meaning",
                    fix,
                );
                None
            }
        }
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        self.parsed(units::duration)
    }

    /// A duration that must not be zero, where a word stands for "none".
    pub(super) fn duration_or(&self, word: &str) -> Option<Option<Duration>> {
        self.parsed(|text| match text == word {
            true => Ok(None),
            false => match units::duration(text) {
                Ok(Duration::ZERO) => Err(format!("write at least \"1ms\", or \"{word}\"")),
                Ok(duration) => Ok(Some(duration)),
                Err(fix) => Err(format!("{fix}, or \"{word}\"")),
            },
        })
    }

    pub(super) fn size(&self, least: u64, most: u64) -> Option<u64> {
        let size = self.parsed(units::size)?;
        if (least..=most).contains(&size) {
            return Some(size);
        }
        self.complain(
            format!("`{}` must be from {least} to {most} bytes", self.name),
            "outside these bounds the gateway cannot work",
            "write a size within them",
        );
        None
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.string()?.value;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.complain(
            format!("`{}` cannot be {}", self.name, quoted(&text)),
            "there is no such choice",
            suggestion(&text, &names),
        );
        None
    }

    pub(super) fn array(&self) -> Option<Vec<Value<'s, 't>>> {
        match self.value.get_ref().as_array() {
            Some(array) => Some(array.iter().map(|value| Value { value, ..*self }).collect()),
            None => {
                self.wrong_type(&format!("write {} = […]", self.name));
                None
            }
        }
    }

    /// A table whose keys are then taken one by one.
    pub(super) fn table(&self) -> Option<Table<'s, 't>> {
        match self.value.get_ref().as_table() {
            Some(table) => Some(Table::new(self.source, self.name, table, self.value.span().start)),
            None => {
                self.wrong_type(&format!("write {} = {{ … }}", self.name));
                None
            }
        }
    }
}

/// A table of which keys are taken; what is left at the end is unknown.
pub(super) struct Table<'s, 't> {
    source: &'s Source<'t>,
    name: &'s str,
    table: &'s DeTable<'t>,
    start: usize,
    known: Vec<&'static str>,
}

impl<'s, 't> Table<'s, 't> {
    pub(super) fn new(source: &'s Source<'t>, name: &'s str, table: &'s DeTable<'t>, start: usize) -> Self {
        Self { source, name, table, start, known: Vec::new() }
    }

    /// The value of `key`, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'s, 't>> {
        self.known.push(key);
        let (source, table) = (self.source, self.table);
        table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| Value {
            source,
            name: key,
            value,
        })
    }

    /// All keys, for tables whose keys are names; each with the place of the key.
    pub(super) fn entries(&self) -> Vec<(Placed<String>, Value<'s, 't>)> {
        let (source, table) = (self.source, self.table);
        let entry = |(key, value): (&'s Spanned<std::borrow::Cow<'t, str>>, &'s Spanned<DeValue<'t>>)| {
            let place = source.place(key.span().start);
            (Placed { value: key.get_ref().to_string(), place }, Value { source, name: key.get_ref(), value })
        };
        table.iter().map(entry).collect()
    }

    /// Where the table stands.
    pub(super) fn place(&self) -> Place {
        self.source.place(self.start)
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, key: &str, why: &str, fix: &str) {
        let placed = Placed { value: (), place: self.place() };
        self.source.complain(placed.problem(format!("`{}` has no `{key}`", self.name), why, fix));
    }

    /// Reports each key that was not taken.
    pub(super) fn finish(self) {
        #[cfg(test)]
        tests::note(self.name, &self.known);
        for (key, _) in self.entries() {
            if !self.known.contains(&key.value.as_str()) {
                let within =
                    if self.name.is_empty() { "here".to_owned() } else { format!("in `{}`", self.name) };
                let what = format!("unknown key `{}` {within}", key.value);
                let fix = suggestion(&key.value, &self.known);
                self.source.complain(key.problem(
                    what,
                    "a key that is not understood would be silently ignored",
                    fix,
                ));
            }
        }
    }
}

/// The text in quotes, shortened.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}

/// What to write instead of `wrong`.
pub(super) fn suggestion(wrong: &str, right: &[&str]) -> String {
    let distance = |word: &&str| strsim::damerau_levenshtein(wrong, word);
    let least = right.iter().map(distance).min();
    let nearest: Vec<_> = right
        .iter()
        .filter(|word| Some(distance(word)) == least && distance(word) <= 1 + wrong.len().min(word.len()) / 4)
        .collect();
    if let [word] = nearest[..] {
        return format!("write `{word}`");
    }
    let mut all: Vec<_> = right.iter().map(|word| format!("`{word}`")).collect();
    all.sort();
    match all.is_empty() {
        true => "remove it".to_owned(),
        false => format!("remove it, or use one of: {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};

    use crate::config::keys::{Key, Kind, ROOT, Without};
    use crate::config::text::read;

    type Known = BTreeMap<String, BTreeSet<&'static str>>;

    thread_local! {
        /// Keys that tables were asked for, by the tables' names.
        static KNOWN: RefCell<Known> = RefCell::default();
    }

    pub(super) fn note(table: &str, known: &[&'static str]) {
        KNOWN.with_borrow_mut(|all| all.entry(table.to_owned()).or_default().extend(known));
    }

    const EXAMPLE: &str = include_str!("../../config/corelane.toml");

    /// The annotated example with what is absent by default put in.
    fn full() -> String {
        EXAMPLE.replace("access_log = \"off\"", "# access_log").replace("# e.g. ", "")
    }

    /// Collects the tables of a tree of keys by the names under which the reader asks for their keys.
    fn tables(name: &str, kind: &Kind, into: &mut Known) {
        match kind {
            Kind::Table(keys) => {
                into.entry(name.to_owned()).or_default().extend(keys.iter().map(|key| key.name));
                keys.iter().for_each(|key| tables(key.name, &key.kind, into));
            }
            Kind::List(item) => tables(name, item, into),
            // The one table whose keys are names and whose values are tables is [cluster.NAME].
            Kind::Named(item) => tables("chat", item, into),
            Kind::Either(kinds) => kinds.iter().for_each(|kind| tables(name, kind, into)),
            Kind::Text
            | Kind::Choice(_)
            | Kind::Number(..)
            | Kind::Duration
            | Kind::DurationOr(_)
            | Kind::Size
            | Kind::Share
            | Kind::Truth => {}
        }
    }

    #[test]
    fn the_reader_asks_for_exactly_the_keys_there_are() {
        KNOWN.take();
        assert_eq!(read("corelane.toml", &full()).problems, []);
        let mut expected = Known::new();
        tables("", &Kind::Table(ROOT), &mut expected);
        assert_eq!(KNOWN.take(), expected);
    }

    /// Looks for `key` below each value called so, and compares the defaults that the example shows.
    fn shown(table: &toml::Value, keys: &[Key], at: &str, missing: &mut Vec<String>) {
        for key in keys {
            let path = format!("{at}.{}", key.name);
            let values: Vec<&toml::Value> = match table {
                toml::Value::Array(items) => items.iter().filter_map(|item| item.get(key.name)).collect(),
                other => other.get(key.name).into_iter().collect(),
            };
            if values.is_empty() {
                missing.push(path);
                continue;
            }
            if let Without::Is(default) = key.without {
                let default: serde_json::Value = serde_json::from_str(default).unwrap();
                let shown = values.iter().any(|value| serde_json::to_value(value).unwrap() == default);
                let is_replaced = key.name == "access_log";
                if !shown && !is_replaced {
                    missing.push(format!("{path}: not shown as {default}"));
                }
            }
            for value in values {
                inner(value, &key.kind, &path, missing);
            }
        }
    }

    fn inner(value: &toml::Value, kind: &Kind, path: &str, missing: &mut Vec<String>) {
        match kind {
            Kind::Table(keys) if value.is_table() => shown(value, keys, path, missing),
            Kind::List(Kind::Table(keys)) if value.is_array() => shown(value, keys, path, missing),
            Kind::List(Kind::Either(kinds)) if value.is_array() => {
                let tables: Vec<_> =
                    value.as_array().unwrap().iter().filter(|item| item.is_table()).cloned().collect();
                kinds.iter().for_each(|kind| {
                    if let Kind::Table(keys) = kind {
                        shown(&toml::Value::Array(tables.clone()), keys, path, missing);
                    }
                });
            }
            Kind::Named(Kind::Table(keys)) => {
                value.as_table().unwrap().values().for_each(|value| shown(value, keys, path, missing));
            }
            Kind::Either(kinds) => kinds.iter().for_each(|kind| inner(value, kind, path, missing)),
            _ => {}
        }
    }

    #[test]
    fn the_annotated_example_shows_every_key_with_its_default() {
        let tree: toml::Value = toml::from_str(&full()).unwrap();
        let mut missing = Vec::new();
        shown(&tree, ROOT, "", &mut missing);
        // The routes of the example show different keys each.
        let routes = tree["route"].as_array().unwrap();
        missing.retain(|path| !path.starts_with(".route") || path.contains("not shown"));
        let actions = ["name", "match", "to", "respond", "rewrite", "body"];
        assert!(actions.iter().all(|key| routes.iter().any(|route| route.get(*key).is_some())));
        assert_eq!(missing, Vec::<String>::new());
    }
}
