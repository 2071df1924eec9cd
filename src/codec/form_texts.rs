//! The texts of a form, each with its name and its place.

use super::json::Decoded;

/// Texts in their order.
#[derive(Debug, Default)]
pub struct FormTexts(Vec<(Vec<u8>, Decoded)>);

/// None.
pub(super) static NO_TEXTS: FormTexts = FormTexts(Vec::new());

impl FormTexts {
    /// Each text with the name of its field.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Decoded)> {
        self.0.iter().map(|(name, text)| (&name[..], text))
    }

    pub(super) fn begin(&mut self, name: &[u8]) {
        self.0.push((name.to_vec(), Decoded::default()));
    }

    /// Bytes of the text at hand, the first of which stands at `at`.
    pub(super) fn push(&mut self, bytes: &[u8], at: u64) {
        if let Some((_, text)) = self.0.last_mut() {
            text.push(bytes, at);
        }
    }

    /// The text at hand ended before `at`.
    pub(super) fn end(&mut self, at: u64) {
        if let Some((_, text)) = self.0.last_mut() {
            text.end(at);
        }
    }
}
