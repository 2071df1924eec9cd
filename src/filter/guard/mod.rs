//! `kind = "guard"`: texts that hold what is denied, or lack what is required, are refused or told of; secrets are taken out.

mod redact;

use bytes::Bytes;
pub use redact::Redact;
use regex::bytes::{RegexSet, RegexSetBuilder};

use super::verdict::{Verdict, View};
use crate::base::limits::{PATTERN_BYTES_MAX, SPLICES_MAX};
use crate::codec::content::{Kind, kind};
use crate::codec::head::RequestHead;
use crate::codec::json::{Decoded, Hears, Selection, Wanted};
use crate::codec::method::Method;
use crate::codec::reply::ErrorReply;
use crate::codec::splice::Splice;
use crate::codec::texts::TextReader;
use crate::codec::unreadable;

/// A guard.
#[derive(Debug)]
pub struct Guard {
    /// What no text may hold.
    pub deny: Patterns,
    /// What some text must hold, each.
    pub require: Patterns,
    /// Which texts are meant.
    pub selection: Selection,
    /// Whether nothing is refused: it is told instead.
    pub flags: bool,
    /// What is taken out.
    pub redact: Vec<Redact>,
}

/// Expressions; they run in time linear in the text.
#[derive(Debug)]
pub struct Patterns(RegexSet);

impl Patterns {
    /// Understands expressions.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them.
    pub fn new(expressions: &[String]) -> Result<Self, String> {
        let built = RegexSetBuilder::new(expressions)
            .size_limit(PATTERN_BYTES_MAX * expressions.len().max(1))
            .build();
        // Its last line says why, those before it show where.
        let reason =
            |error: String| error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        built.map(Self).map_err(|error| reason(error.to_string()))
    }

    /// Whether one stands alone and holds.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(expression: &str) -> Result<(), String> {
        Self::new(&[expression.to_owned()]).map(|_| ())
    }
}

impl Guard {
    /// Judges by the head: 415 for a body that is compressed; a request without one passes, unless it would have to say
    /// something.
    pub(super) fn on_request(&self, view: &View<'_>) -> Verdict {
        let has_body = matches!(view.head.method(), Method::Post | Method::Put | Method::Patch);
        match kind(view.head) {
            Kind::Absent if has_body && !self.require.0.is_empty() && !self.flags => {
                Verdict::Refuse(denied(None))
            }
            Kind::Absent => Verdict::Continue,
            Kind::Encoded => Verdict::Refuse(unreadable::encoded()),
            Kind::Plain => Verdict::Later,
        }
    }

    /// The first `most` bytes of a text without what is taken out of the whole; how many those are then.
    pub(super) fn redacted(&self, text: &[u8], most: usize) -> (Vec<u8>, usize) {
        let (mut bytes, mut most) = (text.to_vec(), most);
        for what in &self.redact {
            for found in what.find(&bytes, usize::MAX).into_iter().rev() {
                most = match most {
                    _ if found.end <= most => most - found.len() + what.mark().len(),
                    _ if found.start < most => found.start + what.mark().len(),
                    _ => most,
                };
                bytes.splice(found, what.mark().iter().copied());
            }
        }
        (bytes, most)
    }

    /// Looks at the body of a request.
    pub(super) fn check(&self, head: &RequestHead) -> Guarding<'_> {
        let heard = Heard {
            guard: self,
            denied: None,
            met: vec![false; self.require.0.len()],
            splices: Vec::new(),
            is_full: false,
        };
        Guarding(Box::new(TextReader::new(head, &self.selection, heard)))
    }
}

/// A body that is looked at as it comes.
pub(super) struct Guarding<'p>(Box<TextReader<'p, Heard<'p>>>);

/// What was heard of it.
struct Heard<'p> {
    guard: &'p Guard,
    /// The first field that holds what is denied.
    denied: Option<Box<str>>,
    /// Which of the required expressions were met.
    met: Vec<bool>,
    splices: Vec<Splice>,
    /// There is more to take out than there is room for.
    is_full: bool,
}

/// What a guard lets pass.
pub(super) struct Passed {
    /// It would have been refused.
    pub(super) is_flagged: bool,
    /// What is taken out.
    pub(super) splices: Vec<Splice>,
}

impl Guarding<'_> {
    /// Looks at the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.0.feed(bytes);
    }

    /// The body ended.
    pub(super) fn end(self) -> Result<Passed, ErrorReply> {
        let heard = self.0.finish().map_err(|fault| unreadable::of_json(fault, &Wanted::default()))?;
        if heard.is_full {
            return Err(ErrorReply::new(
                413,
                "body_too_large",
                "The request holds more addresses, numbers or keys than can be taken out of one; send it in parts.",
            ));
        }
        let is_refused = heard.denied.is_some() || heard.met.iter().any(|met| !met);
        match is_refused && !heard.guard.flags {
            true => Err(denied(heard.denied)),
            false => Ok(Passed { is_flagged: is_refused, splices: heard.splices }),
        }
    }
}

impl Hears for Heard<'_> {
    fn hear(&mut self, field: &str, text: &Decoded) {
        let Guard { deny, require, redact, .. } = self.guard;
        let bytes = text.bytes();
        if self.denied.is_none() && deny.0.is_match(bytes) {
            self.denied = Some(field.into());
        }
        if self.met.contains(&false) {
            require.0.matches(bytes).into_iter().for_each(|position| self.met[position] = true);
        }
        for what in redact {
            let room = SPLICES_MAX.saturating_sub(self.splices.len());
            let found = what.find(bytes, room + 1);
            self.is_full |= found.len() > room;
            self.splices.extend(found.into_iter().take(room).map(|found| Splice {
                range: text.place(found.start)..text.place(found.end),
                by: Bytes::from_static(what.mark()),
            }));
        }
    }
}

/// 403 `guard_denied`; what was looked for is not told.
fn denied(field: Option<Box<str>>) -> ErrorReply {
    ErrorReply {
        param: field.filter(|field| !field.is_empty()),
        ..ErrorReply::new(
            403,
            "guard_denied",
            "The request holds what is not allowed here, or lacks what is asked for; change its text.",
        )
    }
}

#[cfg(test)]
mod tests;
