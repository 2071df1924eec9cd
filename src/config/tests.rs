//! For each key there is: reader, schema and annotated example say what the key says, and change when it changes.

use std::sync::LazyLock;
use std::time::Duration;

use super::key::{Key, Kind, SIZE_MAX, Without};
use super::reader::{Setting, Source};
use super::root::{Config, ROOT};
use super::schema::schema;
use super::text::{Reading, read_as};
use super::units::{show_duration, show_size};
use crate::base::problem::Problem;
use crate::base::rng::Rng;

const EXAMPLE: &str = include_str!("../../config/corelane.toml");

/// The annotated example with what is absent by default put in, in the place of what stands above it under the same name.
fn full() -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in EXAMPLE.lines() {
        if let Some(shown) = line.strip_prefix("# e.g. ") {
            let name = format!("{} = ", shown.split(" = ").next().unwrap());
            let section = lines.iter().rposition(|line| line.starts_with('[')).unwrap_or(0);
            lines[section..]
                .iter_mut()
                .filter(|line| line.starts_with(&name))
                .for_each(|line| line.insert_str(0, "# "));
        }
        lines.push(line.strip_prefix("# e.g. ").unwrap_or(line).to_owned());
    }
    lines.join("\n")
}

fn tree(text: &str) -> toml::Value {
    toml::from_str(text).unwrap()
}

fn value(text: &str) -> toml::Value {
    tree(&format!("value = {text}"))["value"].clone()
}

fn text(text: impl Into<String>) -> toml::Value {
    toml::Value::String(text.into())
}

fn reading(document: &toml::Value, root: &'static Kind) -> Reading {
    let text = toml::to_string(document).unwrap();
    read_as(Source::new("config/f.toml", &text), &text, root)
}

/// What a kind is made of, with what makes one of the same kind again.
enum Shape {
    /// Nothing.
    Leaf,
    /// Keys.
    Keys(&'static [Key], Box<dyn Fn(&'static [Key]) -> Kind>),
    /// Several tables, each with the word that tells it.
    Kinds(&'static [Kind]),
    /// Another kind.
    Around(&'static Kind, Box<dyn Fn(&'static Kind) -> Kind>),
}

fn shape(kind: &Kind) -> Shape {
    match *kind {
        Kind::Table(keys) => Shape::Keys(keys, Box::new(Kind::Table)),
        Kind::Short(name, keys) => Shape::Keys(keys, Box::new(move |keys| Kind::Short(name, keys))),
        Kind::Kinds(kinds) => Shape::Kinds(kinds),
        Kind::List(inner) => Shape::Around(inner, Box::new(Kind::List)),
        Kind::NonEmpty(inner, why, fix) => {
            Shape::Around(inner, Box::new(move |inner| Kind::NonEmpty(inner, why, fix)))
        }
        Kind::OneOrMore(inner) => Shape::Around(inner, Box::new(Kind::OneOrMore)),
        Kind::Named(inner) => Shape::Around(inner, Box::new(Kind::Named)),
        Kind::Tree(inner) => Shape::Around(inner, Box::new(Kind::Tree)),
        Kind::Switch(inner) => Shape::Around(inner, Box::new(Kind::Switch)),
        Kind::Or(word, inner) => Shape::Around(inner, Box::new(move |inner| Kind::Or(word, inner))),
        Kind::Text
        | Kind::Secret
        | Kind::File
        | Kind::Form(_)
        | Kind::Choice(_)
        | Kind::Number(..)
        | Kind::Time(_)
        | Kind::Finite(..)
        | Kind::Size(..)
        | Kind::Share
        | Kind::Truth
        | Kind::Scalar
        | Kind::Json
        | Kind::Figure => Shape::Leaf,
    }
}

/// Keys live as long as the program, those of a test too.
fn leak(kind: Kind) -> &'static Kind {
    Box::leak(Box::new(kind))
}

/// Every key below `kind` with the names that lead to it.
fn keys(kind: &Kind) -> Vec<(Vec<&'static str>, &'static Key)> {
    let with_inner = |key: &'static Key| {
        let below =
            keys(&key.kind).into_iter().map(|(path, inner)| ([&[key.name], &path[..]].concat(), inner));
        std::iter::once((vec![key.name], key)).chain(below)
    };
    match shape(kind) {
        Shape::Keys(all, _) => all.iter().flat_map(with_inner).collect(),
        Shape::Kinds(kinds) => {
            let named = |kind: &Kind| {
                let below = keys(kind).into_iter();
                below.map(|(path, key)| ([&[told_by(kind)], &path[..]].concat(), key)).collect::<Vec<_>>()
            };
            kinds.iter().flat_map(named).collect()
        }
        Shape::Around(inner, _) => keys(inner),
        Shape::Leaf => Vec::new(),
    }
}

