//! `kind = "validate"`: what bodies must be.

use serde_json::{Value as Json, json};

use crate::config::key::Kind;
use crate::config::reader::{Setting, Value};
use crate::config::table::table;
use crate::config::values::unfit;
use crate::filter::validate::Schema;

table! {
    /// `kind = "validate"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ValidateConfig {
        /// "validate": lets bodies pass that are JSON, by their type too, and as a schema says.
        kind: String = key("kind", Choice(&["validate"]), Required("nobody could know what it does", "\"validate\"")),
        /// What a body must be: "openai" for what the API asks of chat, completions and embeddings, or the file of a JSON
        /// Schema, from the folder of this one; JSON of any kind without it.
        schema: SchemaConfig = key("schema", Or("openai", &File), Absent),
    }
}

/// What a body must be.
#[derive(Debug, Clone, PartialEq)]
pub enum SchemaConfig {
    /// JSON of any kind.
    Any,
    /// What OpenAI's API asks for.
    OpenAi,
    /// What a schema says.
    File {
        /// Its path, as written.
        path: String,
        /// What stands in it.
        text: String,
    },
}

impl Setting for SchemaConfig {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Or(word, Kind::File) = kind else { unfit::<Self>(kind) };
        if value.text() == Some(word) {
            return Some(Self::OpenAi);
        }
        let file = value.file()?;
        if let Err(why) = Schema::parse(&file.text) {
            value.complain(
                format!("`{}` is no JSON Schema: {}", value.name(), file.path.display()),
                why,
                "correct the file; expressions in it have neither look-around nor back references, and nothing is fetched",
            );
            return None;
        }
        Some(Self::File { path: value.string()?, text: file.text })
    }

    fn show(&self, _: &'static Kind) -> Json {
        match self {
            Self::Any => Json::Null,
            Self::OpenAi => json!("openai"),
            Self::File { path, .. } => json!(path),
        }
    }

    fn absent() -> Option<Self> {
        Some(Self::Any)
    }
}
