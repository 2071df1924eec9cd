//! The grammar: one state, one loop, any split. What a document is made of is told to whoever listens.

use super::fault::JsonFault;
use super::number::Number;
use super::text::{Run, Text, escaped, skip, special};
use crate::base::limits::BODY_NESTING_MAX;

/// Hears what a document is made of, in its order.
pub trait Listener {
    /// A container begins at `at` in the document, as the value at hand.
    fn open(&mut self, _kind: Container, _at: u64) -> Result<(), JsonFault> {
        Ok(())
    }
    /// The innermost container ends with the byte at `at`.
    fn close(&mut self, _at: u64) -> Result<(), JsonFault> {
        Ok(())
    }
    /// A key, a text, a number or a word begins with the byte at `at`; what it is follows.
    fn starts(&mut self, _at: u64) {}
    /// A comma stands at `at`.
    fn comma(&mut self, _at: u64) {}
    /// A text or a number begins: whether its inside is told. What is not told of a string is skipped, and its escapes are
    /// not looked at.
    fn begin(&mut self, what: Told) -> bool;
    /// Bytes of it, decoded, that stand at `at` in the document; those of an escape of one letter stand in two.
    fn bytes(&mut self, _bytes: &[u8], _at: u64) {}
    /// Bytes of a string whose inside is not told, as they are written.
    fn passed(&mut self, _bytes: &[u8]) {}
    /// A code unit of UTF-16, written as `\uXXXX` at `at`.
    fn unit(&mut self, _unit: u16, _at: u64) {}
    /// The text or number at hand ends before `at`.
    fn end(&mut self, _what: Told, _at: u64) -> Result<(), JsonFault> {
        Ok(())
    }
    /// `true`, `false`, `null`, or one of the three that Python writes as numbers; it ends before `at`.
    fn word(&mut self, _word: &'static [u8], _at: u64) -> Result<(), JsonFault> {
        Ok(())
    }
}

/// What holds others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `{}`.
    Object,
    /// `[]`.
    Array,
}

/// What has an inside of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The name of a member.
    Key,
    /// A string.
    Text,
    /// A number.
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Inside a byte order mark in front of the document, this many bytes of it read.
    InMark(usize),
    /// A value must come.
    Value,
    /// A value, or the end of an array that has just begun.
    FirstValue,
    /// A key, or the end of an object that has just begun.
    FirstKey,
    /// A key must come.
    Key,
    /// The colon behind a key.
    Colon,
    /// Inside a key or a string.
    InText(Told, Text),
    /// Inside `true`, `false`, `null`, `NaN` or an infinity, this many bytes of it read.
    InWord(&'static [u8], usize),
    InNumber(Number),
    /// A comma, or the end of the container.
    After,
    /// Only white space may follow.
    Done,
}

/// Walks through one document.
#[derive(Debug)]
pub struct Walker<L> {
    listener: L,
    state: State,
    /// The text or number at hand is told.
    is_told: bool,
    fault: Option<JsonFault>,
    /// Bytes of all pieces before this one.
    before: u64,
    /// Which of the open containers are objects: one bit each, the outermost first.
    objects: [u64; BODY_NESTING_MAX / 64],
    depth: usize,
}

/// What may stand in front of a document though RFC 8259 §8.1 forbids it: Python's reader skips it, and editors write it.
const MARK: &[u8] = "\u{feff}".as_bytes();

const _: () = assert!(BODY_NESTING_MAX.is_multiple_of(64), "nesting is kept in whole words");

impl<L: Listener> Walker<L> {
    /// At the start of a document.
    pub fn new(listener: L) -> Self {
        Self {
            listener,
            state: State::Value,
            is_told: false,
            fault: None,
            before: 0,
            objects: [0; BODY_NESTING_MAX / 64],
            depth: 0,
        }
    }

    /// Who listens.
    pub fn listener(&self) -> &L {
        &self.listener
    }

    /// Who listens, to be spoken to.
    pub fn listener_mut(&mut self) -> &mut L {
        &mut self.listener
    }

    /// Who listened.
    pub fn into_listener(self) -> L {
        self.listener
    }

    /// Whether the document is an object, as far as it was read.
    pub fn is_object(&self) -> bool {
        self.objects[0] & 1 == 1
    }

