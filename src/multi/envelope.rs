//! The array around the elements.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Why a body is no envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOne {
    /// It is no JSON array: what a reader says of it.
    Broken(String),
    /// It has more elements than allowed.
    TooMany,
}

/// The elements of a JSON array, each as it was written: slices of `body`, `most` of them at most.
///
/// # Errors
///
/// It is no array, or has more.
pub fn elements(body: &Bytes, most: usize) -> Result<Vec<Bytes>, NotOne> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let elements = Elements { body, most }.deserialize(&mut reader);
    let elements = elements.map_err(|error| NotOne::Broken(error.to_string()))?.ok_or(NotOne::TooMany)?;
    reader.end().map_err(|error| NotOne::Broken(error.to_string()))?;
    Ok(elements)
}

struct Elements<'b> {
    body: &'b Bytes,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Elements<'de> {
    /// None where there are too many.
    type Value = Option<Vec<Bytes>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'de> {
    type Value = Option<Vec<Bytes>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of requests")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        let mut is_over = false;
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            // The rest is read too, for a reader leaves nothing unread; it is not kept.
            is_over |= all.len() == self.most;
            if !is_over {
                all.push(self.body.slice_ref(element.get().as_bytes()));
            }
        }
        Ok((!is_over).then_some(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_told_as_they_were_written_and_not_more_than_allowed() {
        let read = |text: &'static str, most| elements(&Bytes::from_static(text.as_bytes()), most);
        assert_eq!(read(" [ {\"a\": 1e2} ,\n[3] ] ", 2).unwrap(), ["{\"a\": 1e2}", "[3]"]);
        assert_eq!(read("[]", 0).unwrap(), Vec::<Bytes>::new());
        assert_eq!(read("[1,2,3]", 2), Err(NotOne::TooMany));
        for broken in ["", "{}", "[1,2", "[1] 2", "[1,]", "\"a\"", "[1,2,3,]"] {
            assert!(matches!(read(broken, 2), Err(NotOne::Broken(_))), "{broken}");
        }
        let deep = format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        let _ = elements(&Bytes::from(deep), 2);
    }
}
