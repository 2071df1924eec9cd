//! Why a JSON document is refused.

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
    /// What a wanted member would have to be put into is no object.
    NoObject {
        /// Its position among the wanted members.
        member: usize,
    },
    /// Two readers could read it differently.
    Ambiguous,
    /// It is neither JSON nor a form: nobody here can read it.
    Foreign,
    /// More containers inside each other than allowed.
    TooDeep,
    /// It ended too early.
    Incomplete,
}
