//! What becomes of a client's connection behind an answer.

use super::intake::Rest;
use super::request::{Call, Request};
use super::state::LaneState;
use crate::codec::framing::Framing;
use crate::codec::version::{Reuse, Version};
use crate::codec::write::ConnectionField;

/// What becomes of a client's connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The next exchange.
    KeepAlive,
    /// Close.
    Close,
    /// Close once the client has seen the answer: bytes of it may still be on their way, and closing on them would
    /// reset the connection and destroy the answer (RFC 9112 §9.6).
    Linger,
    /// Close so that it looks broken.
    Reset,
}

/// How a body that came framed so is delimited towards the client; one that is cut has no known length.
#[inline]
pub(super) fn framing(request: &Request, given: Framing, is_cut: bool) -> Framing {
    let is_old = request.head.head().version() == Version::Http10;
    match given {
        Framing::Empty => Framing::Empty,
        Framing::Length(length) if !is_cut => Framing::Length(length),
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose if is_old => Framing::UntilClose,
        Framing::Length(_) | Framing::Chunked | Framing::UntilClose => Framing::Chunked,
    }
}

/// Whether the client's connection lives on behind the answer, and whether that must be said.
pub(super) fn connection(
    request: &Request,
    call: &Call<'_>,
    ends: bool,
    lane: &LaneState,
) -> ConnectionField {
    let head = request.head.head();
    let ends = ends || call.body.is_last() || lane.draining.get().is_some();
    match (ends, head.reuse(), head.version()) {
        (true, _, _) | (false, Reuse::Close, _) => ConnectionField::Close,
        (false, Reuse::KeepAlive, Version::Http10) => ConnectionField::KeepAlive,
        (false, Reuse::KeepAlive, Version::Http11) => ConnectionField::Implied,
    }
}

/// What becomes of a connection whose answer was delivered whole.
pub(super) fn end(connection: ConnectionField, rest: Rest, request: &Request) -> End {
    match (rest, connection.reuse(), request.head.head().reuse()) {
        (Rest::Read, Reuse::KeepAlive, _) => End::KeepAlive,
        // A client that meant to close sends nothing more.
        (Rest::Read, Reuse::Close, Reuse::Close) => End::Close,
        (Rest::Outstanding, _, _) | (Rest::Read, Reuse::Close, Reuse::KeepAlive) => End::Linger,
    }
}