/// What stands in a path for the table of that kind: `<ip>`.
fn told_by(kind: &Kind) -> &'static str {
    match kind {
        Kind::Table([Key { kind: Kind::Choice([word]), .. }, ..]) => Box::leak(format!("<{word}>").into()),
        _ => panic!("{kind:?} does not say what it is"),
    }
}

/// Whether a table of the document is of the kind that stands in a path.
fn is_kind(value: &toml::Value, told_by: &str) -> bool {
    value.get("kind").and_then(toml::Value::as_str).is_some_and(|word| format!("<{word}>") == told_by)
}

/// `kind` with another key at `path`.
fn with(kind: &Kind, path: &[&str], new: Key) -> Kind {
    let replaced = |key: &Key| match path {
        [name] if *name == key.name => new,
        [name, rest @ ..] if *name == key.name => Key { kind: with(&key.kind, rest, new), ..*key },
        _ => *key,
    };
    match shape(kind) {
        Shape::Keys(all, make) => make(Box::leak(all.iter().map(replaced).collect())),
        Shape::Kinds(kinds) => {
            let changed =
                |kind: &Kind| if told_by(kind) == path[0] { with(kind, &path[1..], new) } else { *kind };
            Kind::Kinds(Box::leak(kinds.iter().map(changed).collect()))
        }
        Shape::Around(inner, make) => make(leak(with(inner, path, new))),
        Shape::Leaf => *kind,
    }
}

/// Puts `new` where `path` leads to in a document, or takes away what is there; the first place counts. Tells whether
/// there was one.
fn set(document: &mut toml::Value, path: &[&str], new: Option<&toml::Value>) -> bool {
    match document {
        toml::Value::Table(table) => match (path, new) {
            ([kind, rest @ ..], _) if kind.starts_with('<') => {
                table.iter_mut().any(|(_, inner)| is_kind(inner, kind) && set(inner, rest, new))
            }
            ([name], Some(new)) if table.contains_key(*name) => {
                table.insert((*name).to_owned(), new.clone());
                true
            }
            ([name], None) if table.contains_key(*name) => table.remove(*name).is_some(),
            ([name, rest @ ..], _) if !rest.is_empty() && table.contains_key(*name) => {
                set(&mut table[*name], rest, new)
            }
            // A table whose keys are names.
            _ => table.iter_mut().any(|(_, inner)| inner.is_table() && set(inner, path, new)),
        },
        toml::Value::Array(items) => items.iter_mut().any(|item| set(item, path, new)),
        _ => false,
    }
}

/// All values where `path` leads to in a document.
fn values<'d>(document: &'d toml::Value, path: &[&str]) -> Vec<&'d toml::Value> {
    match (document, path) {
        (found, []) => vec![found],
        (toml::Value::Array(items), _) => items.iter().flat_map(|item| values(item, path)).collect(),
        (toml::Value::Table(table), [kind, rest @ ..]) if kind.starts_with('<') => table
            .values()
            .filter(|inner| is_kind(inner, kind))
            .flat_map(|inner| values(inner, rest))
            .collect(),
        (toml::Value::Table(table), [name, rest @ ..]) => match table.get(*name) {
            Some(inner) => values(inner, rest),
            None => table.values().filter(|inner| inner.is_table()).flat_map(|v| values(v, path)).collect(),
        },
        _ => Vec::new(),
    }
}

/// What must become of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Taken,
    Refused,
    /// By the reader; the schema has no words for it.
    RefusedByReader,
}

