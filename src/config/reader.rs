//! A parsed file, value by value: takes keys out of tables, checks them as their keys say, and collects every problem.

use std::cell::{OnceCell, RefCell};
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{FilePrint, NamedFile, read_named};
use super::key::{Key, Kind, Without};
use super::units;
use crate::base::problem::{Lines, Place, Placed, Problem};

/// A value that a key can have.
pub(crate) trait Setting: Sized {
    /// Reads a value of `kind`. None where that is a problem, which is then told.
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self>;

    /// The value as an operator would write it, as JSON; null where there is nothing to write. Secrets show as `"***"`.
    fn show(&self, kind: &'static Kind) -> serde_json::Value;

    /// What stands for a value that is absent, or that was a problem; none where nothing can.
    fn absent() -> Option<Self> {
        None
    }
}

/// The text that is read and the problems found in it.
pub(crate) struct Source<'t> {
    file: Arc<str>,
    text: &'t str,
    /// Where all of it is said to stand; a default stands where it could have been written.
    place: Option<Place>,
    lines: OnceCell<Lines>,
    problems: RefCell<Vec<Problem>>,
    /// Where secrets stand, in bytes.
    secrets: RefCell<Vec<Range<usize>>>,
    /// The files that it names, as they were when they were read.
    files: RefCell<Vec<FilePrint>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Self {
        Self {
            file: Arc::from(file),
            text,
            place: None,
            lines: OnceCell::new(),
            problems: RefCell::default(),
            secrets: RefCell::default(),
            files: RefCell::default(),
        }
    }

    /// A text of our own that stands for what is absent at `place`.
    pub(super) fn within(place: Place, text: &'t str) -> Self {
        Self { place: Some(place), ..Self::new("", text) }
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let lines = || self.lines.get_or_init(|| Lines::of(self.text));
        self.place.clone().unwrap_or_else(|| lines().place(&self.file, self.text, offset))
    }

