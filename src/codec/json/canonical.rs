//! What a JSON document says, however it is written: the same digest for any white space, key order, escapes and numerals.
//!
//! Numbers are exact decimals: `1`, `1.0` and `10e-1` are one, `1.0000000000000000001` is another. A `null` that is there
//! differs from a member that is not. Where two readers could understand a document differently there is no digest: a doubled
//! key, what is no number to JSON, an exponent beyond all use.
//!
//! Nothing recurses, and each byte is hashed twice at most: an object that ends is replaced by its digest, so that what is
//! inside it is not sorted again with what is around it.

use super::fault::JsonFault;
use super::utf8::Utf8;
use super::walker::{Container, Listener, Told, Walker};
use crate::base::digest::Digest;

/// The digest of what `text` says; none where it is not one JSON document that all readers understand alike.
pub fn digest(text: &[u8]) -> Option<Digest> {
    let has_mark = text.starts_with("\u{feff}".as_bytes());
    let mut walker = Walker::new(Writer::default());
    let is_read = !has_mark && Utf8::default().feed(text) && walker.feed(text).is_ok();
    (is_read && walker.finish().is_ok()).then(|| Digest::of(&walker.listener().out))
}

/// Ends a text: no UTF-8 has this byte.
const TEXT_END: u8 = 0xFF;
/// Objects that are written longer than this are replaced by their digest, which is as long.
const INLINE_BYTES_MAX: usize = 32;

/// Writes the document in the one way that all who say the same have in common.
///
/// Each value begins with a byte that tells its kind and ends where nothing else can be mistaken for its end, so that no two
/// documents are written alike.
#[derive(Debug, Default)]
struct Writer {
    out: Vec<u8>,
    open: Vec<Open>,
    /// Members of all open objects, those of the innermost last.
    members: Vec<Member>,
    /// Where the key, text or number at hand begins.
    begins: usize,
    /// The first half of a surrogate pair.
    half: Option<u16>,
}

/// A container that has not ended.
#[derive(Debug)]
struct Open {
    kind: Container,
    /// Where it begins in what is written.
    from: usize,
    /// How many members were there before its own.
    members: usize,
}

/// Where a member of an object stands in what is written: its key, its value, and its end.
#[derive(Debug, Clone, Copy)]
struct Member {
    key: usize,
    value: usize,
    end: usize,
}

impl Writer {
    /// A value is written whole.
    fn value_ended(&mut self) {
        let in_object = self.open.last().is_some_and(|open| open.kind == Container::Object);
        if let Some(member) = self.members.last_mut().filter(|_| in_object) {
            member.end = self.out.len();
        }
    }

    /// The object `open` ends: its members are sorted by their keys.
    fn object_ended(&mut self, open: &Open) -> Result<(), JsonFault> {
        let mut members = self.members.split_off(open.members);
        let key = |member: &Member| &self.out[member.key..member.value];
        members.sort_unstable_by(|one, other| key(one).cmp(key(other)));
        if members.windows(2).any(|pair| key(&pair[0]) == key(&pair[1])) {
            return Err(JsonFault::Ambiguous);
        }
        let sorted: Vec<u8> =
            members.iter().flat_map(|member| &self.out[member.key..member.end]).copied().collect();
        self.out.truncate(open.from);
        match sorted.len() {
            0..=INLINE_BYTES_MAX => {
                self.out.push(b'{');
                self.out.extend_from_slice(&sorted);
                self.out.push(b'}');
            }
            _ => {
                self.out.push(b'h');
                self.out.extend_from_slice(Digest::of(&sorted).bytes());
            }
        }
        Ok(())
    }

    /// Half a surrogate pair that stays alone is no character: it is written as no text can be.
    fn end_half(&mut self) {
        if let Some(half) = self.half.take() {
            self.write_half(half);
        }
    }

    fn write_half(&mut self, half: u16) {
        self.out.extend_from_slice(&[TEXT_END - 1, (half >> 8) as u8, half as u8]);
    }
}

