//! Reads wanted fields out of an `application/x-www-form-urlencoded` body as it arrives: any split of bytes, nothing built.
//!
//! Names and values are decoded as the URL Standard says (§5.1). What servers read differently is refused: a wanted field
//! that stands twice or in another case, a semicolon, which is a divider to some, and a broken escape.

use std::sync::Arc;

use super::form_texts::{FormTexts, HearsField};
use super::json::{Field, JsonFault, Member, Wanted};
use crate::base::limits::BODY_VALUE_BYTES_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    /// Behind `%`.
    First,
    /// Behind `%` and a digit of this value.
    Second(u8),
}

/// Looks through one form for wanted fields.
#[derive(Debug)]
pub struct PairScanner {
    wanted: Arc<Wanted>,
    found: Vec<Member>,
    part: Part,
    escape: Escape,
    /// The wanted field whose value is read.
    field: Option<usize>,
    /// The decoded name or value, as long as it may matter, and whether it became longer.
    kept: Vec<u8>,
    is_longer: bool,
    touches: bool,
    /// All values, where somebody wants them.
    texts: Option<FormTexts>,
    /// Bytes so far.
    read: u64,
    fault: Option<JsonFault>,
}

impl PairScanner {
    /// At the start of a form.
    pub fn new(wanted: Arc<Wanted>) -> Self {
        let found = vec![Member::Absent; wanted.len()];
        Self {
            wanted,
            found,
            part: Part::Name,
            escape: Escape::None,
            field: None,
            kept: Vec::new(),
            is_longer: false,
            touches: false,
            texts: None,
            read: 0,
            fault: None,
        }
    }

    /// At the start of a form all of whose values are wanted, or about `most` bytes of each.
    pub fn of_texts(most: Option<usize>) -> Self {
        Self { texts: Some(FormTexts::up_to(most)), ..Self::new(Arc::default()) }
    }

    /// What is known of wanted members so far, by their positions.
    pub fn members(&self) -> &[Member] {
        &self.found
    }

    /// Whether a reader of forms finds a wanted field so far, in any case; told even behind a fault.
    pub fn touches_wanted(&self) -> bool {
        self.touches
    }

    /// Looks at the next bytes. A fault is final.
    pub fn feed(&mut self, input: &[u8]) -> Result<(), JsonFault> {
        self.feed_telling(input, &mut |_, _| {})
    }

