//! Certificates and keys: files in PEM, or a key from the environment.

use serde_json::{Value as Json, json};

use super::key::Kind;
use super::reader::{Setting, Value};
use super::secret::variable_name;
use super::values::unfit;

/// A text in PEM.
#[derive(Clone, PartialEq)]
pub struct Pem {
    /// What was written: a path, `file:/path` or `${NAME}`.
    pub from: String,
    /// What stands there.
    pub text: String,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may be a private key.
        write!(f, "Pem({})", self.from)
    }
}

impl Setting for Pem {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::File = kind else { unfit::<Self>(kind) };
        let from = value.string()?;
        if from.contains("-----BEGIN") {
            // The configuration is shown by the admin API, and read by more people than a key is.
            value.complain(
                format!("`{}` stands in the configuration itself", value.name()),
                "everybody who may read it would have it",
                "write it into a file of its own, and its path here",
            );
            return None;
        }
        if let Some(name) = variable_name(&from) {
            let text = std::env::var(name).ok();
            if text.is_none() {
                value.complain(
                    format!("`{}` cannot be had", value.name()),
                    format!("the environment has no variable {name}"),
                    format!("set {name} for this process, or write the path of a file"),
                );
            }
            return text.map(|text| Self { from, text });
        }
        let file = value.file_at(from.strip_prefix("file:").unwrap_or(&from))?;
        Some(Self { text: file.text, from })
    }

    fn show(&self, _: &'static Kind) -> Json {
        json!(self.from)
    }
}
