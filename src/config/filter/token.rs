//! Methods and names of fields (RFC 9110 §5.6.2).

use crate::codec::field::is_token;

/// A method or the name of a field.
pub(super) fn token(text: &str) -> Result<String, String> {
    match is_token(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => {
            Err("write a name of letters, digits and \"-\", such as \"GET\" or \"content-type\"".to_owned())
        }
    }
}
