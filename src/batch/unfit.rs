//! Why an answer cannot be given to those who wait for their parts of it.

use std::fmt;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is no JSON, or nested too deeply.
    Unreadable,
    /// It is not of the protocol's shape.
    Shape,
    /// It has more or fewer items than were asked for.
    Count,
    /// An item's index is missing, no number, out of range, or that of another one.
    Index,
    /// It says so much beside its items that not every member can be told all of it.
    Common,
}

impl fmt::Display for Unfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unreadable => "the answer to the batch is no JSON",
            Self::Shape => "the answer to the batch is not of the protocol's shape",
            Self::Count => "the answer to the batch has more or fewer items than were sent",
            Self::Index => "an item of the answer to the batch has a wrong index, or none",
            Self::Common => "the answer to the batch says too much beside its items",
        })
    }
}
