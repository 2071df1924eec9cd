//! The inside of strings: skipped in blocks, or decoded into a bounded buffer.

use wide::u8x16;

/// Where inside a string we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// Between escapes.
    Plain,
    /// After a backslash.
    Escape,
    /// Inside `\uXXXX`: digits read and their value.
    Hex(u8, u16),
}

/// What a run of a string's inside ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// The closing quote stands here.
    Closed(usize),
    /// This piece ended.
    Spent(Text),
    /// The byte here cannot stand in a string.
    Malformed(usize),
}

/// Bytes looked at together: one bit each in a word.
const BLOCK: usize = 64;

/// Skips the inside of a string from `from`, where it stands between escapes.
///
/// Which quote ends the string depends on the backslashes in front of it; that is settled for 64 bytes at once, for
/// prompts are full of escapes and a branch at each costs more than all the rest. What an escape says is not looked at.
pub(super) fn skip(input: &[u8], from: usize) -> Run {
    let mut at = from;
    let mut escapes_next = 0;
    loop {
        let rest = &input[at..];
        let (marks, held) = match rest.first_chunk::<BLOCK>() {
            Some(block) => (Marks::of(block), BLOCK),
            None => {
                let mut padded = [b' '; BLOCK];
                padded[..rest.len()].copy_from_slice(rest);
                (Marks::of(&padded), rest.len())
            }
        };
        let escaped = escaped_places(marks.backslashes, &mut escapes_next);
        let end = (marks.quotes & !escaped).trailing_zeros() as usize;
        let control = marks.controls.trailing_zeros() as usize;
        if control < end && control < held {
            return Run::Malformed(at + control);
        }
        if end < held {
            return Run::Closed(at + end);
        }
        if held < BLOCK {
            let is_cut = escaped >> held & 1 == 1;
            return Run::Spent(if is_cut { Text::Escape } else { Text::Plain });
        }
        at += BLOCK;
    }
}

/// Where the bytes stand that matter: one bit for each of a block.
struct Marks {
    quotes: u64,
    backslashes: u64,
    controls: u64,
}

impl Marks {
    fn of(block: &[u8; BLOCK]) -> Self {
        let mut marks = Self { quotes: 0, backslashes: 0, controls: 0 };
        let (parts, _) = block.as_chunks::<16>();
        for (position, part) in parts.iter().enumerate() {
            let part = u8x16::from(*part);
            let mark = |found: u8x16| u64::from(found.to_bitmask()) << (16 * position);
            marks.quotes |= mark(part.simd_eq(u8x16::splat(b'"')));
            marks.backslashes |= mark(part.simd_eq(u8x16::splat(b'\\')));
            marks.controls |= mark(part.min(u8x16::splat(0x1f)).simd_eq(part));
        }
        marks
    }
}

/// The places that a backslash in front of them escapes. `carry` tells whether the first place is one, and is left
/// telling it of the next block's.
///
/// In a run of backslashes every second one is escaped by the one before it. Adding the runs that begin at odd places
/// to all of them flips what the parity of places says inside such runs (Langdale and Lemire, "Parsing gigabytes of
/// JSON per second", §3.1.1).
fn escaped_places(backslashes: u64, carry: &mut u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let escaping = backslashes & !*carry;
    let follows = escaping << 1 | *carry;
    let odd_starts = escaping & !EVEN & !follows;
    let (even_ends, overflowed) = odd_starts.overflowing_add(escaping);
    *carry = u64::from(overflowed);
    (EVEN ^ (even_ends << 1)) & follows
}

/// The first quote, backslash or control character in `input[from..]`, or the end.
pub(super) fn special(input: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = input[at..].first_chunk::<BLOCK>() {
        let Marks { quotes, backslashes, controls } = Marks::of(block);
        match (quotes | backslashes | controls).trailing_zeros() as usize {
            BLOCK => at += BLOCK,
            found => return at + found,
        }
    }
    let found = input[at..].iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20);
    found.map_or(input.len(), |found| at + found)
}

/// The first quote or bracket of either kind in `input[from..]`, or the end.
pub(super) fn bracket(input: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(part) = input[at..].first_chunk::<16>() {
        let part = u8x16::from(*part);
        // In lower case a square bracket is a curly one.
        let lower = part | u8x16::splat(0x20);
        let brackets = lower.simd_eq(u8x16::splat(b'{')) | lower.simd_eq(u8x16::splat(b'}'));
        let found = brackets | part.simd_eq(u8x16::splat(b'"'));
        match found.to_bitmask() {
            0 => at += 16,
            places => return at + places.trailing_zeros() as usize,
        }
    }
    let found = input[at..].iter().position(|&byte| matches!(byte | 0x20, b'{' | b'}') || byte == b'"');
    found.map_or(input.len(), |found| at + found)
}

/// A decoded string, as long as it is worth keeping.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    max: usize,
    /// It is longer than `max`, or holds half a surrogate pair: it equals nothing.
    spoilt: bool,
    /// The first half of a surrogate pair.
    half: Option<u16>,
}

impl Kept {
    /// Starts anew, keeping at most `max` bytes.
    pub fn begin(&mut self, max: usize) {
        self.bytes.clear();
        self.max = max;
        self.spoilt = false;
        self.half = None;
    }

    /// The text, unless it is too long or not text.
    pub fn text(&self) -> Option<&[u8]> {
        (!self.spoilt && self.half.is_none()).then_some(&self.bytes[..])
    }

    /// Whether it is too long, or was no text before its end.
    pub(super) fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    /// Bytes of it.
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.half.is_some() || self.bytes.len() + bytes.len() > self.max {
            self.spoilt = true;
        }
        if !self.spoilt {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// A code unit of UTF-16 from `\uXXXX`.
    pub fn push_unit(&mut self, unit: u16) {
        let is_first_half = (0xD800..0xDC00).contains(&unit);
        let character = match self.half.take() {
            Some(first) => char::decode_utf16([first, unit]).next(),
            None if is_first_half => {
                self.half = Some(unit);
                return;
            }
            None => char::decode_utf16([unit]).next(),
        };
        match character {
            Some(Ok(character)) => self.push(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Some(Err(_)) | None => self.spoilt = true,
        }
    }
}

/// The byte that an escape of one letter stands for.
pub(super) fn escaped(letter: u8) -> Option<u8> {
    Some(match letter {
        b'"' | b'\\' | b'/' => letter,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}
