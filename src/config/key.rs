//! What a configuration key is: a name, a type, bounds or words, a default and a sentence, each said once.
//!
//! The files of the tables (`server.rs`, `limits.rs`, `cluster.rs`, `route.rs` and so on) list their keys by `table!`.
//! The reader, the JSON Schema, the plan, `/config` and the tests all follow from that line. To add a key:
//!
//! 1. write it into its table, where a default or bound with a reason is a constant of `base/limits.rs`:
//!    ```text
//!    /// What it does, in a sentence or two.
//!    head_bytes: usize = key("head", Size(KIB, MIB), Bytes(HEAD_BYTES_MAX)),
//!    ```
//! 2. show it in `config/corelane.toml`, with its default, its words and the same sentence (a test tells);
//! 3. use it: the plan carries the whole table.
//!
//! The type is what the program wants; it must be able to read the kind (`values.rs`; a value of a form of its own
//! implements `Setting`, see `route.rs`). `Option<T>` is for a key that may be absent, or has a word such as "none" for
//! nothing; `Placed<T>` remembers where it stands. What two keys make together is told by the table's check. A further
//! table is a `table!` that stands in another one as the kind of a key, `Table(NewConfig::KEYS)`.

use std::borrow::Cow;
use std::time::Duration;

use super::units;

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What holds without it.
    pub without: Without,
    /// What it does.
    pub about: &'static str,
}

/// What holds without a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Without {
    /// Nothing: the feature is off.
    Absent,
    /// It must be there: what would be wrong without it, and what to write, such as `"127.0.0.1:8080"`.
    Required(&'static str, &'static str),
    /// This value, as an operator would write it in TOML; text stands in single quotes.
    Is(&'static str),
    /// This number.
    Count(usize),
    /// This size.
    Bytes(usize),
    /// This time.
    Lasts(Duration),
}

impl Without {
    /// The default as an operator would write it.
    pub fn default(&self) -> Option<Cow<'static, str>> {
        match *self {
            Self::Absent | Self::Required(..) => None,
            Self::Is(text) => Some(Cow::Borrowed(text)),
            Self::Count(number) => Some(Cow::Owned(number.to_string())),
            Self::Bytes(size) => Some(Cow::Owned(format!("'{}'", units::show_size(size as u64)))),
            Self::Lasts(time) => Some(Cow::Owned(format!("'{}'", units::show_duration(time)))),
        }
    }
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text, or text of a form that the type itself knows.
    Text,
    /// A secret: the text itself, `${NAME}` for an environment variable, or `file:/path` for a file's content.
    Secret,
    /// The path of a file, from the folder of the configuration, that is read with it.
    File,
    /// Text of a form: gives it back as it is kept, or says what to write.
    Form(fn(&str) -> Result<String, String>),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number within bounds.
    Number(u64, u64),
    /// A number with a unit of time, at least this long.
    Time(Duration),
    /// The same where "none" would be a mistake, and why.
    Finite(Duration, &'static str),
    /// A number with a unit of bytes, within bounds.
    Size(usize, usize),
    /// A number with a percent sign.
    Share,
    /// `true` or `false`.
    Truth,
    /// Text, `true`, `false` or a whole number, all taken as text.
    Scalar,
    /// Any value that JSON has too: text, a number, a truth, a list, a table.
    Json,
    /// A number, whole or not.
    Figure,
    /// A list.
    List(&'static Kind),
    /// A list that must not be empty: why, and what to write.
    NonEmpty(&'static Kind, &'static str, &'static str),
    /// A list, or one item that stands for a list of it.
    OneOrMore(&'static Kind),
    /// A table with these keys.
    Table(&'static [Key]),
    /// One of several tables, told apart by the word of their first key, a choice of one.
    Kinds(&'static [Kind]),
    /// The same as a table, or the value of this one key alone.
    Short(&'static str, &'static [Key]),
    /// A table whose keys are names.
    Named(&'static Kind),
    /// Tables in tables whose keys are names, down to values of one kind.
    Tree(&'static Kind),
    /// `false` for nothing, `true` for a table as it is without keys, or that table.
    Switch(&'static Kind),
    /// This word, or a value.
    Or(&'static str, &'static Kind),
}

/// Shortest time that is one: for clocks that zero would stop at once.
pub const INSTANT: Duration = Duration::from_millis(1);
/// Largest size that may be asked for, where nothing else bounds it.
pub const SIZE_MAX: usize = 1 << 40;
