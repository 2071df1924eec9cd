//! The preset `openai`: requests of the chat, completions and embeddings API, judged as they are read.

use super::rules::{MODEL, ROLES, Rule, STOP_MAX, STREAM, Value, content_of, member, rule};
use crate::codec::json::walker::{Container, Listener, Told};
use crate::codec::json::{JsonFault, Kept};
use crate::codec::operation::Operation;

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    /// The member, as OpenAI writes it: `messages[0].content`. Empty for the whole.
    pub(super) param: String,
    /// What it must be.
    pub(super) words: String,
}

/// Longest text that is compared with anything.
const WORD_BYTES_MAX: usize = 64;

/// Judges one request.
#[derive(Debug)]
pub(super) struct Preset {
    operation: Operation,
    /// The route says the model where the request does not.
    has_model: bool,
    depth: usize,
    /// The member of the whole that is at hand.
    top: Option<usize>,
    /// Members of the whole that were there, one bit each.
    seen: u32,
    /// How many items of that member have begun, and how many of the list that one of them is.
    items: usize,
    ids: usize,
    /// What the items are, by the first.
    kind: Option<Item>,
    /// What the member of a message that is at hand must be, and whether the message has said its role.
    part: Option<Part>,
    has_role: bool,
    stream: bool,
    kept: Kept,
    is_filled: bool,
    /// How many values have begun, and when the first misfit and `stream_options` came.
    values: u64,
    misfit: Option<(u64, Misfit)>,
    options_at: Option<u64>,
}

/// What the items of `prompt` and `input` are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Text,
    Id,
    Ids,
}

/// A member of a message that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Role,
    Content,
}

impl Preset {
    /// Of a request for `operation`.
    pub(super) fn new(operation: Operation, has_model: bool) -> Self {
        Self {
            operation,
            has_model,
            depth: 0,
            top: None,
            seen: 0,
            items: 0,
            ids: 0,
            kind: None,
            part: None,
            has_role: false,
            stream: false,
            kept: Kept::default(),
            is_filled: false,
            values: 0,
            misfit: None,
            options_at: None,
        }
    }

    /// The first misfit in the order of the body, and then what is missing; nothing where it is as it must be.
    pub(super) fn into_misfit(mut self) -> Option<Misfit> {
        if self.operation == Operation::Other {
            return None;
        }
        if let Some(at) = self.options_at.filter(|_| !self.stream) {
            let misfit = Misfit {
                param: "stream_options".into(),
                words: "left out where `stream` is not true".into(),
            };
            if self.misfit.as_ref().is_none_or(|(first, _)| at < *first) {
                self.misfit = Some((at, misfit));
            }
        }
        let missing = || {
            let model = (!self.has_model).then_some(MODEL);
            let wanted = [model, content_of(self.operation)].into_iter().flatten();
            let mut missing = wanted.filter(|position| self.seen >> position & 1 == 0);
            missing.next().map(|position| {
                let (name, rule) = rule(position);
                Misfit { param: name.into(), words: rule.words() }
            })
        };
        self.misfit.as_ref().map(|(_, misfit)| misfit.clone()).or_else(missing)
    }

    fn complain(&mut self, param: impl Into<String>, words: impl Into<String>) {
        let misfit = Misfit { param: param.into(), words: words.into() };
        self.misfit.get_or_insert((self.values, misfit));
    }

    /// A value begins, or is there as a whole.
    fn value(&mut self, value: Value<'_>) {
        self.values += 1;
        match self.depth {
            0 if value != Value::Open(Container::Object) => self.complain("", "a JSON object"),
            1 => self.top_value(value),
            2 => self.item(value),
            3 => self.inner(value),
            _ => {}
        }
    }

    fn top_value(&mut self, value: Value<'_>) {
        let Some(position) = self.top else { return };
        (self.items, self.kind) = (0, None);
        let (name, rule) = rule(position);
        let is_required =
            (position == MODEL && !self.has_model) || content_of(self.operation) == Some(position);
        if value == Value::Null && !is_required {
            return;
        }
        if !rule.takes(value) {
            return self.complain(name, rule.words());
        }
        match (position, value) {
            (STREAM, Value::Truth(stream)) => self.stream = stream,
            _ if rule == Rule::StreamOptions => self.options_at = Some(self.values),
            _ => {}
        }
    }

