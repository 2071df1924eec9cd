//! A JSON Schema (2020-12 unless it says another draft), by the package `jsonschema`; its expressions run in linear time.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::preset::Misfit;

/// A schema that was understood.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// Understands the text of a schema; nothing is fetched for it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let schema: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        options.build(&schema).map(Self).map_err(|error| match error.kind() {
            ValidationErrorKind::Referencing(_) => "it refers to a schema that is not in it".to_owned(),
            _ => error.to_string(),
        })
    }

    /// The first way in which a document does not fit.
    pub(super) fn misfit(&self, document: &Value) -> Option<Misfit> {
        let error = self.0.validate(document).err()?;
        let mut param = param(document, error.instance_path().as_str());
        let words = match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                param = if param.is_empty() { name.to_owned() } else { format!("{param}.{name}") };
                "there: it is required".to_owned()
            }
            // What a schema looks for is not told.
            ValidationErrorKind::Pattern { .. } => "a text of the form that is asked for".to_owned(),
            kind => format!("as its schema says ({})", kind.keyword()),
        };
        Some(Misfit { param, words })
    }
}

/// A JSON Pointer (RFC 6901) into a document, as OpenAI writes it: `messages[0].content`.
fn param(document: &Value, pointer: &str) -> String {
    let (mut param, mut at) = (String::new(), Some(document));
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        at = match at {
            Some(Value::Array(items)) => {
                param.push_str(&format!("[{name}]"));
                name.parse().ok().and_then(|place: usize| items.get(place))
            }
            other => {
                if !param.is_empty() {
                    param.push('.');
                }
                param.push_str(&name);
                other.and_then(|value| value.get(&name))
            }
        };
    }
    param
}
