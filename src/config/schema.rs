//! The JSON Schema (2020-12) of the configuration, for editors.

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, ROOT, Without};

/// The schema.
pub fn schema() -> Value {
    let mut schema = table(ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Corelane configuration");
    schema
}

fn table(keys: &[Key]) -> Value {
    let properties: Map<_, _> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<_> =
        keys.iter().filter(|key| key.without == Without::Required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut schema = of(&key.kind);
    schema["description"] = json!(key.about);
    if let Without::Is(default) = key.without {
        schema["default"] = serde_json::from_str(default).expect("defaults are written as JSON");
    }
    schema
}

fn of(kind: &Kind) -> Value {
    let text = |pattern: String| json!({ "type": "string", "pattern": pattern });
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Duration => text("^[0-9]+(ms|s|m|h)$".to_owned()),
        Kind::DurationOr(word) => text(format!("^([0-9]+(ms|s|m|h)|{word})$")),
        Kind::Size => text("^[0-9]+(B|KiB|MiB|GiB|TiB)$".to_owned()),
        Kind::Share => text("^[0-9]+([.][0-9]+)?%$".to_owned()),
        Kind::Truth => json!({ "type": "boolean" }),
        Kind::List(item) => json!({ "type": "array", "items": of(item) }),
        Kind::Table(keys) => table(keys),
        Kind::Named(kind) => json!({ "type": "object", "additionalProperties": of(kind) }),
        Kind::Either(kinds) => json!({ "anyOf": kinds.iter().map(of).collect::<Vec<_>>() }),
    }
}