    pub(super) fn complain(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Where secrets stand, in bytes, in the order of their places.
    pub(super) fn secrets(&self) -> Vec<Range<usize>> {
        let mut secrets = self.secrets.take();
        secrets.sort_by_key(|span| span.start);
        secrets
    }

    /// The files that it names.
    pub(super) fn files(&self) -> Vec<FilePrint> {
        self.files.take()
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
pub(crate) struct Value<'s, 't> {
    source: &'s Source<'t>,
    name: &'s str,
    value: &'s Spanned<DeValue<'t>>,
    /// A word that it could have been as well.
    or: Option<&'static str>,
}

impl<'s, 't> Value<'s, 't> {
    /// Everything that was parsed of a file.
    pub(super) fn root(source: &'s Source<'t>, document: &'s Spanned<DeValue<'t>>) -> Self {
        Self { source, name: "", value: document, or: None }
    }

    pub(super) fn placed<T>(&self, value: T) -> Placed<T> {
        Placed { value, place: self.source.place(self.value.span().start) }
    }

    /// Reports a problem with this value.
    pub(super) fn complain(&self, what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) {
        self.tell(self.placed(()).problem(what, why, fix));
    }

    /// Reports a problem with something inside it.
    pub(super) fn tell(&self, problem: Problem) {
        self.source.complain(problem);
    }

    /// The name of its key.
    pub(super) fn name(&self) -> &'s str {
        self.name
    }

    /// How many problems were found so far.
    pub(super) fn problems(&self) -> usize {
        self.source.problems.borrow().len()
    }

    /// The same value, which could have been `word` as well: fixes name it.
    pub(super) fn or(self, word: &'static str) -> Self {
        Self { or: Some(word), ..self }
    }

    pub(super) fn wrong_type(&self, form: &str) {
        let found = self.value.get_ref().type_str();
        self.complain(
            format!("`{}` cannot be of type {found}", self.name),
            "the value would have no meaning",
            format!("write {} = {form}", self.name),
        );
    }

    /// Which of `words` the `kind` of a table is.
    pub(super) fn kind(&self, words: &[&'static str]) -> Option<&'static str> {
        let such = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong_type("{ kind = … }");
            return None;
        };
        match table.iter().find(|(name, _)| name.get_ref() == "kind") {
            Some((name, value)) => {
                Value { source: self.source, name: name.get_ref(), value, or: None }.word(words)
            }
            None => {
                let fix = format!("add kind, one of: {such}");
                self.complain(
                    format!("`{}` has no `kind`", self.name),
                    "nobody could know what it does",
                    fix,
                );
                None
            }
        }
    }

    /// The text that it is, if it is one.
    pub(super) fn text(&self) -> Option<&'s str> {
        self.value.get_ref().as_str()
    }

    /// Whether it is a list.
    pub(super) fn is_array(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// Whether it is a list with nothing in it.
    pub(super) fn array_is_empty(&self) -> bool {
        self.value.get_ref().as_array().is_some_and(|array| array.is_empty())
    }

    /// Whether it is a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Integer(_) | DeValue::Float(_))
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(super) fn string(&self) -> Option<String> {
        if self.text().is_none() {
            self.wrong_type("\"…\"");
        }
        self.text().map(str::to_owned)
    }

    /// A text that is shown nowhere: its place is noted.
    pub(super) fn secret(&self) -> Option<String> {
        self.source.secrets.borrow_mut().push(self.value.span());
        self.string()
    }

    /// The text of the file that it names.
    pub(super) fn file(&self) -> Option<NamedFile> {
        self.file_at(&self.string()?)
    }

    /// The text of the file at `path`, which it names in some form.
    pub(super) fn file_at(&self, path: &str) -> Option<NamedFile> {
        match read_named(&self.source.file, path) {
            Ok(file) => {
                self.source.files.borrow_mut().push(file.print());
                Some(file)
            }
            Err(why) => {
                self.complain(
                    format!("`{}` cannot be read", self.name),
                    why,
                    "name a file that exists and may be read, from the folder of the configuration",
                );
                None
            }
        }
    }

    /// A point in time: a date and time of TOML, or the same as text.
    pub(super) fn instant(&self) -> Option<std::time::SystemTime> {
        let text = match self.value.get_ref() {
            DeValue::Datetime(time) => time.to_string(),
            _ => self.string()?,
        };
        units::instant(&text).map_err(|fix| self.cannot_be(&text, &fix)).ok()
    }

    /// The truth that it is, if it is one.
    pub(super) fn is_true(&self) -> Option<bool> {
        self.value.get_ref().as_bool()
    }

    /// `true` or `false`.
    pub(super) fn truth(&self) -> Option<bool> {
        let truth = self.is_true();
        if truth.is_none() {
            self.wrong_type("true or false");
        }
        truth
    }

    /// A number within bounds.
    pub(super) fn number(&self, least: u64, most: u64) -> Option<u64> {
        if let (Some(word), Some(text)) = (self.or, self.text()) {
            self.no_such_choice(text, &[word]);
            return None;
        }
        let number = self.value.get_ref().as_integer().and_then(|integer| {
            u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
        });
        let within = number.filter(|number| (least..=most).contains(number));
        if within.is_none() {
            self.complain(
                format!("`{}` must be a whole number from {least} to {most}", self.name),
                "outside these bounds the gateway cannot work",
                format!("write {} = {least}, or a larger number", self.name),
            );
        }
        within
    }

    /// A size within bounds, in bytes.
    pub(super) fn size(&self, least: usize, most: usize) -> Option<u64> {
        let size = self.parsed(units::size)?;
        if (least as u64..=most as u64).contains(&size) {
            return Some(size);
        }
        self.complain(
            format!("`{}` must be from {least} to {most} bytes", self.name),
            "outside these bounds the gateway cannot work",
            "write a size within them",
        );
        None
    }

    /// A text that `parse` understands; its error says what to write.
    pub(super) fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match self.value.get_ref() {
            // A number without its unit is better told of the unit than of types.
            DeValue::Integer(number) => match parse(&number.to_string()) {
                Ok(_) => self.wrong_type("\"…\""),
                Err(fix) => self.cannot_be(&number.to_string(), &fix),
            },
            _ => {
                let text = self.string()?;
                match parse(&text) {
                    Ok(value) => return Some(value),
                    Err(fix) => self.cannot_be(&text, &fix),
                }
            }
        }
        None
    }

    /// A text, a whole number or a truth value, as text that `parse` understands.
    pub(super) fn scalar<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = match self.value.get_ref() {
            DeValue::Boolean(truth) => truth.to_string(),
            DeValue::Integer(number) => number.to_string(),
            _ => self.string()?,
        };
        parse(&text).map_err(|fix| self.cannot_be(&text, &fix)).ok()
    }

    /// The same in JSON; none where JSON has no such value, which is told.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        let told = match self.value.get_ref() {
            DeValue::String(text) => Some(text.as_ref().into()),
            DeValue::Boolean(truth) => Some((*truth).into()),
            DeValue::Integer(number) => units::whole(&number.as_str().replace('_', ""), number.radix()),
            DeValue::Float(number) => units::finite(&number.as_str().replace('_', "")),
            DeValue::Array(items) => {
                let items = items.iter().map(|value| Value { value, ..*self }.json());
                return items.collect::<Option<Vec<_>>>().map(Into::into);
            }
            DeValue::Table(_) => {
                let members = self.entries()?.into_iter();
                let members = members.map(|(name, value)| Some((name.value, value.json()?)));
                return members.collect::<Option<serde_json::Map<_, _>>>().map(Into::into);
            }
            DeValue::Datetime(_) => None,
        };
        if told.is_none() {
            self.complain(
                format!("`{}` is nothing that JSON has", self.name),
                "no body could say it",
                "write a text, a number of at most 64 bits, true, false, a list or a table",
            );
        }
        told
    }

    /// Reports that it has no meaning.
    pub(super) fn cannot_be(&self, text: &str, fix: &str) {
        let fix = match self.or {
            Some(word) => format!("{fix}, or \"{word}\""),
            None => fix.to_owned(),
        };
        let what = format!("`{}` cannot be {}", self.name, quoted(text));
        self.complain(what, "the value would have no meaning", fix);
    }

    /// One of a few words.
    pub(super) fn word(&self, words: &[&'static str]) -> Option<&'static str> {
        let text = self.string()?;
        let found = words.iter().find(|word| **word == text).copied();
        if found.is_none() {
            let words: Vec<_> = words.iter().copied().chain(self.or).collect();
            self.no_such_choice(&text, &words);
        }
        found
    }

    fn no_such_choice(&self, text: &str, words: &[&str]) {
        self.complain(
            format!("`{}` cannot be {}", self.name, quoted(text)),
            "there is no such choice",
            suggestion(text, words),
        );
    }

    pub(super) fn array(&self) -> Option<Vec<Value<'s, 't>>> {
        match self.value.get_ref().as_array() {
            Some(array) => Some(array.iter().map(|value| Value { value, ..*self }).collect()),
            None => {
                self.wrong_type("[…]");
                None
            }
        }
    }

    /// A table with the keys of `kind`, which are then taken one by one.
    pub(super) fn table(&self, kind: &'static Kind) -> Option<Table<'s, 't>> {
        let found = self.value.get_ref().as_table().map(Entries::Of);
        let (keys, entries) = match (kind, found) {
            (Kind::Table(keys) | Kind::Short(_, keys), Some(entries)) => (*keys, entries),
            (Kind::Short(key, keys), None) => {
                self.string()?;
                (*keys, Entries::Alone(key, *self))
            }
            (Kind::Table(keys), None) => {
                match self.or.zip(self.text()) {
                    Some((word, text)) => {
                        // What must be there shows best what a table looks like.
                        let needed: Vec<_> = keys.iter().filter_map(Key::example).collect();
                        let such = match &needed[..] {
                            [] => "a table: { … }".to_owned(),
                            needed => format!("a table such as {{ {} }}", needed.join(", ")),
                        };
                        let fix = format!("write \"{word}\", or {such}");
                        Value { or: None, ..*self }.cannot_be(text, &fix);
                    }
                    None => self.wrong_type("{ … }"),
                }
                return None;
            }
            (other, _) => panic!("a table cannot be read as {other:?}"),
        };
        let place = self.source.place(self.value.span().start);
        Some(Table { source: self.source, name: self.name, keys, entries, place })
    }

    /// All keys, for tables whose keys are names; each with the place of the key.
    pub(super) fn entries(&self) -> Option<Vec<(Placed<String>, Value<'s, 't>)>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong_type("{ … }");
            return None;
        };
        let source = self.source;
        let entry = |(key, value): (&'s Spanned<std::borrow::Cow<'t, str>>, &'s Spanned<DeValue<'t>>)| {
            let place = source.place(key.span().start);
            let value = Value { source, name: key.get_ref(), value, or: None };
            (Placed { value: key.get_ref().to_string(), place }, value)
        };
        Some(table.iter().map(entry).collect())
    }
}