/// Values at the edges of what a key allows, as the key says it.
fn probes(kind: &Kind) -> Vec<(toml::Value, Due)> {
    use Due::{Refused, RefusedByReader, Taken};
    let whole = |number: u64| toml::Value::Integer(number as i64);
    let size = |size: usize| text(show_size(size as u64));
    let time = |time: Duration| text(show_duration(time));
    let mut all = match kind {
        Kind::Text | Kind::Form(_) => vec![(whole(5), Refused)],
        // Of the environment and of files a schema knows nothing.
        Kind::Secret => vec![
            (text("some 32 characters of chance"), Taken),
            (text("${CORELANE_NOT_SET}"), RefusedByReader),
            (text("file:relative"), RefusedByReader),
            (text(""), Refused),
            (whole(5), Refused),
        ],
        // What stands in them no schema knows either.
        Kind::File => vec![(text("no-such-file"), RefusedByReader), (text(""), Refused), (whole(5), Refused)],
        Kind::Choice(words) => {
            let word = |word: &&str| [(text(*word), Taken), (text(format!("{word}-")), Refused)];
            words.iter().flat_map(word).chain([(whole(5), Refused)]).collect()
        }
        Kind::Number(least, most) => {
            let below = least.checked_sub(1).map(|below| (whole(below), Refused));
            let edges = [(whole(*least), Taken), (whole(*most), Taken), (whole(most + 1), Refused)];
            edges.into_iter().chain(below).chain([(text("many"), Refused)]).collect()
        }
        Kind::Size(least, most) => {
            let below = least.checked_sub(1).map(|below| (size(below), RefusedByReader));
            let edges = [(size(*least), Taken), (size(*most), Taken), (size(most + 1), RefusedByReader)];
            edges.into_iter().chain(below).chain([(text("5"), Refused), (whole(5), Refused)]).collect()
        }
        Kind::Time(least) | Kind::Finite(least, _) => {
            let below = least.checked_sub(Duration::from_millis(1)).map(|t| (time(t), RefusedByReader));
            let edges = [(time(*least), Taken), (text("168h"), Taken), (text("169h"), RefusedByReader)];
            edges.into_iter().chain(below).chain([(text("5"), Refused), (text("none"), Refused)]).collect()
        }
        Kind::Share => vec![
            (text("0%"), Taken),
            (text("100%"), Taken),
            (text("101%"), RefusedByReader),
            (text("1"), Refused),
        ],
        Kind::Truth => vec![
            (toml::Value::Boolean(true), Taken),
            (toml::Value::Boolean(false), Taken),
            (text("true"), Refused),
        ],
        Kind::List(item) | Kind::NonEmpty(item, ..) | Kind::OneOrMore(item) => {
            let listed = |(value, due)| (toml::Value::Array(vec![value]), due);
            let empty = matches!(kind, Kind::NonEmpty(..)).then(|| (value("[]"), Refused));
            probes(item).into_iter().map(listed).chain(empty).chain([(value("1.5"), Refused)]).collect()
        }
        Kind::Table(_) | Kind::Short(..) | Kind::Kinds(_) => {
            vec![(whole(5), Refused), (value("{ zzz = 1 }"), Refused)]
        }
        Kind::Named(inner) => {
            let named =
                |(inner, due)| (toml::Value::Table([("x".to_owned(), inner)].into_iter().collect()), due);
            let all = if matches!(inner, Kind::Figure) { probes(inner) } else { Vec::new() };
            all.into_iter().map(named).chain([(whole(5), Refused)]).collect()
        }
        Kind::Tree(_) => vec![(value("1.5"), Refused)],
        Kind::Switch(kind) => [probes(kind), probes(&Kind::Truth)].concat(),
        Kind::Scalar | Kind::Json => vec![],
        Kind::Figure => vec![(whole(5), Taken), (value("1.5"), Taken), (text("5"), Refused)],
        Kind::Or(word, kind) => {
            let mut all = probes(kind);
            all.retain(|(value, _)| value.as_str() != Some(word));
            all.extend([(text(*word), Taken), (text(format!("{word}-")), Refused)]);
            // A text that is any other than the word may be a good value.
            all.retain(|(value, due)| {
                !matches!(kind, Kind::Text | Kind::File) || *due == Taken || !value.is_str()
            });
            all
        }
    };
    all.dedup_by(|a, b| a.0 == b.0);
    all
}

/// Whether the reader complains, but for what two keys make together.
fn is_refused(reading: &Reading) -> bool {
    reading.problems.iter().any(|problem| problem.what != "`to` has no cluster with a weight")
}

fn probed(document: &toml::Value, path: &[&str], probe: &toml::Value) -> toml::Value {
    let mut document = document.clone();
    assert!(set(&mut document, path, Some(probe)), "the example shows {path:?}");
    document
}

