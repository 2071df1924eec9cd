//! Reads wanted members out of a JSON body as it arrives: any split of bytes, nothing built, nothing trusted.
//!
//! The whole grammar of RFC 8259 is checked but for two things that tell nobody where a member ends: UTF-8, and what
//! stands behind the backslash in a string that nobody wants. Beyond it two things pass that Python reads: a byte order mark
//! in front, and `NaN` and the infinities as numbers.
//!
//! Only members that somebody wants are kept, each decoded and bounded. A wanted member that stands twice is refused, a late
//! one too: engines take the last, others the first (RFC 8259 §4). So is one in another case: some readers take it for the
//! wanted one, others do not.

mod number;
mod opening;
mod scanner;
mod text;
mod wanted;

pub use opening::{Opening, Start};
pub use scanner::Scanner;
pub(crate) use wanted::Field;
pub use wanted::{Member, Wanted};

/// Why a document is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonFault {
    /// It is not JSON; the byte at this offset cannot stand there.
    Malformed {
        /// Offset in bytes from the start of the document.
        at: u64,
    },
    /// A wanted member, or one on the way to it, stands twice.
    Doubled {
        /// Its position among the wanted members.
        member: usize,
    },
    /// A wanted member, or one on the way to it, is spelt in another case.
    OtherCase {
        /// Its position among the wanted members.
        member: usize,
    },
    /// Two readers could read it differently.
    Ambiguous,
    /// More containers inside each other than allowed.
    TooDeep,
    /// It ended too early.
    Incomplete,
}

#[cfg(test)]
mod tests;
