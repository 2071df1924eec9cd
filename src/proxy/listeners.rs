//! Who listens to a body that passes: the log, and a copy that is made of it.

use super::overheard::Overheard;
use crate::codec::head::RequestHead;

/// Those who listen to one body.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) log: Option<Overheard>,
    pub(super) copy: Option<Box<dyn Copying>>,
    /// What becomes of what is held of it at its end.
    pub(super) then: Then,
}

/// What becomes of a body that was handed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Then {
    /// Whoever asked for it decides.
    #[default]
    Stays,
    /// It is let go at once: it is handed on once.
    LetGo,
}

/// A copy under way; dropped before its end it is none.
pub(super) trait Copying {
    /// The next bytes pass. False where the copy is given up.
    fn take(&mut self, piece: &[u8]) -> bool;

    /// All of the body was handed on.
    fn end(self: Box<Self>);
}

impl Listeners {
    /// The log, which wants to hear of a request with this head and so many bytes of its prompt; none where it cannot.
    pub(super) fn of_log(head: &RequestHead, most: usize) -> Option<Box<Self>> {
        Overheard::of(head, most).map(|log| Box::new(Self { log: Some(log), ..Self::default() }))
    }

    /// The next bytes came from the client.
    pub(super) fn comes(&mut self, piece: &[u8]) {
        if let Some(log) = &mut self.log {
            log.feed(piece);
        }
    }

    /// The next bytes are handed on, as they go upstream.
    pub(super) fn passes(&mut self, piece: &[u8]) {
        if let Some(copy) = &mut self.copy
            && !copy.take(piece)
        {
            self.copy = None;
        }
    }

    /// All of it was handed on, perhaps once more.
    pub(super) fn end(&mut self) -> Then {
        if let Some(copy) = self.copy.take() {
            copy.end();
        }
        self.then
    }
}