impl Key {
    /// A required key with a value, as an operator would write it.
    fn example(&self) -> Option<String> {
        match self.without {
            // Of several values the first.
            Without::Required(_, example) => {
                Some(format!("{} = {}", self.name, example.split(", or ").next().unwrap_or(example)))
            }
            Without::Absent | Without::Is(_) | Without::Count(_) | Without::Bytes(_) | Without::Lasts(_) => {
                None
            }
        }
    }
}

enum Entries<'s, 't> {
    /// Those of a table.
    Of(&'s DeTable<'t>),
    /// A value that stands for a table with this key alone.
    Alone(&'static str, Value<'s, 't>),
}

/// A table of which keys are taken.
pub(crate) struct Table<'s, 't> {
    source: &'s Source<'t>,
    name: &'s str,
    keys: &'static [Key],
    entries: Entries<'s, 't>,
    place: Place,
}

impl<'s, 't> Table<'s, 't> {
    /// Reports a problem with something inside it.
    pub(super) fn tell(&self, problem: Problem) {
        self.source.complain(problem);
    }

    /// Reports a problem with the whole of it.
    pub(super) fn complain(&self, what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) {
        let placed = Placed { value: (), place: self.place.clone() };
        self.source.complain(placed.problem(what, why, fix));
    }

    /// Whether `key` is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &str) -> Option<Value<'s, 't>> {
        match self.entries {
            Entries::Of(table) => {
                let (name, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
                Some(Value { source: self.source, name: name.get_ref(), value, or: None })
            }
            Entries::Alone(name, value) => (name == key).then_some(Value { or: None, ..value }),
        }
    }

