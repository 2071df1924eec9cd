//! Where a secret comes from: the text itself, `${NAME}` for an environment variable, `file:/path` for a file's content.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::key::Kind;
use super::reader::{Setting, Value};
use super::values::unfit;
use crate::base::limits::SECRET_BYTES_MAX;
use crate::base::secret::{SECRET_SHOWN, Secret};

impl Setting for Secret {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Secret = kind else { unfit::<Self>(kind) };
        match resolve(&value.secret()?, |name| std::env::var(name).ok()) {
            Ok(secret) => Some(secret),
            Err(none) => {
                value.complain(format!("`{}` cannot be had", value.name()), none.why, none.fix);
                None
            }
        }
    }

    fn show(&self, _: &'static Kind) -> Json {
        json!(SECRET_SHOWN)
    }
}

/// Why there is no secret, and what to write. Never shows the text: it may be one.
#[derive(Debug, PartialEq, Eq)]
struct NoSecret {
    why: String,
    fix: String,
}

fn no<T>(why: impl Into<String>, fix: impl Into<String>) -> Result<T, NoSecret> {
    Err(NoSecret { why: why.into(), fix: fix.into() })
}

/// The environment variable that `${NAME}` stands for.
pub(super) fn variable_name(text: &str) -> Option<&str> {
    text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
}

/// Reads the secret that `text` stands for. `variable` looks into the environment.
fn resolve(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Secret, NoSecret> {
    let named = variable_name(text);
    let secret = match (named, text.strip_prefix("file:")) {
        (Some(name), _) => match variable(name) {
            Some(value) => value,
            None => {
                return no(
                    format!("the environment has no variable {name}"),
                    format!("set {name} for this process, or write \"file:/path\""),
                );
            }
        },
        (None, Some(path)) => content(path)?,
        (None, None) if text.contains("${") => {
            return no(
                "a variable stands for the whole of a secret, not for a part of it",
                "write \"${NAME}\" and nothing beside it",
            );
        }
        (None, None) => text.to_owned(),
    };
    if secret.is_empty() {
        return no("it is empty: anybody would know it", "give it some 32 characters of chance");
    }
    if secret.chars().any(char::is_control) {
        return no("it holds a control character, which no client can send", "leave it out");
    }
    Ok(Secret::new(secret))
}

fn content(path: &str) -> Result<String, NoSecret> {
    if !path.starts_with('/') {
        return no("a file is named by its whole path", "write \"file:/path\"");
    }
    // A pipe would be waited for, a device may have no end.
    let regular = std::fs::metadata(Path::new(path)).and_then(|found| match found.is_file() {
        true if found.len() <= SECRET_BYTES_MAX => Ok(()),
        true => Err(std::io::ErrorKind::FileTooLarge.into()),
        false => Err(std::io::Error::other("it is no regular file")),
    });
    match regular.and_then(|()| std::fs::read_to_string(path)) {
        // Editors and `echo` end a file with a line end.
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => no(format!("{path}: {error}"), "name a file that exists and may be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_its_text_stands_for() {
        let file = std::env::temp_dir().join(format!("corelane-secret-{}", std::process::id()));
        std::fs::write(&file, "from a file\n").unwrap();
        let variable = |name: &str| match name {
            "SET" => Some("from outside".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let read = |text: &str| resolve(text, variable);
        assert_eq!(read("plain"), Ok(Secret::new("plain")));
        assert_eq!(read("${SET}"), Ok(Secret::new("from outside")));
        assert_eq!(read(&format!("file:{}", file.display())), Ok(Secret::new("from a file")));
        let folder = format!("file:{}", std::env::temp_dir().display());
        for wrong in
            ["", "${UNSET}", "${EMPTY}", "x${SET}", "file:relative", "file:/does/not/exist", "a\nb", &folder]
        {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        std::fs::remove_file(file).unwrap();
    }
}
