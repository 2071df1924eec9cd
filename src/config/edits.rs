//! `set`, `default`, `clamp` and `remove` of a route: what is changed in its requests on their way upstream.

use serde_json::{Map, Value as Json};

use super::key::Kind;
use super::reader::{Setting, Table, Value};
use super::table::table;
use super::values::unfit;
use crate::base::limits::BODY_PATH_SEGMENTS_MAX;
use crate::base::problem::Placed;
use crate::codec::edit::{Side, is_editable};
use crate::codec::field::is_token;
use crate::codec::json::{Decimal, folds_to};

table! {
    /// `set`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct SetConfig checked by check_set {
        /// Members, with what they say.
        body: Values = key("body", Named(&Json), Absent),
        /// Fields, with what they say.
        header: FieldValues = key("header", Named(&Form(field_value)), Absent),
    }
}

table! {
    /// `default`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct DefaultConfig {
        /// Members, with what they say.
        body: Values = key("body", Named(&Json), Required("nothing would be filled in", "{ max_tokens = 512 }")),
    }
}

table! {
    /// `clamp`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ClampConfig {
        /// Members, with their bounds.
        body: Values = key("body", Named(&Figure), Required("nothing would be bounded", "{ max_tokens = 4096 }")),
    }
}

table! {
    /// `remove`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RemoveConfig {
        /// Members.
        body: Vec<Placed<String>> = key(
            "body",
            NonEmpty(&Form(member), "it would remove nothing", "add the name of a member, or remove it"),
            Required("nothing would be removed", "[\"logprobs\"]")
        ),
    }
}

/// Members of a body by their paths, in the order written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(pub Vec<(Placed<String>, Json)>);

impl Setting for Values {
    /// A table is a value: what stands inside of one is named by its path, in quotes.
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Named(kind) = kind else { unfit::<Self>(kind) };
        let mut all = Vec::new();
        let entries = value.entries()?;
        check_empty(value, entries.is_empty());
        for (path, value) in entries {
            match member(&path.value) {
                Ok(_) => all.extend(said(value, kind).map(|said| (path, said))),
                Err(fix) => value.tell(path.problem(
                    format!("\"{}\" is not the path of a member", path.value),
                    "no body could have it",
                    fix,
                )),
            }
        }
        all.sort_by(|(one, _), (other, _)| one.place.cmp(&other.place));
        Some(Self(all))
    }

    fn show(&self, _: &'static Kind) -> Json {
        shown(self.0.iter().map(|(path, said)| (path.value.clone(), said.clone())))
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

/// What a member is to say, or its bound.
fn said(value: Value<'_, '_>, kind: &Kind) -> Option<Json> {
    match kind {
        Kind::Json => value.json(),
        Kind::Figure => match value.is_number() {
            true => value.json(),
            false => {
                value.wrong_type("4096");
                None
            }
        },
        kind => unfit::<Values>(kind),
    }
}

/// Fields with what they say, in the order written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldValues(pub Vec<(Placed<String>, String)>);

impl Setting for FieldValues {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Named(kind) = kind else { unfit::<Self>(kind) };
        let entries = value.entries()?;
        check_empty(value, entries.is_empty());
        let mut all: Vec<(Placed<String>, String)> = entries
            .into_iter()
            .filter_map(|(name, value)| Some((name, String::read(value, kind)?)))
            .collect();
        all.sort_by(|(one, _), (other, _)| one.place.cmp(&other.place));
        Some(Self(all))
    }

    fn show(&self, _: &'static Kind) -> Json {
        shown(self.0.iter().map(|(name, said)| (name.value.clone(), Json::from(said.as_str()))))
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

fn check_empty(value: Value<'_, '_>, is_empty: bool) {
    if is_empty {
        value.complain(
            format!("`{}` names nothing", value.name()),
            "it would change nothing",
            "add something, or remove it",
        );
    }
}

/// Nothing where there is none.
fn shown(all: impl Iterator<Item = (String, Json)>) -> Json {
    let all: Map<_, _> = all.collect();
    if all.is_empty() { Json::Null } else { Json::Object(all) }
}

/// The path of a member, as conditions write it.
fn member(path: &str) -> Result<String, String> {
    match path.split('.').all(|name| !name.is_empty()) && path.split('.').count() <= BODY_PATH_SEGMENTS_MAX {
        true => Ok(path.to_owned()),
        false => {
            Err(format!("write a path of at most {BODY_PATH_SEGMENTS_MAX} names, such as \"metadata.tier\""))
        }
    }
}

/// What may stand in a field (RFC 9110 §5.5).
fn field_value(text: &str) -> Result<String, String> {
    let is_plain = !text.is_empty() && text.trim() == text && text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if is_plain {
        Ok(text.to_owned())
    } else {
        Err("write printable ASCII without blanks around it".to_owned())
    }
}

fn check_set(table: &Table<'_, '_>, set: &SetConfig) {
    for (position, (name, _)) in set.header.0.iter().enumerate() {
        let is_named = |other: &str| other.eq_ignore_ascii_case(&name.value);
        if !is_token(name.value.as_bytes()) {
            table.tell(name.problem(
                format!("\"{}\" is not the name of a field", name.value),
                "no message could have it",
                "write a name such as \"x-team\"",
            ));
        } else if !is_editable(name.value.as_bytes(), Side::Request) {
            table.tell(name.problem(
                format!("`set` changes the field \"{}\"", name.value),
                "it frames messages, belongs to one connection, or is written by the gateway itself",
                "leave it out",
            ));
        } else if set.header.0[..position].iter().any(|(other, _)| is_named(&other.value)) {
            table.tell(name.problem(
                format!("the field \"{}\" stands twice", name.value),
                "names of fields are the same in any case",
                "remove one of them",
            ));
        }
    }
    if !table.has("body") && !table.has("header") {
        table.complain(
            "`set` changes nothing",
            "it has neither `body` nor `header`",
            "add one, or remove it",
        );
    }
}

/// One of a route's edits of a body.
struct Named<'c> {
    key: &'static str,
    path: &'c Placed<String>,
    said: Option<&'c Json>,
}

/// All that a route changes.
pub(super) type Edits<'c> = (
    &'c Option<Placed<SetConfig>>,
    &'c Option<Placed<DefaultConfig>>,
    &'c Option<Placed<ClampConfig>>,
    &'c Option<Placed<RemoveConfig>>,
);