#[test]
fn each_key_is_taken_by_reader_and_schema_as_it_says() {
    let document = tree(&full());
    assert_eq!(reading(&document, &ROOT).problems, Vec::<Problem>::new());
    let validator = jsonschema::draft202012::new(&schema(&ROOT)).unwrap();
    let mut wrong = Vec::new();
    for (path, key) in keys(&ROOT) {
        let default = key.without.default().map(|default| (value(&default), Due::Taken));
        for (probe, due) in probes(&key.kind).into_iter().chain(default) {
            let document = probed(&document, &path, &probe);
            let reader = is_refused(&reading(&document, &ROOT));
            let schema = !validator.is_valid(&serde_json::to_value(&document).unwrap());
            if (reader, schema) != (due != Due::Taken, due == Due::Refused) {
                wrong.push(format!("{path:?} = {probe} {due:?}: reader {reader}, schema {schema}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the annotated example, by the keys of `root`.
fn example_faults(root: &'static Kind) -> Vec<String> {
    let (bare, full) = (tree(EXAMPLE), tree(&full()));
    let mut faults = Vec::new();
    for (path, key) in keys(root) {
        let shown: Vec<_> = values(&full, &path).into_iter().chain(values(&bare, &path)).collect();
        let default = key.without.default().map(|default| value(&default));
        let is_table = default.as_ref().is_some_and(|value| value.is_table() || key.name == "listener");
        match default {
            _ if shown.is_empty() => faults.push(format!("{path:?} is not shown")),
            Some(default) if !is_table && !shown.contains(&&default) => {
                faults.push(format!("{path:?} is not shown as {default}"));
            }
            _ => {}
        }
        faults.extend(comment_fault(&path, key));
        faults.extend(word_faults(key).map(|fault| format!("{path:?}: {fault}")));
    }
    faults
}

/// All words that a value may be, and whether it must be one of them.
fn words(kind: &Kind) -> (Vec<&'static str>, bool) {
    match (kind, shape(kind)) {
        (Kind::Choice(words), _) => (words.to_vec(), true),
        (Kind::Or(word, kind), _) => {
            let (words, are_all) = words(kind);
            ([&[*word], &words[..]].concat(), are_all)
        }
        (_, Shape::Around(inner, _)) => words(inner),
        (_, Shape::Keys(..) | Shape::Kinds(_) | Shape::Leaf) => (Vec::new(), false),
    }
}

/// The words of a key stand in the lines that show it, and where it is a choice, no others are told. (Beside it in the
/// same table stand the values of other keys.)
fn word_faults(key: &Key) -> Option<String> {
    let (words, are_all) = words(&key.kind);
    let name = format!(" {} = ", key.name);
    let fits = |lines: &&String| {
        let quoted = |text: &str| text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let comments = lines.lines().filter_map(|line| line.split_once('#')).map(|(_, comment)| comment);
        let line = format!(" {lines}");
        let told: Vec<_> = comments.chain([own_value(&line, &name)]).flat_map(quoted).collect();
        words.iter().all(|word| quoted(lines).iter().any(|quoted| quoted == word))
            && (!are_all || told.into_iter().all(|told| words.contains(&&told[..])))
    };
    let shown = SHOWN.iter().map(|shown| &shown.lines);
    let found: Vec<_> = shown.filter(|lines| format!(" {lines}").contains(&name)).collect();
    let is_fault = !words.is_empty() && !found.iter().any(fits);
    is_fault.then(|| format!("of {words:?} not all are named, or others: {found:?}"))
}

/// The value that `lines` show behind ` name = `: a list, or one text.
fn own_value<'l>(lines: &'l str, name: &str) -> &'l str {
    let behind = lines.split_once(name).map_or("", |(_, behind)| behind);
    let end = match behind.chars().next() {
        Some('[') => behind.find(']'),
        Some('"') => behind[1..].find('"').map(|end| end + 2),
        _ => None,
    };
    &behind[..end.unwrap_or(0)]
}

/// A key that has a line of the example to itself.
struct Shown {
    path: [String; 2],
    /// That line and those that go on below it.
    lines: String,
    /// What is said of it.
    comment: String,
}

static SHOWN: LazyLock<Vec<Shown>> = LazyLock::new(|| {
    let lines: Vec<_> = EXAMPLE.lines().map(|line| line.strip_prefix("# e.g. ").unwrap_or(line)).collect();
    let mut section = String::new();
    let mut all = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).split('.').next().unwrap_or_default().to_owned();
        } else if let Some((name, _)) = line.split_once(" = ")
            && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            let goes_on = |line: &&&str| line.starts_with("  ") || line.starts_with("#  ");
            let block: Vec<_> =
                [line].into_iter().chain(lines[at + 1..].iter().take_while(goes_on)).copied().collect();
            let comments = block.iter().filter_map(|line| line.split_once('#'));
            let words: Vec<_> = comments.flat_map(|(_, comment)| comment.split_whitespace()).collect();
            all.push(Shown {
                path: [section.clone(), name.to_owned()],
                lines: block.join("\n"),
                comment: words.join(" "),
            });
        }
    }
    all
});

