//! The scanner: one state, one loop, any split.

use std::sync::Arc;

use super::fault::JsonFault;
use super::number::Number;
use super::text::{Kept, Run, Text, escaped, skip, special};
use super::wanted::{Keyed, Member, Set, Wanted, positions};
use crate::base::limits::{BODY_NESTING_MAX, BODY_PATH_SEGMENTS_MAX, BODY_VALUE_BYTES_MAX};

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
    /// Inside a key.
    InKey(Text),
    /// Inside a string that is a value.
    InString(Text),
    /// Inside `true`, `false`, `null`, `NaN` or an infinity, this many bytes of it read.
    InWord(&'static [u8], usize),
    InNumber(Number),
    /// A comma, or the end of the container.
    After,
    /// Only white space may follow.
    Done,
}

/// Looks through one document for wanted members.
#[derive(Debug)]
pub struct Scanner {
    wanted: Arc<Wanted>,
    found: Vec<Member>,
    state: State,
    fault: Option<JsonFault>,
    /// Bytes of all pieces before this one.
    before: u64,
    /// Which of the open containers are objects: one bit each, the outermost first.
    objects: [u64; BODY_NESTING_MAX / 64],
    depth: usize,
    /// How many of the open containers, from the outside, are objects on the way to a wanted member.
    live: usize,
    /// The wanted paths that the keys down to each live object fit, and those whose next key was seen in it.
    fitting: [Set; BODY_PATH_SEGMENTS_MAX],
    seen: [Set; BODY_PATH_SEGMENTS_MAX],
    /// The wanted paths that the current key fits.
    here: Set,
    kept: Kept,
}

/// What may stand in front of a document though RFC 8259 §8.1 forbids it: Python's reader skips it, and editors write it.
const MARK: &[u8] = "\u{feff}".as_bytes();

const _: () = assert!(BODY_NESTING_MAX.is_multiple_of(64), "nesting is kept in whole words");

impl Scanner {
    /// At the start of a document.
    pub fn new(wanted: Arc<Wanted>) -> Self {
        let found = vec![Member::Absent; wanted.len()];
        Self {
            wanted,
            found,
            state: State::Value,
            fault: None,
            before: 0,
            objects: [0; BODY_NESTING_MAX / 64],
            depth: 0,
            live: 0,
            fitting: [0; BODY_PATH_SEGMENTS_MAX],
            seen: [0; BODY_PATH_SEGMENTS_MAX],
            here: 0,
            kept: Kept::default(),
        }
    }

    /// What is known of wanted members so far, by their positions.
    pub fn members(&self) -> &[Member] {
        &self.found
    }

    /// Whether the document is an object, as far as it was read.
    pub fn is_object(&self) -> bool {
        self.objects[0] & 1 == 1
    }