    /// An item of a member that is a list.
    fn item(&mut self, value: Value<'_>) {
        let Some(position) = self.top else { return };
        let (name, rule) = rule(position);
        let at = self.items;
        self.items += 1;
        let here = || format!("{name}[{at}]");
        match rule {
            Rule::Messages => {
                self.has_role = false;
                self.part = None;
                if value != Value::Open(Container::Object) {
                    self.complain(here(), "a message: an object with a role");
                }
            }
            Rule::Stop if !matches!(value, Value::Text(..)) => self.complain(here(), "a text"),
            Rule::Stop if self.items > STOP_MAX => self.complain(name, rule.words()),
            Rule::Prompt | Rule::Input => {
                self.ids = 0;
                let kind = match value {
                    Value::Text(..) => Some(Item::Text),
                    Value::Number(_) if is_id(value) => Some(Item::Id),
                    Value::Open(Container::Array) => Some(Item::Ids),
                    _ => None,
                };
                let first = self.kind.or(kind);
                self.kind = first;
                if kind.is_none() || kind != first {
                    self.complain(here(), "like the others: a text, a token id or a list of token ids");
                }
            }
            _ => {}
        }
    }

    /// A member of a message, or an id in a list of lists.
    fn inner(&mut self, value: Value<'_>) {
        let Some(position) = self.top else { return };
        let (name, rule) = rule(position);
        let at = self.items.saturating_sub(1);
        match (rule, self.part) {
            (Rule::Messages, Some(Part::Role)) => {
                self.has_role = true;
                if !Rule::Word(ROLES).takes(value) {
                    self.complain(format!("{name}[{at}].role"), Rule::Word(ROLES).words());
                }
            }
            (Rule::Messages, Some(Part::Content)) => {
                let is_content =
                    matches!(value, Value::Text(..) | Value::Null | Value::Open(Container::Array));
                if !is_content {
                    self.complain(format!("{name}[{at}].content"), "a text, a list of parts, or null");
                }
            }
            (Rule::Prompt | Rule::Input, _) => {
                let id = self.ids;
                self.ids += 1;
                if !is_id(value) {
                    self.complain(format!("{name}[{at}][{id}]"), "a token id");
                }
            }
            _ => {}
        }
    }

    /// A key ended.
    fn key(&mut self) {
        let name = self.kept.text().unwrap_or_default();
        match self.depth {
            1 => {
                self.top = member(name, self.operation);
                let Some(position) = self.top else { return };
                if self.seen >> position & 1 == 1 {
                    self.complain(rule(position).0, "sent once: it stands twice");
                }
                self.seen |= 1 << position;
            }
            3 => {
                self.part = match name {
                    b"role" => Some(Part::Role),
                    b"content" => Some(Part::Content),
                    _ => None,
                }
            }
            _ => {}
        }
    }

    /// The list or object at hand ended.
    fn closed(&mut self) {
        let Some((name, rule)) = self.top.map(rule) else { return };
        match (self.depth, rule) {
            (1, Rule::Messages | Rule::Input) if self.items == 0 => self.complain(name, rule.words()),
            (2, Rule::Messages) if !self.has_role => {
                let at = self.items.saturating_sub(1);
                self.complain(format!("{name}[{at}].role"), Rule::Word(ROLES).words());
            }
            _ => {}
        }
    }
}

fn is_id(value: Value<'_>) -> bool {
    Rule::Whole(0.0, f64::from(u32::MAX)).takes(value)
}

impl Listener for Preset {
    fn open(&mut self, kind: Container, _: u64) -> Result<(), JsonFault> {
        self.value(Value::Open(kind));
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, _: u64) -> Result<(), JsonFault> {
        self.depth -= 1;
        self.closed();
        Ok(())
    }

    fn begin(&mut self, _: Told) -> bool {
        self.is_filled = false;
        self.kept.begin(WORD_BYTES_MAX);
        // All is told, so that each escape is looked at.
        true
    }

    fn bytes(&mut self, bytes: &[u8], _: u64) {
        self.is_filled = true;
        self.kept.push(bytes);
    }

    fn unit(&mut self, unit: u16, _: u64) {
        self.is_filled = true;
        self.kept.push_unit(unit);
    }

    fn end(&mut self, what: Told, _: u64) -> Result<(), JsonFault> {
        if what == Told::Key {
            self.key();
            return Ok(());
        }
        let kept = std::mem::take(&mut self.kept);
        let text = kept.text().unwrap_or_default();
        self.value(match what {
            Told::Number => Value::Number(number(text)),
            Told::Text | Told::Key => Value::Text(text, self.is_filled),
        });
        self.kept = kept;
        Ok(())
    }

    fn word(&mut self, word: &'static [u8], _: u64) -> Result<(), JsonFault> {
        self.value(match word {
            b"true" => Value::Truth(true),
            b"false" => Value::Truth(false),
            b"null" => Value::Null,
            // No bound takes it.
            _ => Value::Number(f64::NAN),
        });
        Ok(())
    }
}

/// A number as written; one that is written longer than any that fits is none.
fn number(text: &[u8]) -> f64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}
