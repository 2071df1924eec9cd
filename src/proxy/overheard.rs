//! What the access log tells of a body that passes: the model that it names, and the beginning of its prompt where that is
//! asked for. Nothing waits for it, and nothing is decided by it.

use std::sync::{Arc, LazyLock};

use crate::codec::content::{BodyScanner, BodySeen, Kind, kind};
use crate::codec::head::RequestHead;
use crate::codec::json::{Decoded, Hears, Member, Selection, Wanted};
use crate::codec::texts::TextReader;

/// Listens to one body.
pub(super) struct Overheard {
    model: BodyScanner,
    prompt: Option<TextReader<'static, Beginning>>,
}

/// The first bytes of a prompt.
struct Beginning {
    text: String,
    most: usize,
}

static MODEL: LazyLock<Arc<Wanted>> = LazyLock::new(|| Wanted::of(["model"]));

static PROMPT: LazyLock<Selection> = LazyLock::new(|| {
    let mut selection = Selection::default();
    for path in ["messages[*].content", "prompt", "input", "instructions", "system", "contents"] {
        selection.add(path).expect("these are paths");
    }
    selection
});

impl Overheard {
    /// Of the body of the request with this head, with so many bytes of its prompt; none where it cannot be read.
    pub(super) fn of(head: &RequestHead, most: usize) -> Option<Self> {
        let beginning = || Beginning { text: String::new(), most };
        (kind(head) == Kind::Plain).then(|| Self {
            model: BodyScanner::new(head, &MODEL),
            prompt: (most > 0).then(|| TextReader::new(head, &PROMPT, beginning())),
        })
    }

    /// Hears the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        // What cannot be read is not told of.
        let _ = self.model.feed(bytes);
        if let Some(prompt) = &mut self.prompt {
            prompt.feed(bytes);
        }
    }

    /// What was heard: the model, and the beginning of the prompt.
    pub(super) fn told(mut self) -> (Option<String>, Option<String>) {
        let model = match self.model.finish() {
            Ok(BodySeen::Members([Member::Scalar(name)])) => String::from_utf8(name.clone()).ok(),
            Ok(BodySeen::Members(_) | BodySeen::Nothing) | Err(_) => None,
        };
        let prompt = self.prompt.and_then(|prompt| prompt.finish().ok()).map(|heard| heard.text);
        (model, prompt.filter(|text| !text.is_empty()))
    }
}

impl Hears for Beginning {
    fn most(&self) -> Option<usize> {
        Some(self.most)
    }

    fn hear(&mut self, _: &str, text: &Decoded) {
        let room = self.most.saturating_sub(self.text.len());
        if room == 0 {
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let bytes = text.bytes();
        self.text.push_str(&String::from_utf8_lossy(&bytes[..bytes.len().min(room)]));
    }
}