/// Whether some line of its own says of a key what the key says of itself.
fn comment_fault(path: &[&str], key: &Key) -> Option<String> {
    let plain = |text: &str| text.trim_end_matches('.').to_lowercase();
    let about = key.about.split_whitespace().collect::<Vec<_>>().join(" ");
    // What kind of table it is, the example shows in the same line.
    let place: Vec<_> = path.iter().filter(|name| !name.starts_with('<')).collect();
    let is_here = |shown: &Shown| shown.path.iter().eq(place.iter().copied());
    let is_said = SHOWN.iter().any(|shown| is_here(shown) && plain(&shown.comment) == plain(&about));
    (place.len() == 2 && !is_said).then(|| format!("{path:?} is not told as: {about}"))
}

#[test]
fn the_annotated_example_shows_every_key_with_its_default_its_words_and_what_it_does() {
    assert_eq!(example_faults(&ROOT), Vec::<String>::new());
}

/// A key before and after a change.
struct Mutant {
    before: Key,
    after: Key,
    /// Whether the annotated example shows what changed.
    is_shown: bool,
}

/// A kind with each of its bounds and words changed in turn, and whether the example shows what changed. Keys below it
/// change by themselves.
fn changed(kind: &Kind) -> Vec<(Kind, bool)> {
    let later = |least: Duration| least + Duration::from_millis(1);
    let mut all = match *kind {
        Kind::Number(least, most) => {
            vec![(Kind::Number(least + 1, most), false), (Kind::Number(least, most - 1), false)]
        }
        Kind::Size(least, most) => {
            vec![(Kind::Size(least + 1, most), false), (Kind::Size(least, most - 1), false)]
        }
        Kind::Time(least) => vec![(Kind::Time(later(least)), false)],
        Kind::Finite(least, why) => vec![(Kind::Finite(later(least), why), false)],
        // The one word that tells a table of several is what it is known by.
        Kind::Choice([_]) => Vec::new(),
        Kind::Choice(words) => {
            let without = |at: usize| [&words[..at], &words[at + 1..]].concat();
            (0..words.len()).map(|at| (Kind::Choice(Box::leak(without(at).into())), true)).collect()
        }
        Kind::Or(word, kind) => vec![(Kind::Or(Box::leak(format!("{word}-").into()), kind), true)],
        _ => Vec::new(),
    };
    if let Shape::Around(inner, make) = shape(kind) {
        all.extend(changed(inner).into_iter().map(|(inner, is_shown)| (make(leak(inner)), is_shown)));
    }
    all
}

/// The same key with each of its bounds, words and its default changed in turn.
fn mutants(key: &Key) -> Vec<Mutant> {
    let of_kind = |(kind, is_shown)| {
        // Where only the kind is to change, the default is one that both can have.
        let without = common_default(key, &kind);
        Mutant { before: Key { without, ..*key }, after: Key { without, kind, ..*key }, is_shown }
    };
    let of_default = |without| Mutant { before: *key, after: Key { without, ..*key }, is_shown: true };
    changed(&key.kind).into_iter().map(of_kind).chain(other_default(key).map(of_default)).collect()
}

fn is(value: &toml::Value) -> Without {
    Without::Is(Box::leak(value.to_string().into_boxed_str()))
}

/// A default that can be read as the kind of the key and as `kind`.
fn common_default(key: &Key, kind: &Kind) -> Without {
    let other = probes(kind);
    let is_common = |(value, due): &&(toml::Value, Due)| {
        *due == Due::Taken && other.iter().any(|(same, due)| same == value && *due == Due::Taken)
    };
    match (key.without.default(), probes(&key.kind).iter().find(is_common)) {
        (None, _) => key.without,
        (Some(_), Some((value, _))) => is(value),
        (Some(default), None) => match key.kind {
            Kind::Or(word, _) if value(&default).as_str() == Some(word) => Without::Absent,
            _ => key.without,
        },
    }
}

