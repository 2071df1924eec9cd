//! Reads wanted members out of a JSON body as it arrives: any split of bytes, nothing built, nothing trusted.
//!
//! The whole grammar of RFC 8259 is checked but for two things that tell nobody where a member ends: UTF-8, and what
//! stands behind the backslash in a string that nobody wants. Only members that somebody wants are kept, each decoded and bounded. A wanted member
//! that stands twice is refused, a late one too: engines take the last, others the first (RFC 8259 §4).

mod number;
mod scanner;
mod text;
mod wanted;

pub use scanner::Scanner;
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
    /// More containers inside each other than allowed.
    TooDeep,
    /// It ended too early.
    Incomplete,
}

#[cfg(test)]
mod tests;
