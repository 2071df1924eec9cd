//! How a body is delimited: RFC 9112 §6.3 as one decision each for requests and responses.

use super::error::{CodecError, Rule};
use super::field::{FieldName, list};
use super::fields::Head;
use super::method::Method;
use super::number::plain_number;
use super::version::Version;

/// How the body of one message is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// This many bytes; at least one in what a reader yields, zero is `Empty`.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// All bytes until the connection closes; responses only.
    UntilClose,
}

impl Framing {
    /// The same for a body that grows by so much; one that grows by what nobody knows yet has no known length.
    pub fn grown(self, by: Option<i64>) -> Self {
        match (self, by.and_then(|by| self.length()?.checked_add_signed(by))) {
            (Self::Length(_), Some(length)) => Self::Length(length),
            (Self::Length(_), None) => Self::Chunked,
            (Self::Empty | Self::Chunked | Self::UntilClose, _) => self,
        }
    }

    fn length(self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length),
            Self::Empty | Self::Chunked | Self::UntilClose => None,
        }
    }

    /// The same for a body of another length.
    pub fn with_length(self, length: u64) -> Self {
        match self {
            Self::Length(_) => Self::Length(length),
            Self::Empty | Self::Chunked | Self::UntilClose => self,
        }
    }
}

/// Decides how the body of a request is delimited.
///
/// A request without length fields has no body. Refuses: both length fields, a length that is not plain digits or
/// is doubled, a coding other than chunked alone, any coding in HTTP/1.0. The caller answers and closes.
/// Source: RFC 9112 §6.1, §6.3 steps 3 to 7.
pub fn request_framing(head: &Head) -> Result<Framing, CodecError> {
    Ok(match lengths(head)? {
        Lengths::Neither => Framing::Empty,
        Lengths::Length(0) => Framing::Empty,
        Lengths::Length(length) => Framing::Length(length),
        Lengths::Chunked => Framing::Chunked,
    })
}

/// Decides how the body of a final response is delimited, given the method that asked and its status.
///
/// HEAD, 204 and 304 have none, whatever the fields say. Without length fields the body runs until close.
/// Source: RFC 9112 §6.3 steps 1, 3 to 8.
pub fn response_framing(asked: Method, status: u16, head: &Head) -> Result<Framing, CodecError> {
    let lengths = lengths(head)?;
    if asked == Method::Head || matches!(status, 204 | 304) {
        return Ok(Framing::Empty);
    }
    Ok(match lengths {
        Lengths::Neither => Framing::UntilClose,
        Lengths::Length(0) => Framing::Empty,
        Lengths::Length(length) => Framing::Length(length),
        Lengths::Chunked => Framing::Chunked,
    })
}

enum Lengths {
    Neither,
    Length(u64),
    Chunked,
}

fn lengths(head: &Head) -> Result<Lengths, CodecError> {
    if !head.has(FieldName::ContentLength) && !head.has(FieldName::TransferEncoding) {
        return Ok(Lengths::Neither);
    }
    let mut length = None;
    let mut codings = 0usize;
    let mut chunked = 0usize;
    let mut ends_chunked = false;
    for field in head.fields() {
        match field.name {
            FieldName::ContentLength => {
                let value = plain_number(field.value).ok_or(CodecError::at(Rule::Length, 0))?;
                if length.replace(value).is_some() {
                    return Err(CodecError::at(Rule::Length, 0));
                }
            }
            FieldName::TransferEncoding => {
                // An empty field counts as one coding nobody knows: two readers could differ on it.
                let mut named = 0;
                for coding in list(field.value) {
                    named += 1;
                    ends_chunked = coding.eq_ignore_ascii_case(b"chunked");
                    chunked += usize::from(ends_chunked);
                }
                codings += named.max(1);
            }
            _ => {}
        }
    }
    match (length, codings, chunked) {
        (None, 0, _) => Ok(Lengths::Neither),
        (Some(length), 0, _) => Ok(Lengths::Length(length)),
        (Some(_), _, _) => Err(CodecError::at(Rule::BothLengths, 0)),
        (None, _, _) if head.version() == Version::Http10 => Err(CodecError::at(Rule::Coding, 0)),
        (None, 1, 1) => Ok(Lengths::Chunked),
        (None, all, 0) if all > 0 => Err(CodecError::at(Rule::CodingUnknown, 0)),
        (None, all, 1) if all > 1 && ends_chunked => Err(CodecError::at(Rule::CodingUnknown, 0)),
        (None, _, _) => Err(CodecError::at(Rule::Coding, 0)),
    }
}
