//! The texts of a form, one after the other, each with its name and its place; none outlives the next.

use super::json::Decoded;

/// Hears a text of a form, in the field of that name.
pub type HearsField<'h> = &'h mut dyn FnMut(&[u8], &Decoded);

/// The text at hand.
#[derive(Debug, Default)]
pub(super) struct FormTexts {
    name: Vec<u8>,
    text: Decoded,
    has_ended: bool,
}

impl FormTexts {
    /// Texts of which no more than about `most` bytes matter, if that is said.
    pub(super) fn up_to(most: Option<usize>) -> Self {
        Self { text: Decoded::up_to(most), ..Self::default() }
    }

    pub(super) fn begin(&mut self, name: &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.text.begin();
        self.has_ended = false;
    }

    /// Bytes of the text at hand, the first of which stands at `at`.
    pub(super) fn push(&mut self, bytes: &[u8], at: u64) {
        self.text.push(bytes, at);
    }

    /// The text at hand ended before `at`.
    pub(super) fn end(&mut self, at: u64) {
        self.text.end(at);
        self.has_ended = true;
    }

    /// Tells of the text at hand, if it ended, once.
    pub(super) fn tell(&mut self, hears: HearsField<'_>) {
        if std::mem::take(&mut self.has_ended) {
            hears(&self.name, &self.text);
        }
    }
}
