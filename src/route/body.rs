//! Rules on the body: which kind of body it is, how it is scanned, and what a scan decides.

use std::sync::Arc;

use super::Unclear;
use crate::base::ids::RouteId;
use crate::codec::field::FieldName;
use crate::codec::framing::Framing;
use crate::codec::head::RequestHead;
use crate::codec::json::{JsonFault, Member, Scanner, Wanted};
use crate::codec::multipart::{FormScanner, boundary};

/// The rows that the body decides between: from this one on, those that fit the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyRules {
    pub(super) first: usize,
}

/// What was seen of a body.
#[derive(Debug, Clone, Copy)]
pub enum BodySeen<'b> {
    /// A JSON object or a form: its wanted members by their positions.
    Members(&'b [Member]),
    /// No body, another kind of body, or a compressed one: no condition on it fits.
    Nothing,
    /// It began like an object or a form and is none: another kind of body, too.
    Malformed(JsonFault),
}

/// What a body decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// This route.
    Route(RouteId),
    /// Only routes with body conditions are left, and there is no body that they could be held against.
    NoBody,
    /// The body fits none, and its model was asked for.
    NoModel,
    /// The body fits none.
    NoRoute,
    /// The readings of the head lead here and there.
    Unclear(Unclear),
}

impl Decision {
    pub(super) fn route(self) -> Option<RouteId> {
        match self {
            Self::Route(route) => Some(route),
            Self::NoBody | Self::NoModel | Self::NoRoute | Self::Unclear(_) => None,
        }
    }
}

/// Whether a body can be looked into, as far as its head tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is none.
    Absent,
    /// It is compressed.
    Encoded,
    /// It is as it was written.
    Plain,
}

/// What the head says of the body.
pub fn kind(head: &RequestHead) -> Kind {
    if head.framing() == Framing::Empty {
        return Kind::Absent;
    }
    let mut codings = head.head().values(FieldName::ContentEncoding);
    match codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")) {
        true => Kind::Plain,
        false => Kind::Encoded,
    }
}

/// Scans a body for wanted members as it arrives.
///
/// A form is told by its content type. Anything else is taken for a JSON object if its first byte says so: half of
/// the field's clients send JSON under another name, and half of its servers do not mind.
#[derive(Debug)]
pub struct BodyScanner {
    wanted: Arc<Wanted>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Only white space came so far.
    Blank,
    // Half a kilobyte of nesting: it lives in a body's exchange, not in each.
    Object(Box<Scanner>),
    Form(Box<FormScanner>),
    /// Neither, from the start or since this fault.
    Other(Option<JsonFault>),
}

impl BodyScanner {
    /// For the body of the request with this head.
    pub fn new(head: &RequestHead, wanted: &Arc<Wanted>) -> Self {
        let form = head.head().value(FieldName::ContentType).and_then(boundary);
        let state = match form {
            Some(boundary) => State::Form(Box::new(FormScanner::new(Arc::clone(wanted), &boundary))),
            None => State::Blank,
        };
        Self { wanted: Arc::clone(wanted), state }
    }

    /// Looks at the next bytes. A fault is final: the body must not be forwarded whole. What breaks the grammar is no
    /// fault but another kind of body.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), JsonFault> {
        if matches!(self.state, State::Blank) {
            match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None => return Ok(()),
                Some(b'{') => self.state = State::Object(Box::new(Scanner::new(Arc::clone(&self.wanted)))),
                Some(_) => self.state = State::Other(None),
            }
        }
        let looked = match &mut self.state {
            State::Object(scanner) => scanner.feed(bytes),
            State::Form(scanner) => scanner.feed(bytes),
            State::Blank | State::Other(_) => Ok(()),
        };
        match looked {
            Err(fault @ JsonFault::Malformed { .. }) => {
                self.state = State::Other(Some(fault));
                Ok(())
            }
            looked => looked,
        }
    }

    /// The body ended.
    pub fn finish(&mut self) -> Result<BodySeen<'_>, JsonFault> {
        let (finished, members) = match &mut self.state {
            State::Object(scanner) => (scanner.finish(), scanner.members()),
            State::Form(scanner) => (scanner.finish(), scanner.members()),
            State::Blank | State::Other(None) => return Ok(BodySeen::Nothing),
            State::Other(Some(fault)) => return Ok(BodySeen::Malformed(*fault)),
        };
        match finished {
            Ok(()) => Ok(BodySeen::Members(members)),
            Err(fault @ (JsonFault::Malformed { .. } | JsonFault::Incomplete)) => {
                Ok(BodySeen::Malformed(fault))
            }
            Err(fault) => Err(fault),
        }
    }
}
