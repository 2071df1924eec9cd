//! What rule of HTTP/1.1 a message broke, and which status tells the client so.

use std::fmt;

use crate::base::limits::FIELDS_MAX;

/// The rule that was broken. Its text is shown to the peer, so it names no internals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A line ended with LF alone, or held a CR without LF (RFC 9112 §2.2).
    LineEnd,
    /// The start line is not well formed (RFC 9112 §3, §4).
    StartLine,
    /// The version is not HTTP/1.0 or HTTP/1.1 (RFC 9112 §2.3).
    Version,
    /// A field line is not well formed (RFC 9112 §5).
    FieldLine,
    /// More fields than allowed.
    FieldsMax,
    /// More options in Connection fields than allowed (RFC 9110 §7.6.1).
    OptionsMax,
    /// A head longer than allowed.
    HeadMax,
    /// A request target longer than allowed.
    TargetMax,
    /// The target has no form that fits the method (RFC 9112 §3.2).
    Target,
    /// Host is missing, doubled or malformed (RFC 9112 §3.2).
    Host,
    /// Content-Length is doubled or not plain digits (RFC 9112 §6.3).
    Length,
    /// Content-Length beside Transfer-Encoding (RFC 9112 §6.3).
    BothLengths,
    /// A transfer coding that is malformed, doubled, or stands in an HTTP/1.0 message (RFC 9112 §6.1).
    Coding,
    /// A transfer coding that is not implemented (RFC 9112 §6.1).
    CodingUnknown,
    /// A chunk size is malformed or too large (RFC 9112 §7.1).
    ChunkSize,
    /// Chunk extensions or framing longer than allowed (RFC 9112 §7.1.1).
    ChunkOverhead,
    /// Chunk data is not followed by CR LF (RFC 9112 §7.1).
    ChunkEnd,
    /// A trailer section that is malformed or too long (RFC 9112 §7.1.2).
    Trailer,
    /// The connection ended inside a message (RFC 9112 §8).
    Incomplete,
    /// The status line has a status outside 100 to 599, or one that cannot stand here.
    Status,
    /// Interim answers of more bytes than allowed.
    InterimMax,
    /// Bytes arrived where no message is expected.
    Unexpected,
}

/// A broken message: the rule and the offset, in bytes from the start of the message part that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecError {
    /// Which rule.
    pub rule: Rule,
    /// Where, in bytes; 0 where the whole part is meant.
    pub offset: usize,
}

impl CodecError {
    /// A break of `rule` at `offset`.
    pub fn at(rule: Rule, offset: usize) -> Self {
        Self { rule, offset }
    }

    /// The status for a client that sent this (CONTRACT: 400, 414, 431, 501).
    pub fn status(&self) -> u16 {
        match self.rule {
            Rule::HeadMax | Rule::FieldsMax | Rule::OptionsMax => 431,
            Rule::TargetMax => 414,
            Rule::CodingUnknown => 501,
            Rule::LineEnd
            | Rule::StartLine
            | Rule::Version
            | Rule::FieldLine
            | Rule::Target
            | Rule::Host
            | Rule::Length
            | Rule::BothLengths
            | Rule::Coding
            | Rule::ChunkSize
            | Rule::ChunkOverhead
            | Rule::ChunkEnd
            | Rule::Trailer
            | Rule::Incomplete
            | Rule::Status
            | Rule::InterimMax
            | Rule::Unexpected => 400,
        }
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.rule {
            Rule::LineEnd => "a line must end with CR LF, and CR may stand nowhere else",
            Rule::StartLine => "the start line is malformed",
            Rule::Version => "the version must be HTTP/1.0 or HTTP/1.1",
            Rule::FieldLine => "a field line is malformed",
            Rule::FieldsMax => return write!(f, "there are more than {FIELDS_MAX} fields"),
            Rule::OptionsMax => "Connection has too many options",
            Rule::HeadMax => "the head is too long",
            Rule::TargetMax => "the request target is too long",
            Rule::Target => "the request target is malformed",
            Rule::Host => "there must be exactly one well-formed Host field",
            Rule::Length => "Content-Length must be one plain decimal number",
            Rule::BothLengths => "Content-Length and Transfer-Encoding must not stand together",
            Rule::Coding => "Transfer-Encoding must be chunked, once, in an HTTP/1.1 message",
            Rule::CodingUnknown => "this transfer coding is not implemented",
            Rule::ChunkSize => "a chunk size is malformed or too large",
            Rule::ChunkOverhead => "chunk framing is too long",
            Rule::ChunkEnd => "chunk data must be followed by CR LF",
            Rule::Trailer => "the trailer section is malformed or too long",
            Rule::Incomplete => "the connection ended inside the message",
            Rule::Status => "the status cannot stand here",
            Rule::InterimMax => "there are too many interim answers",
            Rule::Unexpected => "bytes arrived where none are expected",
        })
    }
}

impl std::error::Error for CodecError {}
