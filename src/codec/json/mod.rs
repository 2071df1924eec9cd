//! Reads wanted members out of a JSON body as it arrives: any split of bytes, nothing built, nothing trusted.
//!
//! The whole grammar of RFC 8259 is checked but for two things that tell nobody where a member ends: UTF-8, and what
//! stands behind the backslash in a string that nobody wants. Beyond it two things pass that Python reads: a byte order mark
//! in front, and `NaN` and the infinities as numbers.
//!
//! Only members that somebody wants are kept, each decoded and bounded. A wanted member that stands twice is refused, a late
//! one too: engines take the last, others the first (RFC 8259 §4). So is one in another case: some readers take it for the
//! wanted one, others do not.

mod amender;
pub mod canonical;
pub mod cursor;
mod decimal;
mod decoded;
mod edits;
mod fault;
mod number;
mod opening;
mod scanner;
mod seeker;
mod selection;
pub mod skim;
pub mod sound;
mod text;
mod texts;
pub mod tree;
mod utf8;
pub mod walker;
mod wanted;

pub use amender::{Amender, Step};
pub use decimal::Decimal;
pub use decoded::Decoded;
pub use edits::{BodyEdits, Edit};
pub use fault::JsonFault;
pub use opening::{Opening, Start};
pub use scanner::Scanner;
pub use seeker::{Seeker, Seeks};
pub use selection::Selection;
pub use text::Kept;
pub use texts::{Hears, Texts};
pub use utf8::Utf8;
pub(crate) use wanted::{Field, folds_to};
pub use wanted::{Member, Set, Wanted};

#[cfg(test)]
mod tests;