    /// Walks through the next bytes. A fault is final.
    pub fn feed(&mut self, input: &[u8]) -> Result<(), JsonFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut at = 0;
        while at < input.len() {
            at = self.step(input, at).inspect_err(|fault| self.fault = Some(*fault))?;
        }
        self.before += input.len() as u64;
        Ok(())
    }

    /// The document ended.
    pub fn finish(&mut self) -> Result<(), JsonFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        match self.state {
            State::Done => Ok(()),
            State::InNumber(number) if number.is_whole() && self.depth == 0 => {
                self.listener.end(Told::Number, self.before)?;
                self.state = State::Done;
                Ok(())
            }
            _ => Err(JsonFault::Incomplete),
        }
    }

    /// Understands what stands at `at` and tells where to go on.
    fn step(&mut self, input: &[u8], at: usize) -> Result<usize, JsonFault> {
        let byte = input[at];
        match self.state {
            State::InText(told, text) => return self.text(input, at, told, text),
            State::InNumber(Number::Sign) if byte == b'I' => {
                self.state = State::InWord(b"-Infinity", 2);
                return Ok(at + 1);
            }
            State::InNumber(number) => return self.number(input, at, number),
            State::InWord(word, read) if word[read] == byte => {
                self.state = State::InWord(word, read + 1);
                if read + 1 == word.len() {
                    self.listener.word(word, self.before + at as u64 + 1)?;
                    self.after_value();
                }
                return Ok(at + 1);
            }
            State::InMark(read) if MARK[read] == byte => {
                let is_whole = read + 1 == MARK.len();
                self.state = if is_whole { State::Value } else { State::InMark(read + 1) };
                return Ok(at + 1);
            }
            State::InWord(..) | State::InMark(_) => return Err(self.malformed(at)),
            State::Value
            | State::FirstValue
            | State::FirstKey
            | State::Key
            | State::Colon
            | State::After
            | State::Done => {}
        }
        self.token(byte, at)?;
        Ok(at + 1)
    }

    /// Between values, keys and their marks: `byte` begins or ends one of them.
    fn token(&mut self, byte: u8, at: usize) -> Result<(), JsonFault> {
        match (byte, self.state) {
            (b' ' | b'\t' | b'\n' | b'\r', _) => {}
            (b'"', State::Value | State::FirstValue) => self.begin_text(Told::Text, at),
            (b'"', State::Key | State::FirstKey) => self.begin_text(Told::Key, at),
            (b':', State::Colon) => self.state = State::Value,
            (b',', State::After) => {
                self.listener.comma(self.before + at as u64);
                self.state = if self.in_object() { State::Key } else { State::Value };
            }
            (b'{', State::Value | State::FirstValue) => self.open(Container::Object, at)?,
            (b'[', State::Value | State::FirstValue) => self.open(Container::Array, at)?,
            (b'}', State::FirstKey) => self.close(at)?,
            (b'}', State::After) if self.in_object() => self.close(at)?,
            (b']', State::FirstValue) => self.close(at)?,
            (b']', State::After) if !self.in_object() => self.close(at)?,
            (b't', State::Value | State::FirstValue) => self.begin_word(b"true", at),
            (b'f', State::Value | State::FirstValue) => self.begin_word(b"false", at),
            (b'n', State::Value | State::FirstValue) => self.begin_word(b"null", at),
            // Python writes and reads these three as numbers.
            (b'N', State::Value | State::FirstValue) => self.begin_word(b"NaN", at),
            (b'I', State::Value | State::FirstValue) => self.begin_word(b"Infinity", at),
            (0xEF, State::Value) if self.before + at as u64 == 0 => self.state = State::InMark(1),
            (_, State::Value | State::FirstValue) => {
                let number = Number::begin(byte).ok_or_else(|| self.malformed(at))?;
                self.listener.starts(self.before + at as u64);
                self.is_told = self.listener.begin(Told::Number);
                self.tell(&[byte], at);
                self.state = State::InNumber(number);
            }
            _ => return Err(self.malformed(at)),
        }
        Ok(())
    }

    fn begin_word(&mut self, word: &'static [u8], at: usize) {
        self.listener.starts(self.before + at as u64);
        self.state = State::InWord(word, 1);
    }

    fn begin_text(&mut self, told: Told, at: usize) {
        self.listener.starts(self.before + at as u64);
        self.is_told = self.listener.begin(told);
        self.state = State::InText(told, Text::Plain);
    }

    /// Inside a number.
    fn number(&mut self, input: &[u8], at: usize, mut number: Number) -> Result<usize, JsonFault> {
        let mut end = at;
        while let Some(next) = input.get(end).and_then(|byte| number.step(*byte)) {
            number = next;
            end += 1;
        }
        self.tell(&input[at..end], at);
        if end == input.len() {
            self.state = State::InNumber(number);
            return Ok(end);
        }
        // The number ended before this byte, which is looked at again.
        if !number.is_whole() {
            return Err(self.malformed(end));
        }
        self.listener.end(Told::Number, self.before + end as u64)?;
        self.after_value();
        Ok(end)
    }

    /// Inside a key or a string.
    fn text(&mut self, input: &[u8], at: usize, told: Told, text: Text) -> Result<usize, JsonFault> {
        let byte = input[at];
        let next = match text {
            Text::Plain if !self.is_told => match skip(input, at) {
                Run::Spent(text) => {
                    self.listener.passed(&input[at..]);
                    self.state = State::InText(told, text);
                    return Ok(input.len());
                }
                Run::Closed(end) => {
                    self.listener.passed(&input[at..end]);
                    return self.close_text(told, end);
                }
                Run::Malformed(place) => return Err(self.malformed(place)),
            },
            Text::Escape if !self.is_told => match byte {
                0x20.. => {
                    self.listener.passed(&input[at..=at]);
                    Text::Plain
                }
                _ => return Err(self.malformed(at)),
            },
            Text::Plain => {
                let end = special(input, at);
                self.tell(&input[at..end], at);
                match input.get(end) {
                    None => return Ok(end),
                    Some(b'"') => return self.close_text(told, end),
                    Some(b'\\') => {
                        self.state = State::InText(told, Text::Escape);
                        return Ok(end + 1);
                    }
                    Some(_) => return Err(self.malformed(end)),
                }
            }
            Text::Escape if byte == b'u' => Text::Hex(0, 0),
            Text::Escape => {
                let letter = escaped(byte).ok_or_else(|| self.malformed(at))?;
                self.listener.bytes(&[letter], self.before + at as u64 - 1);
                Text::Plain
            }
            Text::Hex(read, unit) => {
                let digit = char::from(byte).to_digit(16).ok_or_else(|| self.malformed(at))?;
                let unit = unit << 4 | digit as u16;
                match read {
                    3 => {
                        self.listener.unit(unit, self.before + at as u64 - 5);
                        Text::Plain
                    }
                    _ => Text::Hex(read + 1, unit),
                }
            }
        };
        self.state = State::InText(told, next);
        Ok(at + 1)
    }

    /// The closing quote of a key or a string stands at `end`.
    fn close_text(&mut self, told: Told, end: usize) -> Result<usize, JsonFault> {
        self.listener.end(told, self.before + end as u64)?;
        match told {
            Told::Key => self.state = State::Colon,
            Told::Text | Told::Number => self.after_value(),
        }
        Ok(end + 1)
    }

    fn tell(&mut self, bytes: &[u8], at: usize) {
        if self.is_told && !bytes.is_empty() {
            self.listener.bytes(bytes, self.before + at as u64);
        }
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.objects[(self.depth - 1) / 64] >> ((self.depth - 1) % 64) & 1 == 1
    }

    fn open(&mut self, kind: Container, at: usize) -> Result<(), JsonFault> {
        if self.depth == BODY_NESTING_MAX {
            return Err(JsonFault::TooDeep);
        }
        self.listener.open(kind, self.before + at as u64)?;
        let (word, bit) = (self.depth / 64, self.depth % 64);
        let is_object = kind == Container::Object;
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
        self.state = if is_object { State::FirstKey } else { State::FirstValue };
        Ok(())
    }

    fn close(&mut self, at: usize) -> Result<(), JsonFault> {
        self.listener.close(self.before + at as u64)?;
        self.depth -= 1;
        self.after_value();
        Ok(())
    }

    fn after_value(&mut self) {
        self.state = if self.depth == 0 { State::Done } else { State::After };
    }

    fn malformed(&self, at: usize) -> JsonFault {
        JsonFault::Malformed { at: self.before + at as u64 }
    }
}