    /// The same; `hears` hears of each value that ended.
    pub fn feed_telling(&mut self, input: &[u8], hears: HearsField<'_>) -> Result<(), JsonFault> {
        let mut rest = input;
        while let [byte, tail @ ..] = rest {
            self.step(*byte);
            if let Some(texts) = &mut self.texts {
                texts.tell(hears);
            }
            self.read += 1;
            let skipped = if self.is_unwanted() { memchr::memchr3(b'&', b';', b'%', tail) } else { Some(0) };
            let skipped = skipped.unwrap_or(tail.len());
            self.read += skipped as u64;
            rest = &tail[skipped..];
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// Whether nobody asks for what is read, up to the next divider: prompts in it are long.
    fn is_unwanted(&self) -> bool {
        let is_unwanted = match self.part {
            Part::Name => self.is_longer,
            Part::Value => self.field.is_none(),
        };
        is_unwanted && self.escape == Escape::None && self.texts.is_none()
    }

    /// The form ended: what is known of it is final.
    pub fn end(&mut self) {
        self.end_telling(&mut |_, _| {});
    }

    /// The same; `hears` hears of the last value.
    pub fn end_telling(&mut self, hears: HearsField<'_>) {
        self.end_pair();
        if let Some(texts) = &mut self.texts {
            texts.tell(hears);
        }
    }

    fn step(&mut self, byte: u8) {
        if self.escape == Escape::None {
            return self.plain(byte);
        }
        let digit = char::from(byte).to_digit(16).map(|value| value as u8);
        match (self.escape, digit) {
            (Escape::Second(high), Some(low)) => {
                self.escape = Escape::None;
                self.keep(high << 4 | low, 3);
            }
            (Escape::None | Escape::First, Some(digit)) => self.escape = Escape::Second(digit),
            (_, None) => {
                // Some keep it as it stands, some refuse the pair, some the form.
                self.ambiguous();
                self.escape = Escape::None;
                self.plain(byte);
            }
        }
    }

    fn plain(&mut self, byte: u8) {
        match (byte, self.part) {
            (b'%', _) => self.escape = Escape::First,
            (b'+', _) => self.keep(b' ', 1),
            (b'=', Part::Name) => self.end_name(),
            (b'&', _) => self.end_pair(),
            (b';', _) => {
                self.ambiguous();
                self.end_pair();
            }
            (byte, _) => self.keep(byte, 1),
        }
    }

    /// Keeps a byte that is written as `length` bytes, up to the one at hand.
    fn keep(&mut self, byte: u8, length: u64) {
        if let (Some(texts), Part::Value) = (&mut self.texts, self.part) {
            texts.push(&[byte], self.read + 1 - length);
        }
        if let (Some(_), Part::Name, true) = (&self.texts, self.part, self.kept.len() < BODY_VALUE_BYTES_MAX)
        {
            self.kept.push(byte);
            return;
        }
        let max = match (self.part, self.field) {
            (Part::Name, _) => self.wanted.key_bytes_max(),
            (Part::Value, Some(_)) => BODY_VALUE_BYTES_MAX,
            (Part::Value, None) => return,
        };
        match self.kept.len() < max {
            true => self.kept.push(byte),
            false => self.is_longer = true,
        }
    }

    fn end_name(&mut self) {
        let field = match self.is_longer {
            true => Field::Unwanted,
            false => self.wanted.field(&self.kept),
        };
        self.field = match field {
            Field::Wanted(member) if self.found[member] == Member::Absent => Some(member),
            Field::Wanted(member) => {
                self.fault.get_or_insert(JsonFault::Doubled { member });
                None
            }
            Field::OtherCase(member) => {
                self.fault.get_or_insert(JsonFault::OtherCase { member });
                None
            }
            Field::Unwanted => None,
        };
        self.touches |= field != Field::Unwanted;
        self.part = Part::Value;
        if let Some(texts) = &mut self.texts {
            texts.begin(&self.kept);
        }
        self.clear();
    }

    fn end_pair(&mut self) {
        if self.escape != Escape::None {
            self.ambiguous();
            self.escape = Escape::None;
        }
        if self.part == Part::Name {
            self.end_name();
        }
        if let Some(texts) = &mut self.texts {
            texts.end(self.read);
        }
        if let Some(member) = self.field.take() {
            let value = std::mem::take(&mut self.kept);
            self.found[member] = if self.is_longer { Member::Other } else { Member::Scalar(value) };
        }
        self.part = Part::Name;
        self.clear();
    }

    fn clear(&mut self) {
        self.kept.clear();
        self.is_longer = false;
    }

    fn ambiguous(&mut self) {
        self.fault.get_or_insert(JsonFault::Ambiguous);
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Decoded;
    use super::*;

    #[test]
    fn all_values_are_told_with_their_places() {
        let form = b"a=b+%41c&%70rompt=%e9x&y&=z";
        let mut scanner = PairScanner::of_texts(None);
        let mut all = Vec::new();
        let mut told = |name: &[u8], text: &Decoded| {
            let places: Vec<_> = (0..=text.bytes().len()).map(|at| text.place(at)).collect();
            all.push((String::from_utf8_lossy(name).into_owned(), text.text().into_owned(), places));
        };
        form.chunks(1).for_each(|byte| scanner.feed_telling(byte, &mut told).unwrap());
        scanner.end_telling(&mut told);
        let expected = [
            ("a", "b Ac", vec![2, 3, 4, 7, 8]),
            ("prompt", "\u{fffd}x", vec![18, 21, 22]),
            ("y", "", vec![24]),
            ("", "z", vec![26, 27]),
        ];
        assert_eq!(all, expected.map(|(name, text, places)| (name.to_owned(), text.to_owned(), places)));
    }

    fn scan(text: &str) -> (Result<Member, JsonFault>, bool) {
        let run = |pieces: &[&[u8]]| {
            let mut wanted = Wanted::default();
            wanted.add("model").unwrap();
            let mut scanner = PairScanner::new(Arc::new(wanted));
            let _ = pieces.iter().try_for_each(|piece| scanner.feed(piece));
            scanner.end();
            let finished = scanner.feed(&[]);
            (finished.map(|()| scanner.members()[0].clone()), scanner.touches_wanted())
        };
        let text = text.as_bytes();
        let whole = run(&[text]);
        assert_eq!(run(&text.chunks(1).collect::<Vec<_>>()).0, whole.0, "byte by byte");
        for at in 0..text.len() {
            assert_eq!(run(&[&text[..at], &text[at..]]).0, whole.0, "cut at {at}");
        }
        whole
    }

    #[test]
    fn fields_are_decoded_and_found() {
        let found = |text: &str| Ok(Member::Scalar(text.as_bytes().to_vec()));
        for (text, member) in [
            ("model=a", found("a")),
            ("x=1&%6dodel=a%20b+c&y", found("a b c")),
            ("model", found("")),
            ("model=a=b", found("a=b")),
            ("", Ok(Member::Absent)),
            ("x=model&models=1&&=", Ok(Member::Absent)),
            (&format!("model={}", "a".repeat(5000)), Ok(Member::Other)),
            (&format!("{}=1&model=a", "model".repeat(300)), found("a")),
            (&format!("{}%6d=1&model=a", "model".repeat(300)), found("a")),
            (&format!("x={}&model=a", "=%3d".repeat(100)), found("a")),
            (&format!("x={}%z&model=a", "=%3d".repeat(100)), Err(JsonFault::Ambiguous)),
            ("model=a&x=1&mode%6c=b", Err(JsonFault::Doubled { member: 0 })),
            ("model&model", Err(JsonFault::Doubled { member: 0 })),
            ("Model=a", Err(JsonFault::OtherCase { member: 0 })),
            ("x=1;model=a", Err(JsonFault::Ambiguous)),
            ("x=%z1", Err(JsonFault::Ambiguous)),
            ("x=%4", Err(JsonFault::Ambiguous)),
        ] {
            assert_eq!(scan(text).0, member, "{text}");
        }
    }

    #[test]
    fn a_wanted_field_is_seen_behind_a_fault_too() {
        for (text, touches) in [
            (r#"{"a":";%","b":"&model=x"}"#, true),
            (r#"{"a":";%","b":";MODEL"}"#, false),
            (r#"{"a":";Model=x"}"#, true),
            (r#"{"model":"x"}"#, false),
        ] {
            assert_eq!(scan(text).1, touches, "{text}");
        }
    }
}
