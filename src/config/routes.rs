//! `[[route]]`, key by key.

use super::reader::Value;
use super::{ActionConfig, MatchConfig, RespondConfig, RouteConfig};
use crate::base::limits::BODY_PATH_SEGMENTS_MAX;
use crate::base::problem::Placed;
use crate::codec::field::is_token_byte;
use crate::route::path::{BadPath, Readings, readings};
use crate::route::pattern::Pattern;
use crate::route::rewrite::Rewrite;

pub(super) fn routes(value: Value<'_, '_>) -> Vec<RouteConfig> {
    let mut all: Vec<RouteConfig> = Vec::new();
    for (position, value) in value.array().unwrap_or_default().into_iter().enumerate() {
        let Some(mut table) = value.table() else { continue };
        let given = table.take("name").and_then(|value| value.string());
        let name = given.unwrap_or_else(|| value.placed(format!("route-{}", position + 1)));
        if let Some(twin) = all.iter().find(|known| known.name.value == name.value) {
            value.complain(
                format!(
                    "two routes are named \"{}\" (the other at line {})",
                    name.value, twin.name.place.line
                ),
                "their statistics could not be told apart",
                "give one of them another name",
            );
        }
        let matching = table.take("match").map(matching).unwrap_or_default();
        let to = table.take("to");
        let respond = table.take("respond");
        let action = match (to, respond) {
            (Some(to), None) => targets(to).map(ActionConfig::To),
            (None, Some(respond)) => answer(respond).map(ActionConfig::Respond),
            (Some(_), Some(_)) => {
                value.complain(
                    format!("route \"{}\" has both `to` and `respond`", name.value),
                    "a request can be forwarded or answered, not both",
                    "remove one of them",
                );
                None
            }
            (None, None) => {
                value.complain(
                    format!("route \"{}\" has no action", name.value),
                    "nobody would answer its requests",
                    "add to = \"CLUSTER\" or respond = { status = 200 }",
                );
                None
            }
        };
        let rewrite = table.take("rewrite").and_then(rewrite);
        if let (Some(rewrite), Some(ActionConfig::Respond(_))) = (&rewrite, &action) {
            value.source_complain(rewrite.problem(
                format!("route \"{}\" answers by itself, and has `rewrite`", name.value),
                "nothing is forwarded whose path could be rewritten",
                "remove it",
            ));
        }
        let body = table.take("body").and_then(|value| value.size(0, 1 << 40));
        table.finish();
        all.push(RouteConfig { name, matching, action, rewrite, body });
    }
    all
}

fn targets(value: Value<'_, '_>) -> Option<Vec<(Placed<String>, u32)>> {
    if value.is_string() {
        return Some(vec![(value.string()?, 1)]);
    }
    let mut all = Vec::new();
    let mut is_whole = true;
    for item in value.array()? {
        let Some(mut table) = item.table() else {
            is_whole = false;
            continue;
        };
        let cluster = match table.take("cluster") {
            Some(value) => value.string(),
            None => {
                table.missing("cluster", "its share of requests would go nowhere", "add cluster = \"NAME\"");
                None
            }
        };
        let weight = table.take("weight").map_or(Some(1), |value| value.number(0, 65_535));
        table.finish();
        match (cluster, weight) {
            (Some(cluster), Some(weight)) => all.push((cluster, weight as u32)),
            _ => is_whole = false,
        }
    }
    if is_whole && all.iter().all(|(_, weight)| *weight == 0) {
        value.complain(
            "`to` has no cluster with a weight",
            "no request could be sent anywhere",
            "give one a weight of 1",
        );
    }
    Some(all)
}

fn answer(value: Value<'_, '_>) -> Option<RespondConfig> {
    let mut table = value.table()?;
    let status = table.take("status").map_or(Some(200), |value| value.number(200, 599));
    let body = table.take("body").map_or(Some(String::new()), |value| Some(value.string()?.value));
    let content_type = table.take("content_type").and_then(|value| {
        let text = value.string()?.value;
        let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !is_plain {
            value.complain(
                "`content_type` is not a media type",
                "it would break the answer's head",
                "write \"text/plain\"",
            );
        }
        is_plain.then_some(text)
    });
    table.finish();
    Some(RespondConfig { status: status? as u16, body: body?, content_type })
}

fn matching(value: Value<'_, '_>) -> MatchConfig {
    let Some(mut table) = value.table() else { return MatchConfig::default() };
    let config = MatchConfig {
        host: table.take("host").and_then(|value| value.parsed(host)),
        path: table.take("path").and_then(|value| value.parsed(path)),
        method: table.take("method").and_then(|value| value.parsed(method)),
        header: table.take("header").map(headers).unwrap_or_default(),
        body: table.take("body").map(members).unwrap_or_default(),
    };
    table.finish();
    config
}

