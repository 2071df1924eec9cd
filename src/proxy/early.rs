//! What a client can be told before its answer is known: interim answers, and that its answer has begun.

use std::cell::RefCell;
use std::task::{Context, Poll};

use super::mouth::Mouth;
use super::state::LaneState;
use crate::codec::encode::write_interim;
use crate::codec::framing::Framing;
use crate::codec::head::ResponseHead;
use crate::codec::version::Version;
use crate::codec::write::ConnectionField;

/// The way to a client.
pub(super) struct Way<'c> {
    pub(super) mouth: &'c RefCell<Mouth>,
    pub(super) lane: &'c LaneState,
    pub(super) version: Version,
}

/// Who is told early: the client of an exchange, or nobody.
#[derive(Clone, Copy)]
pub(super) struct Early<'c>(Option<&'c Way<'c>>);

/// An answer whose head left before anybody gave one.
pub(super) struct Begun<'c> {
    pub(super) way: &'c Way<'c>,
    pub(super) framing: Framing,
    pub(super) connection: ConnectionField,
}

impl<'c> Early<'c> {
    /// Nobody: no client waits for the call, or one waits for several.
    pub(super) fn nobody() -> Self {
        Self(None)
    }

    pub(super) fn to(way: &'c Way<'c>) -> Self {
        Self(Some(way))
    }

    /// The way to the client, if there is one.
    pub(super) fn way(&self) -> Option<&'c Way<'c>> {
        self.0
    }

    /// Passes an interim answer on, to a client that knows them: HTTP/1.0 has none (RFC 9110 §15.2). What cannot leave yet is
    /// pushed by [`Self::poll_sent`].
    pub(super) fn pass_on(&self, head: &ResponseHead) {
        if let Some(mouth) = self.of_interims() {
            write_interim(&mut mouth.borrow_mut().out, head);
        }
    }

    /// Tells the client to send its body (RFC 9110 §10.1.1).
    pub(super) fn go_on(&self) {
        if let Some(mouth) = self.of_interims() {
            mouth.borrow_mut().out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Ready once all that was passed on is on its way.
    pub(super) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.of_interims().map_or(Poll::Ready(()), |mouth| mouth.borrow_mut().poll_send(cx))
    }

    fn of_interims(&self) -> Option<&'c RefCell<Mouth>> {
        self.0.filter(|way| way.version == Version::Http11).map(|way| way.mouth)
    }
}
