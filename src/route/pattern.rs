//! What a header's or a body member's value must look like: exact text, a glob, or a regular expression.

use regex::bytes::{Regex, RegexBuilder};

use crate::base::glob::{Case, Glob};
use crate::base::limits::PATTERN_BYTES_MAX;

/// A compiled pattern; equal to another if it was written the same.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Text(Glob),
    /// Matching takes time linear in the value, whatever the expression.
    Regex(Regex),
}

impl Pattern {
    /// Compiles exact text, a glob with `*`, or a regular expression behind `~`.
    ///
    /// Fails with what is wrong with the expression. It is looked for anywhere in the value unless it has `^` or `$`.
    pub fn new(text: &str) -> Result<Self, String> {
        let form = match text.strip_prefix('~') {
            Some(expression) => {
                let built = RegexBuilder::new(expression).size_limit(PATTERN_BYTES_MAX).build();
                Form::Regex(built.map_err(|error| reason(&error))?)
            }
            None => Form::Text(Glob::new(text)),
        };
        Ok(Self { text: text.to_owned(), form })
    }

    /// Whether `value` fits.
    pub fn fits(&self, value: &[u8]) -> bool {
        match &self.form {
            Form::Text(glob) => glob.fits(value, Case::Sensitive),
            Form::Regex(regex) => regex.is_match(value),
        }
    }

    /// Whether everything that fits `other` fits this one too, as far as can be told.
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.form, &other.form) {
            (Form::Text(one), Form::Text(other)) => one.covers(other, Case::Sensitive),
            (Form::Text(one), Form::Regex(_)) => one.takes_all(),
            (Form::Regex(one), Form::Text(Glob::Exact(other))) => one.is_match(other.as_bytes()),
            (Form::Regex(_), _) => self == other,
        }
    }

    /// Exact over glob over expression.
    pub fn rank(&self) -> u8 {
        match &self.form {
            Form::Text(glob) if glob.is_exact() => 2,
            Form::Text(_) => 1,
            Form::Regex(_) => 0,
        }
    }

    /// The one text that fits, if there is only one.
    pub fn exact(&self) -> Option<&str> {
        match &self.form {
            Form::Text(Glob::Exact(text)) => Some(text),
            Form::Text(_) | Form::Regex(_) => None,
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// The last line of the library's message, which draws the place above it.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_fit_and_rank() {
        for (pattern, value, fits, rank) in [
            ("a", "a", true, 2),
            ("a", "ab", false, 2),
            ("llama-*", "llama-3", true, 1),
            ("~^vision-[0-9]+$", "vision-12", true, 0),
            ("~^vision-[0-9]+$", "vision-x", false, 0),
            ("~llama", "my-llama-3", true, 0),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            assert_eq!((compiled.fits(value.as_bytes()), compiled.rank()), (fits, rank), "{pattern} {value}");
        }
        assert_eq!(Pattern::new("~(").unwrap_err(), "unclosed group");
        assert!(Pattern::new("~(a{1000}){1000}").unwrap_err().contains("size limit"));
    }
}