impl Listener for Writer {
    fn open(&mut self, kind: Container, _: u64) -> Result<(), JsonFault> {
        self.open.push(Open { kind, from: self.out.len(), members: self.members.len() });
        if kind == Container::Array {
            self.out.push(b'[');
        }
        Ok(())
    }

    fn close(&mut self, _: u64) -> Result<(), JsonFault> {
        if let Some(open) = self.open.pop() {
            match open.kind {
                Container::Array => self.out.push(b']'),
                Container::Object => self.object_ended(&open)?,
            }
        }
        self.value_ended();
        Ok(())
    }

    fn begin(&mut self, what: Told) -> bool {
        self.begins = self.out.len();
        self.half = None;
        match what {
            Told::Key => self.members.push(Member { key: self.begins, value: 0, end: 0 }),
            Told::Text => self.out.push(b'"'),
            Told::Number => {}
        }
        true
    }

    fn bytes(&mut self, bytes: &[u8], _: u64) {
        if bytes.is_empty() {
            return;
        }
        self.end_half();
        self.out.extend_from_slice(bytes);
    }

    fn unit(&mut self, unit: u16, _: u64) {
        let pair = self.half.take();
        let character = match pair {
            Some(first) => char::decode_utf16([first, unit]).next(),
            None => char::decode_utf16([unit]).next(),
        };
        if let Some(Ok(character)) = character {
            self.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
        if let Some(first) = pair {
            // The second one may begin a pair of its own, or be a character.
            self.write_half(first);
            return self.unit(unit, 0);
        }
        match unit {
            0xD800..0xDC00 => self.half = Some(unit),
            _ => self.write_half(unit),
        }
    }

    fn end(&mut self, what: Told, _: u64) -> Result<(), JsonFault> {
        self.end_half();
        match what {
            Told::Key => {
                self.out.push(TEXT_END);
                if let Some(member) = self.members.last_mut() {
                    member.value = self.out.len();
                }
                return Ok(());
            }
            Told::Text => self.out.push(TEXT_END),
            Told::Number => {
                let exact = exact(&self.out[self.begins..]).ok_or(JsonFault::Ambiguous)?;
                self.out.truncate(self.begins);
                self.out.extend_from_slice(&exact);
            }
        }
        self.value_ended();
        Ok(())
    }

    fn word(&mut self, word: &'static [u8], _: u64) -> Result<(), JsonFault> {
        match word {
            b"true" | b"false" | b"null" => self.out.push(word[0]),
            // Python's numbers: another reader refuses them.
            _ => return Err(JsonFault::Ambiguous),
        }
        self.value_ended();
        Ok(())
    }
}

/// A number as written, as `#` or `-`, its digits without zeros at either end, and its power of ten. None where that is
/// beyond what 64 bits count.
fn exact(number: &[u8]) -> Option<Vec<u8>> {
    let (mantissa, power) = match number.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &b"0"[..]),
    };
    let (sign, mantissa) = match mantissa.strip_prefix(b"-") {
        Some(mantissa) => (b'-', mantissa),
        None => (b'#', mantissa),
    };
    let decimals = mantissa.iter().position(|byte| *byte == b'.').map_or(0, |at| mantissa.len() - at - 1);
    let digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
    let Some(first) = digits.iter().position(|digit| *digit != b'0') else {
        // No decimal is less than nothing by nothing, whatever its power.
        return Some(b"#0;".to_vec());
    };
    let last = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(first);
    let power: i64 = std::str::from_utf8(power).ok()?.parse().ok()?;
    let zeros = i64::try_from(digits.len() - 1 - last).ok()?;
    let power = power.checked_sub(i64::try_from(decimals).ok()?)?.checked_add(zeros)?;
    let mut exact = vec![sign];
    exact.extend_from_slice(&digits[first..=last]);
    exact.extend_from_slice(format!("e{power};").as_bytes());
    Some(exact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::BODY_NESTING_MAX;

    fn same(one: &str, other: &str) -> bool {
        let digest = |text: &str| digest(text.as_bytes()).unwrap_or_else(|| panic!("no digest of {text}"));
        digest(one) == digest(other)
    }

    #[test]
    fn what_says_the_same_has_the_same_digest() {
        for (one, other) in [
            (r#"{"a":1,"b":[2,3]}"#, "\t{ \"b\" : [ 2 ,3 ],\r\n\"a\":1 } "),
            ("[1,1,1]", "[1.0,10e-1,0.01E+2]"),
            ("[0,0,0]", "[-0,0.000,-0E99999999999999999999]"),
            ("[12345678901234567890]", "[1234567890123456789e1]"),
            ("[1e400]", "[0.1E401]"),
            (r#""é😀/\n""#, r#""\u00e9\uD83D\uDE00\/\u000a""#),
            (
                r#"{"a\tb":{"c":null,"d":"a long text, longer than what stands inline"}}"#,
                r#"{"\u0061\u0009b":{"d":"a long text, longer than what stands inline","c":null}}"#,
            ),
            (r#""\ud800x""#, r#""\uD800\u0078""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ud83d😀""#),
        ] {
            assert!(same(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn what_says_something_else_has_another_digest() {
        let documents = [
            "1",
            "-1",
            "10",
            "1.0000000000000000001",
            "\"1\"",
            "null",
            "true",
            "false",
            "[]",
            "{}",
            "[[]]",
            "[{}]",
            "\"\"",
            "0",
            "[1,2]",
            "[2,1]",
            "[12]",
            "[1,[2]]",
            "[[1],2]",
            r#"["1",2]"#,
            r#"["a","b"]"#,
            r#"["ab"]"#,
            r#"["ab",""]"#,
            r#"{"a":null}"#,
            r#"{"a":{}}"#,
            r#"{"a":{"b":1},"c":2}"#,
            r#"{"a":{"b":1,"c":2}}"#,
            r#"{"A":null}"#,
            r#"{"ab":1}"#,
            r#"{"a":"b"}"#,
            r#"["\ud800"]"#,
            r#"["\udc00"]"#,
            r#"["\ufffd"]"#,
            r#"["\ud800\ud800"]"#,
            r#"["0.1"]"#,
            "[0.1]",
            "[0.10000000149011612]",
            r#"{"a":"a long text, longer than what stands inline"}"#,
            r#"{"b":"a long text, longer than what stands inline"}"#,
            r#"[{"a":"a long text, longer than what stands inline"}]"#,
        ];
        let mut digests: Vec<_> = documents.iter().map(|text| digest(text.as_bytes()).unwrap()).collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), documents.len());
    }

    #[test]
    fn what_two_readers_could_understand_differently_has_none() {
        for text in [
            "",
            "{",
            "[1,]",
            "01",
            "1 2",
            "{}x",
            "\u{feff}{}",
            "[NaN]",
            "[-Infinity]",
            r#"{"a":1,"a":1}"#,
            r#"[{"a":{"b":1,"\u0062":2}}]"#,
            "1e9223372036854775808",
            "1e99999999999999999999",
            r#""\x""#,
        ] {
            assert_eq!(digest(text.as_bytes()), None, "{text}");
        }
        assert_eq!(digest(b"\"\xC3\""), None);
        assert_eq!(digest(b"\"\xED\xA0\x80\""), None);
    }

    #[test]
    fn nesting_is_bounded_and_costs_no_stack() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(digest(nested(BODY_NESTING_MAX).as_bytes()).is_some());
        assert!(digest(nested(BODY_NESTING_MAX + 1).as_bytes()).is_none());
        let objects = format!("{}1{}", "{\"a\":".repeat(BODY_NESTING_MAX), "}".repeat(BODY_NESTING_MAX));
        assert!(digest(objects.as_bytes()).is_some());
    }
}
