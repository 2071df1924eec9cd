//! An answer whose entries are one list: taken apart, and written again with other entries.

use std::ops::Range;

use super::list::{List, Order, whole};
use super::unfit::Unfit;
use super::usage::Usage;
use crate::codec::json::cursor::{Cursor, text_of};
use crate::codec::json::sound;

/// An answer, and where in it stands what is of the members and what is of all.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    text: &'a [u8],
    /// The list of entries, with its brackets.
    list: Range<usize>,
    pub(super) usage: Option<Usage>,
    /// By their index where that is their order, else as they came.
    pub(super) entries: Vec<Entry>,
}

/// What became of one item.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) span: Range<usize>,
    /// Whose it is.
    pub(super) index: usize,
    /// Where that is written.
    written: Option<Range<usize>>,
}

impl<'a> Answer<'a> {
    /// Takes `text` apart, an answer to so many items.
    pub(super) fn read(list: &List<'_>, text: &'a [u8], expected: usize) -> Result<Self, Unfit> {
        if !sound::is_readable(text) {
            return Err(Unfit::Unreadable);
        }
        let mut cursor = Cursor::new(text);
        let (mut found, mut usage) = (None, None);
        match list.answer {
            None => found = Some(entries(list, &mut cursor, expected)?),
            Some(_) if cursor.peek() != b'{' => return Err(Unfit::Shape),
            Some(name) => {
                cursor.enter();
                while let Some(key) = cursor.next_key() {
                    let key = text_of(cursor.text(&key)).unwrap_or_default();
                    if key == name {
                        let again = found.replace(entries(list, &mut cursor, expected)?);
                        again.map_or(Ok(()), |_| Err(Unfit::Shape))?;
                    } else if key == "usage" {
                        let is_object = cursor.peek() == b'{';
                        let span = cursor.skip();
                        let said = is_object.then(|| Usage::read(text, span));
                        usage.replace(said).map_or(Ok(()), |_| Err(Unfit::Shape))?;
                    } else {
                        cursor.skip();
                    }
                }
            }
        }
        let (span, entries) = found.ok_or(Unfit::Shape)?;
        Ok(Self { text, list: span, usage: usage.flatten(), entries: ordered(list.order, entries)? })
    }

    /// How many bytes it says beside its entries.
    pub(super) fn common(&self) -> usize {
        self.text.len() - self.list.len()
    }

    /// What stands there.
    pub(super) fn text(&self, span: &Range<usize>) -> &'a [u8] {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// Writes it with other entries, and with these numbers in its usage.
    pub(super) fn write(&self, numbers: &[u128], entries: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        let leads = |usage: &&Usage| usage.span.start < self.list.start;
        let mut at = 0;
        if let Some(usage) = self.usage.as_ref().filter(leads) {
            at = self.write_usage(&mut out, at, usage, numbers);
        }
        out.extend_from_slice(self.text(&(at..self.list.start)));
        out.push(b'[');
        entries(&mut out);
        out.push(b']');
        at = self.list.end;
        if let Some(usage) = self.usage.as_ref().filter(|usage| !leads(usage)) {
            at = self.write_usage(&mut out, at, usage, numbers);
        }
        out.extend_from_slice(self.text(&(at..self.text.len())));
        out
    }

    /// Writes what stands from `at` up to the usage, and that; tells where it ends.
    fn write_usage(&self, out: &mut Vec<u8>, at: usize, usage: &Usage, numbers: &[u128]) -> usize {
        out.extend_from_slice(self.text(&(at..usage.span.start)));
        usage.write(self.text, numbers, out);
        usage.span.end
    }

    /// Writes an entry as the one of `index`, behind others where there are some.
    pub(super) fn write_entry(&self, out: &mut Vec<u8>, entry: &Entry, index: usize) {
        if !out.ends_with(b"[") {
            out.push(b',');
        }
        let Some(written) = &entry.written else { return out.extend_from_slice(self.text(&entry.span)) };
        out.extend_from_slice(self.text(&(entry.span.start..written.start)));
        out.extend_from_slice(index.to_string().as_bytes());
        out.extend_from_slice(self.text(&(written.end..entry.span.end)));
    }
}

/// The list that comes next, of so many entries, and where it stands.
fn entries(
    list: &List<'_>,
    cursor: &mut Cursor<'_>,
    expected: usize,
) -> Result<(Range<usize>, Vec<Entry>), Unfit> {
    if cursor.peek() != b'[' {
        return Err(Unfit::Shape);
    }
    let from = cursor.place();
    cursor.enter();
    let mut entries = Vec::new();
    while cursor.next_value() {
        if entries.len() == expected {
            return Err(Unfit::Count);
        }
        entries.push(match list.order {
            Order::Place => Entry { span: cursor.skip(), index: entries.len(), written: None },
            Order::Index | Order::Ranked(_) => entry(cursor, entries.len())?,
        });
    }
    match entries.len() == expected {
        true => Ok((from..cursor.place(), entries)),
        false => Err(Unfit::Count),
    }
}

/// The entry that comes next, which stands at `place` of the list.
fn entry(cursor: &mut Cursor<'_>, place: usize) -> Result<Entry, Unfit> {
    if cursor.peek() != b'{' {
        return Err(Unfit::Shape);
    }
    let from = cursor.place();
    let (mut index, mut written) = (place, None);
    cursor.enter();
    while let Some(key) = cursor.next_key() {
        let key = text_of(cursor.text(&key)).unwrap_or_default();
        let value = cursor.skip();
        if key == "index" {
            let number = whole(cursor.text(&value)).and_then(|number| usize::try_from(number).ok());
            index = number.filter(|_| written.is_none()).ok_or(Unfit::Index)?;
            written = Some(value);
        }
    }
    Ok(Entry { span: from..cursor.place(), index, written })
}

/// Entries in the order in which they are told. Each index stands once.
fn ordered(order: Order, entries: Vec<Entry>) -> Result<Vec<Entry>, Unfit> {
    let with_index = entries.iter().filter(|entry| entry.written.is_some()).count();
    match order {
        Order::Index | Order::Place if with_index == 0 => return Ok(entries),
        _ if with_index < entries.len() => return Err(Unfit::Index),
        Order::Index | Order::Ranked(_) | Order::Place => {}
    }
    let mut places = vec![None; entries.len()];
    for (at, entry) in entries.iter().enumerate() {
        let place = places.get_mut(entry.index).ok_or(Unfit::Index)?;
        if place.replace(at).is_some() {
            return Err(Unfit::Index);
        }
    }
    Ok(match order {
        Order::Index => places.into_iter().flatten().filter_map(|at| entries.get(at)).cloned().collect(),
        Order::Ranked(_) | Order::Place => entries,
    })
}
