//! `match`: which requests a route takes.

use serde_json::{Map, Value as Json};

use super::key::Kind;
use super::reader::{Setting, Value};
use super::table::table;
use super::values::unfit;
use crate::base::limits::BODY_PATH_SEGMENTS_MAX;
use crate::base::problem::Placed;
use crate::codec::field::is_token;
use crate::route::path::{BadPath, Readings, readings};
use crate::route::pattern::Pattern;

table! {
    /// `match`.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct MatchConfig {
        /// Host without port, or a glob such as "*.local".
        host: Option<String> = key("host", Form(host), Absent),
        /// "/v1/models", "/v1/*", "/v2/models/{model}/infer" or "/v1/models/{model*}".
        path: Option<String> = key("path", Form(path), Absent),
        /// A method; GET takes HEAD too.
        method: Option<String> = key("method", Form(method), Absent),
        /// Fields and their values: exact, a glob with "*", or an expression after "~"; any of a list.
        header: Headers = key("header", Named(&OneOrMore(&Scalar)), Absent),
        /// Members of a JSON body or parts of a form, by path, and their values.
        body: Members = key("body", Tree(&OneOrMore(&Scalar)), Absent),
    }
}

fn host(text: &str) -> Result<String, String> {
    // A host of dots only would be none at all: they do not take part.
    let is_plain = !text.trim_end_matches('.').is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._*[]:".contains(&b));
    let has_port = match text.starts_with('[') {
        true => text.split_once(']').is_some_and(|(_, port)| !port.is_empty()),
        false => text.contains(':'),
    };
    if is_plain && !has_port {
        return Ok(text.to_ascii_lowercase());
    }
    Err("write a host name without port, such as \"api.local\" or \"*.local\"".into())
}