fn all<'c>((set, default, clamp, remove): Edits<'c>) -> Vec<Named<'c>> {
    let mut all = Vec::new();
    let bodies = [
        ("set", set.as_ref().map(|set| &set.value.body)),
        ("default", default.as_ref().map(|default| &default.value.body)),
        ("clamp", clamp.as_ref().map(|clamp| &clamp.value.body)),
    ];
    for (key, body) in bodies {
        let named = body.into_iter().flat_map(|body| &body.0);
        all.extend(named.map(|(path, said)| Named { key, path, said: Some(said) }));
    }
    let removed = remove.iter().flat_map(|remove| &remove.value.body);
    all.extend(removed.map(|path| Named { key: "remove", path, said: None }));
    all
}

/// What is changed must be forwarded, and be changed in one way only.
pub(super) fn check(table: &Table<'_, '_>, name: &str, edits: Edits<'_>) {
    for key in ["set", "default", "clamp", "remove"] {
        if table.has(key) && (table.has("respond") || table.has("multi")) {
            table.complain(
                format!("route \"{name}\" answers by itself, and has `{key}`"),
                "nothing is forwarded that could be changed",
                "remove it",
            );
        }
    }
    let all = all(edits);
    for (position, edit) in all.iter().enumerate() {
        let clash = all[..position].iter().find(|other| clashes(other, edit));
        let Some(other) = clash else { continue };
        let (one, two) = (&other.path.value, &edit.path.value);
        table.tell(edit.path.problem(
            format!("`{}` changes \"{two}\", and `{}` changes \"{one}\"", edit.key, other.key),
            "one of the two would undo what the other does",
            "remove one of them",
        ));
    }
    check_bounds(table, &all);
}

/// Whether two edits cannot both be made: of one member, in any case, or of one that stands in the other.
fn clashes(one: &Named<'_>, other: &Named<'_>) -> bool {
    let (mut names, mut others) = (one.path.value.split('.'), other.path.value.split('.'));
    loop {
        match (names.next(), others.next()) {
            (Some(name), Some(other)) if folds_to(name, other.as_bytes()) => {}
            (Some(_), Some(_)) => return false,
            (None, None) => break,
            _ => return true,
        }
    }
    let is_pair = matches!((one.key, other.key), ("default", "clamp") | ("clamp", "default"));
    !is_pair || one.path.value != other.path.value
}

/// What is filled in must be within its bound.
fn check_bounds(table: &Table<'_, '_>, all: &[Named<'_>]) {
    let of = |key: &'static str| all.iter().filter(move |edit| edit.key == key);
    for default in of("default") {
        let bound = of("clamp").find(|clamp| clamp.path.value == default.path.value);
        let Some((bound, said)) = bound.and_then(|bound| bound.said).zip(default.said) else { continue };
        if said.is_number() && Decimal::of(&said.to_string()).exceeds(&Decimal::of(&bound.to_string())) {
            table.tell(default.path.problem(
                format!(
                    "`default` says {said} in \"{}\", and `clamp` takes {bound} at most",
                    default.path.value
                ),
                "what is filled in is not lowered",
                format!("write {bound}, or less"),
            ));
        }
    }
}