    /// Looks at the next bytes. A fault is final.
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
            State::InNumber(number) if number.is_whole() && self.depth == 0 => Ok(()),
            _ => Err(JsonFault::Incomplete),
        }
    }

    /// Understands what stands at `at` and tells where to go on.
    fn step(&mut self, input: &[u8], at: usize) -> Result<usize, JsonFault> {
        let byte = input[at];
        match self.state {
            State::InKey(text) => return self.text(input, at, text, State::InKey),
            State::InString(text) => return self.text(input, at, text, State::InString),
            State::InNumber(Number::Sign) if byte == b'I' => {
                self.state = State::InWord(b"-Infinity", 2);
                return Ok(at + 1);
            }
            State::InNumber(number) => match number.step(byte) {
                Some(number) => {
                    self.state = State::InNumber(number);
                    self.keep(&[byte]);
                    return Ok(at + 1);
                }
                // The number ended before this byte, which is looked at again.
                None if number.is_whole() => {
                    self.scalar();
                    return Ok(at);
                }
                None => return Err(self.malformed(at)),
            },
            State::InWord(word, read) if word[read] == byte => {
                self.state = State::InWord(word, read + 1);
                if read + 1 == word.len() {
                    self.word(word);
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
            (b'"', State::Value | State::FirstValue) => {
                self.kept.begin(if self.here == 0 { 0 } else { BODY_VALUE_BYTES_MAX });
                self.state = State::InString(Text::Plain);
            }
            (b'"', State::Key | State::FirstKey) => {
                let max = if self.is_live() { self.wanted.key_bytes_max() } else { 0 };
                self.kept.begin(max);
                self.state = State::InKey(Text::Plain);
            }
            (b':', State::Colon) => self.state = State::Value,
            (b',', State::After) => {
                self.state = if self.in_object() { State::Key } else { State::Value };
            }
            (b'{', State::Value | State::FirstValue) => self.open(true)?,
            (b'[', State::Value | State::FirstValue) => self.open(false)?,
            (b'}', State::FirstKey) => self.close(),
            (b'}', State::After) if self.in_object() => self.close(),
            (b']', State::FirstValue) => self.close(),
            (b']', State::After) if !self.in_object() => self.close(),
            (b't', State::Value | State::FirstValue) => self.state = State::InWord(b"true", 1),
            (b'f', State::Value | State::FirstValue) => self.state = State::InWord(b"false", 1),
            (b'n', State::Value | State::FirstValue) => self.state = State::InWord(b"null", 1),
            // Python writes and reads these three as numbers.
            (b'N', State::Value | State::FirstValue) => self.state = State::InWord(b"NaN", 1),
            (b'I', State::Value | State::FirstValue) => self.state = State::InWord(b"Infinity", 1),
            (0xEF, State::Value) if self.before + at as u64 == 0 => self.state = State::InMark(1),
            (_, State::Value | State::FirstValue) => {
                let number = Number::begin(byte).ok_or_else(|| self.malformed(at))?;
                self.kept.begin(BODY_VALUE_BYTES_MAX);
                self.keep(&[byte]);
                self.state = State::InNumber(number);
            }
            _ => return Err(self.malformed(at)),
        }
        Ok(())
    }

    /// Inside a key or a string.
    fn text(
        &mut self,
        input: &[u8],
        at: usize,
        text: Text,
        state: fn(Text) -> State,
    ) -> Result<usize, JsonFault> {
        let byte = input[at];
        let next = match text {
            Text::Plain if !self.is_kept() => match skip(input, at) {
                Run::Spent(text) => {
                    self.state = state(text);
                    return Ok(input.len());
                }
                Run::Closed(end) => return self.close_text(state).map(|()| end + 1),
                Run::Malformed(place) => return Err(self.malformed(place)),
            },
            Text::Escape if !self.is_kept() => match byte {
                0x20.. => Text::Plain,
                _ => return Err(self.malformed(at)),
            },
            Text::Plain => {
                let end = special(input, at);
                self.keep(&input[at..end]);
                match input.get(end) {
                    None => return Ok(end),
                    Some(b'"') => return self.close_text(state).map(|()| end + 1),
                    Some(b'\\') => {
                        self.state = state(Text::Escape);
                        return Ok(end + 1);
                    }
                    Some(_) => return Err(self.malformed(end)),
                }
            }
            Text::Escape if byte == b'u' => Text::Hex(0, 0),
            Text::Escape => {
                let letter = escaped(byte).ok_or_else(|| self.malformed(at))?;
                self.keep(&[letter]);
                Text::Plain
            }
            Text::Hex(read, unit) => {
                let digit = char::from(byte).to_digit(16).ok_or_else(|| self.malformed(at))?;
                let unit = unit << 4 | digit as u16;
                match read {
                    3 => {
                        self.kept.push_unit(unit);
                        Text::Plain
                    }
                    _ => Text::Hex(read + 1, unit),
                }
            }
        };
        self.state = state(next);
        Ok(at + 1)
    }

    /// The closing quote of a key or a string was read.
    fn close_text(&mut self, state: fn(Text) -> State) -> Result<(), JsonFault> {
        match state(Text::Plain) {
            State::InKey(_) => self.key()?,
            _ => self.scalar(),
        }
        Ok(())
    }

    /// Whether the string at hand matters to anybody.
    fn is_kept(&self) -> bool {
        match self.state {
            State::InKey(_) => self.is_live(),
            _ => self.here != 0,
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.is_kept() {
            self.kept.push(bytes);
        }
    }

    /// Whether the innermost container is an object on the way to a wanted member.
    fn is_live(&self) -> bool {
        self.depth > 0 && self.live == self.depth
    }

    fn in_object(&self) -> bool {
        self.depth > 0 && self.objects[(self.depth - 1) / 64] >> ((self.depth - 1) % 64) & 1 == 1
    }

    fn open(&mut self, is_object: bool) -> Result<(), JsonFault> {
        if self.depth == BODY_NESTING_MAX {
            return Err(JsonFault::TooDeep);
        }
        let on_the_way = self.container();
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(is_object) << bit;
        if is_object && self.live == self.depth && on_the_way != 0 {
            self.fitting[self.live] = on_the_way;
            self.seen[self.live] = 0;
            self.live += 1;
        }
        self.depth += 1;
        self.state = if is_object { State::FirstKey } else { State::FirstValue };
        Ok(())
    }

    /// A container is the value here: none of those that end here has a scalar. The paths that go on inside it.
    fn container(&mut self) -> Set {
        if self.depth == 0 {
            return self.wanted.all();
        }
        let here = std::mem::take(&mut self.here);
        let ending = if here == 0 { 0 } else { self.wanted.ending(here, self.live - 1) };
        positions(ending).for_each(|position| self.found[position] = Member::Other);
        here & !ending
    }

    fn close(&mut self) {
        if self.live == self.depth {
            self.live -= 1;
        }
        self.depth -= 1;
        self.after_value();
    }

    fn after_value(&mut self) {
        self.here = 0;
        self.state = if self.depth == 0 { State::Done } else { State::After };
    }

    /// A key ended: which wanted members its value is, or leads to.
    fn key(&mut self) -> Result<(), JsonFault> {
        self.state = State::Colon;
        if !self.is_live() {
            return Ok(());
        }
        let level = self.live - 1;
        let Some(key) = self.kept.text() else {
            self.here = 0;
            return Ok(());
        };
        let Keyed { exact, folded } = self.wanted.at(self.fitting[level], level, key);
        if let Some(member) = positions(self.seen[level] & folded).next() {
            return Err(JsonFault::Doubled { member });
        }
        if let Some(member) = positions(folded).next().filter(|_| exact == 0) {
            return Err(JsonFault::OtherCase { member });
        }
        self.here = exact;
        self.seen[level] |= exact;
        Ok(())
    }

    /// A string or a number ended.
    fn scalar(&mut self) {
        if self.here != 0 {
            let member = match self.kept.text() {
                Some(text) => Member::Scalar(text.to_vec()),
                None => Member::Other,
            };
            self.found(member);
        }
        self.after_value();
    }

    fn word(&mut self, word: &'static [u8]) {
        if self.here != 0 {
            self.found(match word {
                b"null" => Member::Other,
                _ => Member::Scalar(word.to_vec()),
            });
        }
        self.after_value();
    }

    fn found(&mut self, member: Member) {
        for position in positions(self.wanted.ending(self.here, self.live - 1)) {
            self.found[position] = member.clone();
        }
    }

    fn malformed(&self, at: usize) -> JsonFault {
        JsonFault::Malformed { at: self.before + at as u64 }
    }
}
