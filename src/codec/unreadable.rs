//! What is told of a body that must be read and cannot be.

use super::json::{JsonFault, Wanted};
use super::reply::ErrorReply;
use crate::base::limits::BODY_NESTING_MAX;

/// The answer to a body that is no JSON object, or none at all, where one must be read.
pub fn no_body() -> ErrorReply {
    ErrorReply::new(
        400,
        "invalid_body",
        "The body is looked into here, and must be a JSON object or a form; send one.",
    )
}

/// The answer to a body that is no JSON object, or none at all, where members are put into it.
pub fn no_object() -> ErrorReply {
    ErrorReply::new(
        400,
        "invalid_body",
        "The body is changed here on its way, and must be a JSON object; send one.",
    )
}

/// The answer to a compressed body that would have to be read.
pub fn encoded() -> ErrorReply {
    ErrorReply {
        // What would be understood (RFC 9110 §15.5.16).
        fields: vec![("accept-encoding", "identity".to_owned())],
        ..ErrorReply::new(
            415,
            "unsupported_encoding",
            "The body is looked into here, and is compressed; send it without Content-Encoding.",
        )
    }
}

/// The answer to a body that cannot be understood; `wanted` are the members that are looked at.
pub fn of_json(fault: JsonFault, wanted: &Wanted) -> ErrorReply {
    let mut param = None;
    let message = match fault {
        JsonFault::Malformed { at } => {
            format!("The request body is malformed at byte {at}; send a well-formed JSON object or form.")
        }
        JsonFault::Doubled { member } => {
            let name = wanted.path(member).unwrap_or_default();
            let message = format!("`{name}` stands twice in the request body; send it once.");
            param = Some(name.into_boxed_str());
            message
        }
        JsonFault::OtherCase { member } => {
            let name = wanted.path(member).unwrap_or_default();
            let message = format!("`{name}` is spelt in another case in the request body; send it as `{name}`.");
            param = Some(name.into_boxed_str());
            message
        }
        JsonFault::NoObject { member } => {
            let name = wanted.path(member).unwrap_or_default();
            let message = format!("`{name}` is put into the request body, and has no object there to stand in; send one, or leave it out.");
            param = Some(name.into_boxed_str());
            message
        }
        JsonFault::Ambiguous => {
            "The request body can be read in more than one way; send a JSON object or a plain form, once, under its own type.".to_owned()
        }
        JsonFault::Foreign => return no_body(),
        JsonFault::TooDeep => {
            format!("The request body nests deeper than {BODY_NESTING_MAX} levels; send a flatter one.")
        }
        JsonFault::Incomplete => {
            "The request body ends too early; send a well-formed JSON object or form.".to_owned()
        }
    };
    ErrorReply { param, ..ErrorReply::new(400, "invalid_body", message) }
}
