//! Changes a JSON body as it comes: what passes of each piece is handed on, all other bytes as they are.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::content::{BodyScanner, ReadAs};
use super::head::RequestHead;
use super::json::{Amender, BodyEdits, JsonFault, Step};
use super::reply::ErrorReply;
use super::unreadable;

/// Changes one body.
#[derive(Debug)]
pub struct BodyEditor {
    edits: Arc<BodyEdits>,
    scanner: BodyScanner<Amender>,
    /// What came and was neither handed on nor dropped, and where its first byte stands.
    kept: VecDeque<Bytes>,
    at: u64,
    /// Bytes that came.
    came: u64,
}

impl BodyEditor {
    /// For the body of the request with this head, which is not compressed.
    pub fn new(edits: &Arc<BodyEdits>, head: &RequestHead) -> Self {
        Self {
            scanner: BodyScanner::heard_by(Amender::new(Arc::clone(edits)), head, edits.wanted()),
            edits: Arc::clone(edits),
            kept: VecDeque::new(),
            at: 0,
            came: 0,
        }
    }

    /// Takes the next piece, and hands on to `out` what is known to pass.
    ///
    /// # Errors
    ///
    /// What is told of a body that cannot be changed: it breaks JSON, an edited member stands in it twice or in another
    /// case, or it is no object where one must be. Then it must not be forwarded whole.
    pub fn feed(&mut self, piece: Bytes, out: impl FnMut(Bytes)) -> Result<(), ErrorReply> {
        self.came += piece.len() as u64;
        let looked = self.scanner.feed(&piece);
        if !piece.is_empty() {
            self.kept.push_back(piece);
        }
        looked.map_err(|fault| self.refusal(fault))?;
        self.hand_on(out)
    }

    /// The body ended: hands on the rest of it.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn end(&mut self, out: impl FnMut(Bytes)) -> Result<(), ErrorReply> {
        let ended = self.scanner.finish().map(|_| ());
        ended.map_err(|fault| self.refusal(fault))?;
        if self.edits.needs_object() && !self.scanner.is_object() {
            return Err(unreadable::no_object());
        }
        self.hand_on(out)
    }

    /// Whether nothing of what follows is changed.
    pub fn is_settled(&mut self) -> bool {
        match self.scanner.read_as() {
            ReadAs::Undecided => false,
            ReadAs::Json => self.amender().is_some_and(|amender| amender.is_settled()),
            ReadAs::Form | ReadAs::Other => true,
        }
    }

    /// By how many bytes the body has grown so far.
    pub fn growth(&mut self) -> i64 {
        self.amender().map_or(0, |amender| amender.growth())
    }

    /// Whether any of it was changed so far.
    pub fn is_changed(&mut self) -> bool {
        self.amender().is_some_and(|amender| amender.is_changed())
    }

    /// The length of the document, where the head tells it, for tensors follow.
    pub fn document(&self) -> Option<u64> {
        self.scanner.needs()
    }

    /// Bytes that came and wait for what follows.
    pub fn waiting(&self) -> u64 {
        self.came - self.at
    }

    fn hand_on(&mut self, mut out: impl FnMut(Bytes)) -> Result<(), ErrorReply> {
        let came = self.came;
        match self.scanner.read_as() {
            ReadAs::Undecided => return Ok(()),
            ReadAs::Form | ReadAs::Other if self.edits.needs_object() => return Err(unreadable::no_object()),
            ReadAs::Form | ReadAs::Other => self.take(came, &mut out),
            ReadAs::Json => {}
        }
        if let Some(amender) = self.amender() {
            amender.tell(came);
        }
        while let Some(step) = self.amender().and_then(Amender::next_step) {
            match step {
                Step::Pass(to) => self.take(to, &mut out),
                Step::Skip(to) => self.take(to, |_| {}),
                Step::Put(bytes) => out(bytes),
                Step::Wait => {}
            }
        }
        Ok(())
    }

    fn amender(&mut self) -> Option<&mut Amender> {
        self.scanner.listener_mut()
    }

    /// Takes what was kept of the bytes before `to`.
    fn take(&mut self, to: u64, mut out: impl FnMut(Bytes)) {
        while self.at < to
            && let Some(piece) = self.kept.front_mut()
        {
            let length = usize::try_from(to - self.at).unwrap_or(usize::MAX).min(piece.len());
            let taken = piece.split_to(length);
            if !piece.has_remaining() {
                self.kept.pop_front();
            }
            self.at += taken.len() as u64;
            out(taken);
        }
    }

    fn refusal(&self, fault: JsonFault) -> ErrorReply {
        match fault {
            JsonFault::Foreign => unreadable::no_object(),
            fault => unreadable::of_json(fault, self.edits.wanted()),
        }
    }
}

#[cfg(test)]
mod tests;
