//! What members of OpenAI's requests must be, as far as each server agrees (CONTRACT §2, validate).

use crate::codec::json::walker::Container;
use crate::codec::operation::Operation;

/// A value, as much of it as rules look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'v> {
    /// A string; its text where that is short, and whether it has any.
    Text(&'v [u8], bool),
    /// A number; none for one of no size.
    Number(f64),
    /// `true` or `false`.
    Truth(bool),
    /// `null`.
    Null,
    /// A list or an object.
    Open(Container),
}

/// What a member must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// A text.
    Text,
    /// A number within these bounds.
    Number(f64, f64),
    /// A whole number within these bounds.
    Whole(f64, f64),
    /// `true` or `false`.
    Truth,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list.
    List,
    /// An object that makes sense beside `stream` only.
    StreamOptions,
    /// A text, or up to four.
    Stop,
    /// A text, texts, ids or lists of ids.
    Prompt,
    /// The same, not empty.
    Input,
    /// Objects with roles, not empty.
    Messages,
}

/// How many texts `stop` may be.
pub(super) const STOP_MAX: usize = 4;
/// Who may speak in a conversation.
pub(super) const ROLES: &[&str] = &["developer", "system", "user", "assistant", "tool", "function"];
const ANY: f64 = f64::INFINITY;

/// Members that are looked at wherever they stand.
const MEMBERS: [(&str, Rule); 18] = [
    ("model", Rule::Text),
    ("temperature", Rule::Number(0.0, 2.0)),
    ("top_p", Rule::Number(0.0, 1.0)),
    ("n", Rule::Whole(1.0, 128.0)),
    ("max_tokens", Rule::Whole(1.0, ANY)),
    ("max_completion_tokens", Rule::Whole(1.0, ANY)),
    ("presence_penalty", Rule::Number(-2.0, 2.0)),
    ("frequency_penalty", Rule::Number(-2.0, 2.0)),
    ("top_logprobs", Rule::Whole(0.0, 20.0)),
    ("stop", Rule::Stop),
    ("stream", Rule::Truth),
    ("stream_options", Rule::StreamOptions),
    ("encoding_format", Rule::Word(&["float", "base64"])),
    ("dimensions", Rule::Whole(1.0, ANY)),
    ("tools", Rule::List),
    ("messages", Rule::Messages),
    ("prompt", Rule::Prompt),
    ("input", Rule::Input),
];

/// The position of `model` and `stream` among them.
pub(super) const MODEL: usize = 0;
pub(super) const STREAM: usize = 10;

/// The member that only one operation has, and must have.
pub(super) fn content_of(operation: Operation) -> Option<usize> {
    let rule = match operation {
        Operation::Chat => Rule::Messages,
        Operation::Completions => Rule::Prompt,
        Operation::Embeddings => Rule::Input,
        Operation::Other => return None,
    };
    MEMBERS.iter().position(|(_, known)| *known == rule)
}

/// The member called `name` that this operation has, if rules speak of it.
pub(super) fn member(name: &[u8], operation: Operation) -> Option<usize> {
    let position = MEMBERS.iter().position(|(known, _)| known.as_bytes() == name)?;
    let is_other = matches!(MEMBERS[position].1, Rule::Messages | Rule::Prompt | Rule::Input)
        && content_of(operation) != Some(position);
    (!is_other).then_some(position)
}

/// Its name, and what it must be.
pub(super) fn rule(position: usize) -> (&'static str, Rule) {
    MEMBERS[position]
}

impl Rule {
    /// Whether a value is one, as far as its beginning tells; what stands inside is looked at as it comes.
    pub(super) fn takes(self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Text | Self::Stop | Self::Prompt, Value::Text(..)) => true,
            (Self::Input, Value::Text(_, is_filled)) => is_filled,
            (Self::Number(least, most), Value::Number(number)) => (least..=most).contains(&number),
            (Self::Whole(least, most), Value::Number(number)) => {
                (least..=most).contains(&number) && number.fract() == 0.0
            }
            (Self::Truth, Value::Truth(_)) => true,
            (Self::Word(words), Value::Text(text, _)) => words.iter().any(|word| word.as_bytes() == text),
            (Self::StreamOptions, Value::Open(Container::Object)) => true,
            (
                Self::List | Self::Stop | Self::Prompt | Self::Input | Self::Messages,
                Value::Open(Container::Array),
            ) => true,
            _ => false,
        }
    }

    /// What it must be, in words.
    pub(super) fn words(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Number(least, most) => format!("a number from {least} to {most}"),
            Self::Whole(least, most) if most == ANY => format!("a whole number, {least} or more"),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::Truth => "true or false".to_owned(),
            Self::Word(words) => format!("one of: {}", words.join(", ")),
            Self::List => "a list".to_owned(),
            Self::StreamOptions => "an object".to_owned(),
            Self::Stop => format!("a text, or a list of up to {STOP_MAX} texts"),
            Self::Prompt => "a text, or a list of texts, of token ids or of lists of token ids".to_owned(),
            Self::Input => {
                "a text or a list of texts, of token ids or of lists of token ids, and not empty".to_owned()
            }
            Self::Messages => "a list of messages, and not empty".to_owned(),
        }
    }
}
