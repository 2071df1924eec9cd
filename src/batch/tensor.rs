//! One tensor: its rows, wherever they stand in a flat list or a nested one.

use std::ops::Range;

use super::list::whole;
use super::member::Items;
use crate::codec::json::cursor::{Cursor, text_of};
use crate::codec::json::folds_to;

/// A tensor whose shape says what its data has.
#[derive(Debug)]
pub(super) struct Tensor {
    /// Its first dimension.
    pub(super) rows: usize,
    pub(super) items: Items,
    /// In how many lists, one in the other, each value stands.
    pub(super) depth: usize,
    /// The list, with its brackets.
    pub(super) data: Range<usize>,
}

/// How lists are nested, and how many values they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Nested {
    values: usize,
    depth: usize,
}

impl Tensor {
    /// The tensor that comes next; none where it has no data of its own, or its shape says otherwise than its data.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        if cursor.peek() != b'{' {
            return None;
        }
        cursor.enter();
        let (mut shape, mut data) = (None, None);
        while let Some(key) = cursor.next_key() {
            let name = text_of(cursor.text(&key))?;
            let before = *cursor;
            let value = cursor.skip();
            let again = match name.as_ref() {
                "shape" => shape.replace(before).is_some(),
                "data" => data.replace((before, value)).is_some(),
                "parameters" => says_elsewhere(cursor.text(&value))?,
                name => ["shape", "data", "parameters"].iter().any(|known| folds_to(known, name.as_bytes())),
            };
            if again {
                return None;
            }
        }
        let (rows, row) = dimensions(shape?)?;
        let (inside, data) = data?;
        let (items, depth) = rows_of(inside, rows, row)?;
        Some(Self { rows, items, depth, data })
    }
}

/// The first dimension, and how many values each row has.
fn dimensions(mut cursor: Cursor<'_>) -> Option<(usize, usize)> {
    if cursor.peek() != b'[' {
        return None;
    }
    cursor.enter();
    let mut rows = None;
    let mut row = 1_usize;
    while cursor.next_value() {
        let value = cursor.skip();
        let dimension = usize::try_from(whole(cursor.text(&value))?).ok()?;
        match rows {
            None => rows = Some(dimension),
            Some(_) => row = row.checked_mul(dimension)?,
        }
    }
    Some((rows?, row))
}

/// The rows of the data that comes next, so many of so many values each, and how deep those stand.
fn rows_of(mut cursor: Cursor<'_>, rows: usize, row: usize) -> Option<(Items, usize)> {
    if cursor.peek() != b'[' {
        return None;
    }
    cursor.enter();
    let mut span: Option<Range<usize>> = None;
    let mut kind: Option<Nested> = None;
    let mut count = 0_usize;
    while cursor.next_value() {
        let from = cursor.place();
        let nested = nested(&mut cursor)?;
        // Flat values are one each; lists are a row each, all nested alike.
        if *kind.get_or_insert(nested) != nested {
            return None;
        }
        span = Some(span.map_or(from, |span| span.start)..cursor.place());
        count += 1;
    }
    let kind = kind.unwrap_or(Nested { values: 1, depth: 0 });
    let (width, expected) = match kind.depth {
        0 => (row, rows.checked_mul(row)?),
        _ if kind.values != row => return None,
        _ => (1, rows),
    };
    let items = Items { span: span.unwrap_or_default(), width };
    (count == expected).then_some((items, kind.depth + 1))
}

/// How the value that comes next is nested; none where it has an object in it, or values of different depths.
fn nested(cursor: &mut Cursor<'_>) -> Option<Nested> {
    let (mut depth, mut values, mut deep) = (0_usize, 0, None);
    loop {
        match cursor.peek() {
            b'{' => return None,
            b'[' => {
                cursor.enter();
                depth += 1;
            }
            _ => {
                cursor.skip();
                values += 1;
                if *deep.get_or_insert(depth) != depth {
                    return None;
                }
            }
        }
        while depth > 0 && !cursor.next_value() {
            depth -= 1;
        }
        if depth == 0 {
            // A list of nothing is a list all the same.
            return Some(Nested { values, depth: deep.unwrap_or(1) });
        }
    }
}

/// Beginnings of names by which parameters say that values are anywhere but in `data`, or that a request is one of several that belong
/// together.
const ELSEWHERE: [&str; 3] = ["binary_data", "shared_memory", "sequence_"];

/// Whether parameters say that values are anywhere but in `data`, or that a request belongs to others; none where a name in
/// them is no text.
pub(super) fn says_elsewhere(parameters: &[u8]) -> Option<bool> {
    let mut at = 0;
    while let Some(quote) = parameters.get(at..)?.iter().position(|byte| *byte == b'"') {
        let mut cursor = Cursor::within(parameters, &(at + quote..parameters.len()));
        let span = cursor.skip();
        // Outputs may be called so: BERT has a `sequence_output`.
        if cursor.peek() == b':' {
            let name = text_of(cursor.text(&span))?;
            // Over the colon.
            cursor.enter();
            let value = cursor.skip();
            // Triton's own client says `"binary_data":false` of each output that it wants in JSON.
            let is_so = cursor.text(&value) != b"false";
            if is_so && ELSEWHERE.iter().any(|beginning| name.starts_with(beginning)) {
                return Some(true);
            }
        }
        at = span.end;
    }
    Some(false)
}
