//! What a head says of its body's kind, as far as all readers take it for the same.

use super::field::FieldName;
use super::head::RequestHead;
use super::json::JsonFault;
use super::media_type::{self, Charset, MediaType};

/// The field in which KServe's clients tell how many bytes of JSON stand before the tensors.
pub const JSON_BYTES: &str = "inference-header-content-length";

/// What the head says.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) media_type: MediaType,
    pub(super) charset: Charset,
    /// The document's length, where something follows it. None where nothing says so, and where it is zero: then there is
    /// no document to a reader that knows the field, and to others the body is what it is without it.
    pub(super) json_bytes: Option<u64>,
}

impl Declared {
    /// Of the body of the request with this head.
    pub(super) fn of(head: &RequestHead) -> Self {
        let mut types = head.head().values(FieldName::ContentType);
        let (mut media_type, charset) = media_type::read(types.next().unwrap_or_default());
        if types.next().is_some() {
            media_type = MediaType::Unclear;
        }
        let mut lengths = head.head().values_of(JSON_BYTES.as_bytes());
        let json_bytes = match (lengths.next(), lengths.next()) {
            (None, _) => None,
            (Some(length), None) => match plain_number(length) {
                Some(length) => Some(length).filter(|length| *length > 0),
                None => {
                    media_type = MediaType::Unclear;
                    None
                }
            },
            (Some(_), Some(_)) => {
                media_type = MediaType::Unclear;
                None
            }
        };
        Self { media_type, charset, json_bytes }
    }

    /// Why a body of this kind is refused, whatever its bytes are.
    pub(super) fn fault(&self) -> Option<JsonFault> {
        let is_refused = match (&self.media_type, self.json_bytes, self.charset) {
            (MediaType::Unclear, ..) => true,
            // A document in front of a form, or a form that some reader skips.
            (MediaType::Form(_) | MediaType::UnclearForm, Some(_), _) => true,
            (MediaType::Json | MediaType::Form(_) | MediaType::Pairs, _, charset) => {
                charset == Charset::Other
            }
            (MediaType::UnclearForm | MediaType::Other, ..) => false,
        };
        is_refused.then_some(JsonFault::Ambiguous)
    }
}

/// A number of digits only, as long as it fits.
fn plain_number(text: &[u8]) -> Option<u64> {
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}