/// Another default that the key allows.
fn other_default(key: &Key) -> Option<Without> {
    match key.without {
        Without::Absent | Without::Required(..) => None,
        Without::Count(number) => Some(Without::Count(number + 1)),
        Without::Bytes(size) => Some(Without::Bytes(size + 1)),
        Without::Lasts(time) => Some(Without::Lasts(time + Duration::from_secs(1))),
        Without::Is(now) => {
            let is_other = |(probe, due): &(toml::Value, Due)| *due == Due::Taken && *probe != value(now);
            let other = probes(&key.kind).into_iter().find(is_other)?;
            Some(is(&other.0))
        }
    }
}

#[test]
fn a_change_of_a_key_is_noticed_by_reader_schema_and_example() {
    let document = tree(&full());
    let mut count = 0;
    let mut unnoticed = Vec::new();
    for (path, key) in keys(&ROOT) {
        for Mutant { before, after, is_shown } in mutants(key) {
            count += 1;
            let root = |key| leak(with(&ROOT, &path, key));
            let (old, new) = (root(before), root(after));
            let is_default = before.without != after.without;
            let reader = if is_default {
                let mut document = document.clone();
                assert!(set(&mut document, &path, None));
                let shown = |root| reading(&document, root).config.map(|config: Config| config.show(&ROOT));
                shown(new) != shown(old)
            } else {
                probes(&before.kind).iter().chain(&probes(&after.kind)).any(|(probe, _)| {
                    let document = probed(&document, &path, probe);
                    let refused = |root| is_refused(&reading(&document, root));
                    refused(new) != refused(old)
                })
            };
            let example = root(Key { kind: after.kind, ..if is_default { after } else { *key } });
            let seen = [reader, schema(new) != schema(old), !is_shown || !example_faults(example).is_empty()];
            if seen.contains(&false) {
                unnoticed.push(format!("{path:?} {after:?}: reader, schema, example {seen:?}"));
            }
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
    assert!(count >= 60, "{count} changes");
}

#[test]
fn what_is_shown_is_read_as_the_same() {
    let Reading { config: Some(config), problems, .. } = reading(&tree(&full()), &ROOT) else { panic!() };
    assert_eq!(problems, []);
    let shown: toml::Value = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
    let again = reading(&shown, &ROOT);
    assert_eq!(again.problems, []);
    assert_eq!(again.config.unwrap().show(&ROOT), config.show(&ROOT));
}

#[test]
fn sizes_can_be_asked_for_up_to_the_largest_that_can_be_written() {
    assert_eq!(super::units::size(&show_size(SIZE_MAX as u64)), Ok(SIZE_MAX as u64));
    assert!(super::units::size(&show_size(SIZE_MAX as u64 + 1)).is_err());
}

#[test]
fn no_file_makes_the_reader_give_up_and_the_schema_refuses_none_that_it_takes() {
    let validator = jsonschema::draft202012::new(&schema(&ROOT)).unwrap();
    let mut taken = 0;
    let full = full();
    let pieces: Vec<&str> = full.split_inclusive([' ', ',', '\n', '=', '"', '.']).collect();
    let others = ["-1", "0", "[]", "{}", "1e9", "\"\"", "true", "\"none\"", "{ x = [1, {}] }", "\"unix:/\""];
    let mut rng = Rng::new(7);
    for _ in 0..1000 {
        let mut pieces = pieces.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(pieces.len() as u64) as usize;
            match rng.below(4) {
                0 => drop(pieces.remove(at)),
                1 => pieces.insert(at, pieces[rng.below(pieces.len() as u64) as usize]),
                _ => pieces[at] = others[rng.below(others.len() as u64) as usize],
            }
        }
        let text = pieces.concat();
        let Reading { config, problems, .. } = read_as(Source::new("config/f.toml", &text), &text, &ROOT);
        assert!(config.is_some() || !problems.is_empty(), "{text}");
        if problems.is_empty() {
            taken += 1;
            assert!(validator.is_valid(&serde_json::to_value(tree(&text)).unwrap()), "{text}");
        }
    }
    assert!(taken > 100, "{taken}");
}
