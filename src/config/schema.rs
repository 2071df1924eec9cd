//! The JSON Schema (2020-12) of the configuration, for editors.

use serde_json::{Map, Value, json};

use super::key::{Key, Kind, Without};
use super::reader;
use super::units::{show_duration, show_size};

/// The schema of a file whose keys are those of `root`.
pub fn schema(root: &Kind) -> Value {
    let mut trees = Map::new();
    let mut schema = of(root, &mut trees);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Corelane configuration");
    schema["$defs"] = Value::Object(trees);
    schema
}

fn table(keys: &[Key], trees: &mut Map<String, Value>) -> Value {
    let properties: Map<_, _> = keys.iter().map(|key| (key.name.to_owned(), property(key, trees))).collect();
    let required: Vec<_> =
        keys.iter().filter(|key| matches!(key.without, Without::Required(..))).map(|key| key.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key, trees: &mut Map<String, Value>) -> Value {
    let mut schema = of(&key.kind, trees);
    let about = key.about.trim();
    schema["description"] = match bounds(&key.kind) {
        Some(bounds) => json!(format!("{about} {bounds}.")),
        None => json!(about),
    };
    if let Some(default) = key.without.default() {
        schema["default"] = reader::json(&default);
    }
    schema
}

/// Bounds that a pattern cannot tell.
fn bounds(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Size(least, most) => {
            Some(format!("From {} to {}", show_size(*least as u64), show_size(*most as u64)))
        }
        Kind::Time(least) | Kind::Finite(least, _) => Some(format!("At least {}", show_duration(*least))),
        Kind::Or(_, kind) | Kind::Switch(kind) => bounds(kind),
        Kind::Text
        | Kind::Secret
        | Kind::File
        | Kind::Form(_)
        | Kind::Choice(_)
        | Kind::Number(..)
        | Kind::Share
        | Kind::Truth
        | Kind::Scalar
        | Kind::Json
        | Kind::Figure
        | Kind::List(_)
        | Kind::NonEmpty(..)
        | Kind::OneOrMore(_)
        | Kind::Table(_)
        | Kind::Kinds(_)
        | Kind::Short(..)
        | Kind::Named(_)
        | Kind::Tree(_) => None,
    }
}

const TIME: &str = "[0-9]+(ms|s|m|h)";

fn of(kind: &Kind, trees: &mut Map<String, Value>) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match kind {
        Kind::Text | Kind::Form(_) => json!({ "type": "string" }),
        Kind::Secret | Kind::File => json!({ "type": "string", "minLength": 1 }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Time(_) | Kind::Finite(..) => text(&format!("^{TIME}$")),
        Kind::Size(..) => text("^[0-9]+(B|KiB|MiB|GiB|TiB)$"),
        Kind::Share => text("^[0-9]+([.][0-9]+)?%$"),
        Kind::Truth => json!({ "type": "boolean" }),
        Kind::Scalar => json!({ "type": ["string", "boolean", "integer"] }),
        Kind::Json => json!({}),
        Kind::Figure => json!({ "type": "number" }),
        Kind::List(item) => json!({ "type": "array", "items": of(item, trees) }),
        Kind::NonEmpty(item, ..) => json!({ "type": "array", "items": of(item, trees), "minItems": 1 }),
        Kind::OneOrMore(item) => {
            let one = of(item, trees);
            json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
        }
        Kind::Table(keys) => table(keys, trees),
        Kind::Kinds(kinds) => {
            json!({ "anyOf": kinds.iter().map(|kind| of(kind, trees)).collect::<Vec<_>>() })
        }
        Kind::Short(name, keys) => {
            let alone = keys.iter().find(|key| key.name == *name).map(|key| of(&key.kind, trees));
            json!({ "anyOf": [alone, table(keys, trees)] })
        }
        Kind::Named(kind) => json!({ "type": "object", "additionalProperties": of(kind, trees) }),
        Kind::Tree(kind) => {
            let value = of(kind, trees);
            let tree = json!({ "$ref": "#/$defs/tree" });
            trees.insert(
                "tree".to_owned(),
                json!({
                    "type": "object",
                    "additionalProperties": { "anyOf": [value, tree] },
                    "minProperties": 1,
                }),
            );
            tree
        }
        Kind::Switch(kind) => json!({ "anyOf": [{ "type": "boolean" }, of(kind, trees)] }),
        Kind::Or(word, Kind::Choice(words)) => {
            json!({ "enum": words.iter().chain([word]).collect::<Vec<_>>() })
        }
        Kind::Or(word, Kind::Time(_)) => text(&format!("^({TIME}|{word})$")),
        Kind::Or(word, kind) => json!({ "anyOf": [{ "const": word }, of(kind, trees)] }),
    }
}