fn path(text: &str) -> Result<String, String> {
    let fix = |fix: &str| Err(fix.to_owned());
    let Some(inner) = text.strip_prefix('/') else {
        return fix("a path starts with \"/\": write \"/v1/models\", \"/v1/*\" or \"/v2/models/{model}\"");
    };
    if text.contains(['?', '#']) {
        return fix("leave the query out: it takes no part in matching");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        let escaped: String = text
            .bytes()
            .map(|b| if b.is_ascii_graphic() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect();
        return Err(format!("requests have it escaped: write {escaped:?}"));
    }
    // The last parameter may take all that follows: but for its star it is like the others.
    let plain = inner.strip_suffix("*}").map(|inner| format!("{inner}}}"));
    let takes_rest = plain.is_some();
    let inner = plain.as_deref().unwrap_or(inner);
    let stars = inner.matches('*').count();
    if stars > 1 || (stars == 1 && (takes_rest || !text.ends_with("/*"))) {
        return fix(
            "\"*\" stands only at the end, as \"/*\"; use \"{name}\" for one segment, or \"{name*}\" for all that follow",
        );
    }
    let mut names = Vec::new();
    for segment in inner.split('/') {
        if matches!(segment, "." | "..") {
            return fix("leave dot segments out: requests that have them are refused");
        }
        if segment.contains(['{', '}']) {
            let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !is_name || names.contains(&name) || stars > 0 {
                return fix(
                    "a parameter is a whole segment with a name of its own, such as \"/v2/models/{model}/infer\" or \"/v1/models/{model*}\", in a path without \"/*\"",
                );
            }
            names.push(name);
        }
    }
    match readings(text.as_bytes()) {
        Ok(Readings::One(_)) => Ok(text.to_owned()),
        Ok(Readings::Several(_)) => fix(
            "leave encoded slashes, two slashes in a row and \";\" out: servers read them in several ways, of which only one would fit",
        ),
        Err(BadPath) => {
            fix("leave backslashes, NUL and broken escapes out: requests that have them are refused")
        }
    }
}

fn method(text: &str) -> Result<String, String> {
    if matches!(text, "CONNECT" | "TRACE") {
        return Err("leave the route out: requests with CONNECT and TRACE are answered with 501".into());
    }
    let is_method = is_token(text.as_bytes()) && !text.bytes().any(|b| b.is_ascii_lowercase());
    if is_method { Ok(text.to_owned()) } else { Err(format!("write {:?}", text.to_ascii_uppercase())) }
}

/// Fields, each with what one of its values must look like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers(pub Vec<(String, Patterns)>);

impl Setting for Headers {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Named(patterns) = kind else { unfit::<Self>(kind) };
        let mut all = Vec::new();
        for (name, value) in value.entries()? {
            if !is_token(name.value.as_bytes()) {
                value.complain(
                    format!("\"{}\" is not the name of a header", name.value),
                    "no request could have it",
                    "write a name such as x-team",
                );
            }
            if let Some(patterns) = Patterns::read(value, patterns) {
                all.push((name.value, patterns));
            }
        }
        Some(Self(all))
    }

    fn show(&self, kind: &'static Kind) -> Json {
        let Kind::Named(patterns) = kind else { unfit::<Self>(kind) };
        object(self.0.iter().map(|(name, values)| (name.clone(), values.show(patterns))))
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

/// Members of a body by their paths, each with what its value must look like, in the order written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Members(pub Vec<(Placed<String>, Patterns)>);

impl Setting for Members {
    /// `metadata.tier = "gold"` is a table in a table, and means the same in quotes.
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Tree(patterns) = kind else { unfit::<Self>(kind) };
        let mut all: Vec<(Placed<String>, Patterns)> = Vec::new();
        let mut tables = vec![(String::new(), value)];
        while let Some((prefix, value)) = tables.pop() {
            let Some(entries) = value.entries() else { continue };
            if entries.is_empty() {
                value.complain(
                    "it names no member of the body",
                    "it would fit any body",
                    "add one, or remove it",
                );
            }
            for (name, value) in entries {
                let path = Placed { value: format!("{prefix}{}", name.value), place: name.place };
                if value.is_table() {
                    tables.push((format!("{}.", path.value), value));
                } else if is_member(&path.value, &all, value)
                    && let Some(patterns) = Patterns::read(value, patterns)
                {
                    all.push((path, patterns));
                }
            }
        }
        all.sort_by(|(a, _), (b, _)| a.place.cmp(&b.place));
        Some(Self(all))
    }

    fn show(&self, kind: &'static Kind) -> Json {
        let Kind::Tree(patterns) = kind else { unfit::<Self>(kind) };
        object(self.0.iter().map(|(path, values)| (path.value.clone(), values.show(patterns))))
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

/// Nothing where there is no condition.
fn object(fields: impl Iterator<Item = (String, Json)>) -> Json {
    let fields: Map<_, _> = fields.collect();
    if fields.is_empty() { Json::Null } else { Json::Object(fields) }
}

/// Whether `path` can be that of a member; tells where it cannot, or stands twice.
fn is_member(path: &str, known: &[(Placed<String>, Patterns)], value: Value<'_, '_>) -> bool {
    if path.split('.').any(str::is_empty) || path.split('.').count() > BODY_PATH_SEGMENTS_MAX {
        value.complain(
            format!("\"{path}\" is not the path of a member"),
            "no body could have it",
            format!("write a path of at most {BODY_PATH_SEGMENTS_MAX} names, such as \"metadata.tier\""),
        );
        return false;
    }
    if known.iter().any(|(known, _)| known.value == path) {
        value.complain(
            format!("`{path}` stands twice"),
            "one of the two conditions would be ignored",
            "remove one of them",
        );
    }
    true
}

/// What a value must look like: one of these fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Patterns(pub Vec<Pattern>);

impl Setting for Patterns {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let all: Vec<Pattern> = Setting::read(value, kind)?;
        if value.array_is_empty() {
            value.complain(
                "the list of values is empty",
                "no request could fit it",
                "add a value, or remove it",
            );
        }
        (!all.is_empty()).then_some(Self(all))
    }

    fn show(&self, kind: &'static Kind) -> Json {
        self.0.show(kind)
    }
}

impl Setting for Pattern {
    fn read(value: Value<'_, '_>, _: &'static Kind) -> Option<Self> {
        value.scalar(|text| Self::new(text).map_err(|error| format!("correct the expression: {error}")))
    }

    fn show(&self, _: &'static Kind) -> Json {
        self.as_str().into()
    }
}
