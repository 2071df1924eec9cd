//! `kind = "headers"`: what is changed in the fields of messages.

use serde_json::{Map, Value as Json};

use super::token::token;
use crate::codec::edit::{Side, is_editable};
use crate::config::key::Kind;
use crate::config::reader::{Setting, Table, Value};
use crate::config::table::table;
use crate::config::values::{text_setting, unfit};
use crate::filter::headers::Template;

table! {
    /// `kind = "headers"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct HeadersConfig checked by check_headers {
        /// "headers": changes the fields of requests on their way upstream, and of all answers to clients, refusals too.
        kind: String = key("kind", Choice(&["headers"]), Required("nobody could know what it does", "\"headers\"")),
        /// Fields of requests, as they go upstream: removed first, then renamed, then set, then added. A value may say {key},
        /// {client}, {model}, {route} and {request_id}; a field of which nothing is known is left out.
        request: Option<SideConfig> = key("request", Table(SideConfig::KEYS), Absent),
        /// Fields of answers, in the same way.
        response: Option<SideConfig> = key("response", Table(SideConfig::KEYS), Absent),
    }
}

table! {
    /// What is changed on one side.
    #[derive(Debug, Clone, PartialEq)]
    pub struct SideConfig {
        /// Fields that are said once, whatever was said of them before.
        set: Fields = key("set", Named(&Text), Absent),
        /// Fields that are said beside those of the same name.
        add: Fields = key("add", Named(&Text), Absent),
        /// Fields that take another name, in the place of those that have it.
        rename: Renames = key("rename", Named(&Text), Absent),
        /// Fields that go.
        remove: Vec<String> = key("remove", List(&Form(token)), Absent),
    }
}

text_setting!(Template, read by |value| value.parsed(Template::parse), shown by |template| template.text.clone());

impl HeadersConfig {
    /// Whether it speaks of whose request it is.
    pub fn says_key(&self) -> bool {
        self.templates().any(Template::needs_key)
    }

    /// Whether it speaks of the model that is asked for.
    pub fn says_model(&self) -> bool {
        self.templates().any(Template::needs_model)
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        let sides = self.request.iter().chain(&self.response);
        sides.flat_map(|side| side.set.0.iter().chain(&side.add.0)).map(|(_, value)| value)
    }
}

/// Fields with what is said in them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(pub Vec<(String, Template)>);

/// Fields with the names that they take.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Renames(pub Vec<(String, String)>);

impl Setting for Fields {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        named(value, kind).map(Self)
    }

    fn show(&self, kind: &'static Kind) -> Json {
        shown(&self.0, kind)
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

impl Setting for Renames {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        named(value, kind).map(Self)
    }

    fn show(&self, kind: &'static Kind) -> Json {
        shown(&self.0, kind)
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

fn named<T: Setting>(value: Value<'_, '_>, kind: &'static Kind) -> Option<Vec<(String, T)>> {
    let Kind::Named(inner) = kind else { unfit::<T>(kind) };
    let mut read = Vec::new();
    for (name, item) in value.entries()? {
        if token(&name.value).is_err() {
            value.tell(name.problem(
                format!("\"{}\" is not the name of a field", name.value),
                "no message could have it",
                "write a name such as \"x-team\"",
            ));
            continue;
        }
        if let Some(item) = T::read(item, inner) {
            read.push((name.value, item));
        }
    }
    Some(read)
}

fn shown<T: Setting>(fields: &[(String, T)], kind: &'static Kind) -> Json {
    let Kind::Named(inner) = kind else { unfit::<T>(kind) };
    fields.iter().map(|(name, value)| (name.clone(), value.show(inner))).collect::<Map<_, _>>().into()
}

fn check_headers(table: &Table<'_, '_>, headers: &HeadersConfig) {
    let HeadersConfig { kind: _, request, response } = headers;
    let mut names = 0;
    for (config, side) in [(request, Side::Request), (response, Side::Response)] {
        let Some(SideConfig { set, add, rename, remove }) = config else { continue };
        let said = set.0.iter().chain(&add.0).map(|(name, _)| name);
        let renamed = rename.0.iter().flat_map(|(from, to)| [from, to]);
        for name in said.chain(renamed).chain(remove) {
            names += 1;
            if token(name).is_err() {
                table.complain(
                    format!("\"{name}\" is not the name of a field"),
                    "no message could have it",
                    "write a name such as \"x-team\"",
                );
            } else if !is_editable(name.as_bytes(), side) {
                table.complain(
                    format!("a headers filter changes \"{name}\""),
                    "it frames messages, belongs to one connection, or is written by the gateway itself",
                    "leave it out",
                );
            }
        }
    }
    if names == 0 {
        table.complain(
            "a headers filter changes nothing",
            "it would do nothing",
            "add request = { set = { x-team = \"{key}\" } }, or remove it",
        );
    }
}