fn host(text: &str) -> Result<String, String> {
    // A host of dots only would be none at all: they do not take part.
    let is_plain = !text.trim_end_matches('.').is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._*[]:".contains(&b));
    let has_port = !text.starts_with('[') && text.contains(':');
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
    let is_method = !text.is_empty() && text.bytes().all(|b| is_token_byte(b) && !b.is_ascii_lowercase());
    if is_method { Ok(text.to_owned()) } else { Err(format!("write {:?}", text.to_ascii_uppercase())) }
}

fn headers(value: Value<'_, '_>) -> Vec<(String, Vec<Pattern>)> {
    let Some(table) = value.table() else { return Vec::new() };
    let mut all = Vec::new();
    for (name, value) in table.entries() {
        if name.value.is_empty() || !name.value.bytes().all(is_token_byte) {
            value.complain(
                format!("\"{}\" is not the name of a header", name.value),
                "no request could have it",
                "write a name such as x-team",
            );
        }
        let patterns = patterns(value);
        if !patterns.is_empty() {
            all.push((name.value, patterns));
        }
    }
    all
}

/// One value, or a list of which any may fit.
fn patterns(value: Value<'_, '_>) -> Vec<Pattern> {
    let one = |value: Value<'_, '_>| {
        value.scalar(|text| Pattern::new(text).map_err(|error| format!("correct the expression: {error}")))
    };
    if !value.is_array() {
        return one(value).into_iter().collect();
    }
    let items = value.array().unwrap_or_default();
    if items.is_empty() {
        value.complain("the list of values is empty", "no request could fit it", "add a value, or remove it");
    }
    items.into_iter().filter_map(one).collect()
}

/// Members by their paths; `metadata.tier = "gold"` is a table in a table, and means the same in quotes.
fn members(value: Value<'_, '_>) -> Vec<(Placed<String>, Vec<Pattern>)> {
    let mut all: Vec<(Placed<String>, Vec<Pattern>)> = Vec::new();
    let mut tables = vec![(String::new(), value)];
    while let Some((prefix, value)) = tables.pop() {
        let Some(table) = value.table() else { continue };
        if table.entries().is_empty() {
            value.complain(
                "it names no member of the body",
                "it would fit any body",
                "add one, or remove it",
            );
        }
        for (name, value) in table.entries() {
            let path = format!("{prefix}{}", name.value);
            if value.is_table() {
                tables.push((format!("{path}."), value));
                continue;
            }
            let segments = path.split('.').count();
            if path.split('.').any(str::is_empty) || segments > BODY_PATH_SEGMENTS_MAX {
                value.complain(
                    format!("\"{path}\" is not the path of a member"),
                    "no body could have it",
                    format!(
                        "write a path of at most {BODY_PATH_SEGMENTS_MAX} names, such as \"metadata.tier\""
                    ),
                );
                continue;
            }
            if all.iter().any(|(known, _)| known.value == path) {
                value.complain(
                    format!("`{path}` stands twice"),
                    "one of the two conditions would be ignored",
                    "remove one of them",
                );
            }
            let patterns = patterns(value);
            if !patterns.is_empty() {
                all.push((Placed { value: path, place: name.place }, patterns));
            }
        }
    }
    all.sort_by(|(a, _), (b, _)| a.place.cmp(&b.place));
    all
}

fn rewrite(value: Value<'_, '_>) -> Option<Placed<Rewrite>> {
    let mut table = value.table()?;
    let mut part = |key| table.take(key).map_or(Some(String::new()), |value| value.parsed(path_prefix));
    let (strip, add) = (part("strip"), part("add"));
    table.finish();
    let rewrite = Rewrite { strip: strip?, add: add? };
    if rewrite == Rewrite::default() {
        value.complain(
            "`rewrite` changes nothing",
            "it has neither `strip` nor `add`",
            "add one, or remove it",
        );
    }
    Some(value.placed(rewrite))
}

fn path_prefix(text: &str) -> Result<String, String> {
    let is_prefix = text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~!$&'()+,;=:@".contains(&b))
        && !text.split('/').any(|segment| matches!(segment, "." | ".."));
    match is_prefix {
        true => Ok(text.to_owned()),
        false => Err("write the beginning of a path without a slash at its end, such as \"/team-a\"".into()),
    }
}