    /// The value of the key called `name`: what is written, or what holds without it. None where it is required and
    /// cannot be had; that is told.
    pub(crate) fn take<T: Setting>(&self, name: &str) -> Option<T> {
        let key = self.keys.iter().find(|key| key.name == name).expect("a table takes its own keys");
        let written = self.find(name);
        if let Some(read) = written.and_then(|value| T::read(value, &key.kind)) {
            return Some(read);
        }
        match (key.without.default(), key.without) {
            (Some(text), _) => Some(default(key, &text, self.place.clone())),
            (None, Without::Required(why, example)) if written.is_none() => {
                match self.name {
                    "" => self.complain(format!("there is no {name}"), why, format!("add {example}")),
                    table => self.complain(
                        format!("`{table}` has no `{name}`"),
                        why,
                        format!("add {name} = {example}"),
                    ),
                }
                T::absent()
            }
            (None, _) => T::absent(),
        }
    }

    /// Reports each key that there is not.
    pub(crate) fn finish(&self) {
        let Entries::Of(table) = self.entries else { return };
        let known: Vec<_> = self.keys.iter().map(|key| key.name).collect();
        for (name, _) in table.iter().filter(|(name, _)| !known.contains(&&**name.get_ref())) {
            let within = match self.name {
                "" => "here".to_owned(),
                table => format!("in `{table}`"),
            };
            let placed = Placed { value: (), place: self.source.place(name.span().start) };
            self.source.complain(placed.problem(
                format!("unknown key `{}` {within}", name.get_ref()),
                "a key that is not understood would be silently ignored",
                suggestion(name.get_ref(), &known),
            ));
        }
    }
}

/// What `text`, the default of `key`, means; by the same road as what is written.
fn default<T: Setting>(key: &'static Key, text: &str, place: Place) -> T {
    let line = format!("{} = {text}", key.name);
    let document = DeTable::parse(&line).expect("defaults are TOML: a test reads them all");
    let source = Source::within(place, &line);
    let value = document.get_ref().iter().next().map(|(name, value)| (name.get_ref(), value));
    let (name, value) = value.expect("one key was written");
    let read = T::read(Value { source: &source, name, value, or: None }, &key.kind);
    let problems = source.into_problems();
    read.filter(|_| problems.is_empty())
        .unwrap_or_else(|| panic!("the default of `{}` cannot be read: {problems:?}", key.name))
}

/// Reads `text` by the keys of `kind`. What is wrong with it `source` tells.
pub(super) fn parse<T: Setting>(source: &Source<'_>, text: &str, kind: &'static Kind) -> Option<T> {
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
    if errors.is_empty() { T::read(Value::root(source, &root), kind) } else { None }
}

/// What is read where nothing at all is written; what would have to be is not told.
pub(super) fn nothing<T: Setting>(place: Place, kind: &'static Kind) -> Option<T> {
    let empty = Spanned::new(0..0, DeValue::Table(DeTable::new()));
    T::read(Value::root(&Source::within(place, ""), &empty), kind)
}

/// What `text` means as JSON, for the schema.
pub(super) fn json(text: &str) -> serde_json::Value {
    let table: toml::Table = toml::from_str(&format!("value = {text}")).expect("defaults are TOML");
    serde_json::to_value(&table["value"]).unwrap_or_default()
}

/// The text in quotes, shortened.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}

/// What to write instead of `wrong`.
fn suggestion(wrong: &str, right: &[&str]) -> String {
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
