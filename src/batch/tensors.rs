//! The Open Inference Protocol: requests and answers of tensors, joined and cut along their first dimension.

use std::ops::Range;

use bytes::Bytes;

use super::list::write_joined;
use super::member::{Member, stretches};
use super::rewrite::{Change, rewrite};
use super::tensor::{Tensor, says_elsewhere};
use super::unfit::Unfit;
use crate::base::digest::Digest;
use crate::base::limits::BATCH_COMMON_BYTES_MAX;
use crate::codec::json::cursor::{Cursor, text_of};
use crate::codec::json::{canonical, folds_to, sound};

/// The JSON member of a request that has its tensors.
pub(super) const INPUTS: &str = "inputs";
const OUTPUTS: &str = "outputs";

/// The member that a request with this body is; none where it must travel alone.
pub(super) fn read(body: Bytes) -> Option<Member> {
    let mut cursor = Cursor::new(&body);
    if !sound::is_sound(&body) || cursor.peek() != b'{' {
        return None;
    }
    cursor.enter();
    let (mut inputs, mut id) = (None, None);
    while let Some(key) = cursor.next_key() {
        let name = text_of(cursor.text(&key))?;
        match name.as_ref() {
            INPUTS => {
                inputs = Some(tensors(&mut cursor)?);
                continue;
            }
            // It is taken out, so that nothing else would notice a second one.
            "id" if id.is_some() || cursor.peek() != b'"' => return None,
            "id" => id = Some(cursor.skip()),
            "parameters" | OUTPUTS => {
                let value = cursor.skip();
                if says_elsewhere(cursor.text(&value))? {
                    return None;
                }
            }
            name if KNOWN.iter().any(|known| folds_to(known, name.as_bytes())) => return None,
            _ => drop(cursor.skip()),
        }
    }
    let inputs = inputs?;
    let items = inputs.first().map(|first| first.rows).filter(|rows| *rows > 0)?;
    if inputs.iter().any(|tensor| tensor.rows != items || tensor.items.width == 0) {
        return None;
    }
    let parameters = canonical::digest(&write(&body, INPUTS, 0, None, &mut |position, out| {
        write_depth(out, inputs.get(position));
    }))?;
    let lists: Vec<_> = inputs.into_iter().map(|tensor| tensor.items).collect();
    let bytes = lists.iter().flat_map(|list| stretches(&body, list, std::iter::once(items)));
    let bytes = bytes.map(|(_, bytes)| bytes).sum();
    Some(Member { body, frame: None, parameters, items, bytes, lists, each: 1, top: None, id })
}

const KNOWN: [&str; 4] = [INPUTS, OUTPUTS, "id", "parameters"];

/// The body of one call for all of `members`.
pub(super) fn merge(members: &[&Member]) -> Vec<u8> {
    let Some(first) = members.first() else { return Vec::new() };
    let rows: usize = members.iter().map(|member| member.items).sum();
    write(first.frame(), INPUTS, rows, None, &mut |position, out| {
        write_joined(out, members.iter().map(|member| member.text(position)));
    })
}

/// The request of which pieces are written: its tensors have no rows.
pub(super) fn frame(body: &[u8]) -> Vec<u8> {
    write(body, INPUTS, 0, None, &mut |_, _| {})
}

/// The answer that each of `members` gets.
pub(super) fn split(members: &[&Member], text: &[u8]) -> Result<Vec<Vec<u8>>, Unfit> {
    let outputs = Outputs::read(text, members.iter().map(|member| member.items).sum())?;
    let data: usize = outputs.tensors.iter().map(|tensor| tensor.data.len()).sum();
    if members.len() > 1 && text.len() - data > BATCH_COMMON_BYTES_MAX {
        return Err(Unfit::Common);
    }
    let sizes = || members.iter().map(|member| member.items);
    let cuts: Vec<_> = outputs.tensors.iter().map(|tensor| stretches(text, &tensor.items, sizes())).collect();
    let part = |(position, member): (usize, &&Member)| {
        write(text, OUTPUTS, member.items, member.id(), &mut |tensor, out| {
            let cut = cuts.get(tensor).and_then(|cuts| cuts.get(position));
            let rows = cut.and_then(|(span, _)| text.get(span.clone()));
            write_joined(out, rows.into_iter());
        })
    };
    Ok(members.iter().enumerate().map(part).collect())
}

/// The answer to `member`, out of those to its pieces, whose tensors differ in nothing but their rows.
pub(super) fn join(member: &Member, pieces: &[Member], texts: &[&[u8]]) -> Result<Vec<u8>, Unfit> {
    let answers = pieces.iter().zip(texts).map(|(piece, text)| Outputs::read(text, piece.items));
    let answers = answers.collect::<Result<Vec<_>, _>>()?;
    let frames: Option<Vec<_>> = answers.iter().map(Outputs::frame).collect();
    let first = answers.first().ok_or(Unfit::Count)?;
    if frames.is_none_or(|frames| frames.iter().any(|frame| Some(frame) != frames.first())) {
        return Err(Unfit::Shape);
    }
    Ok(write(first.text, OUTPUTS, member.items, member.id(), &mut |tensor, out| {
        write_joined(out, answers.iter().filter_map(|answer| answer.rows(tensor)));
    }))
}

/// The tensors of an answer.
struct Outputs<'a> {
    text: &'a [u8],
    list: Range<usize>,
    tensors: Vec<Tensor>,
}

impl<'a> Outputs<'a> {
    /// Those of `text`, which have so many rows each.
    fn read(text: &'a [u8], rows: usize) -> Result<Self, Unfit> {
        if !sound::is_readable(text) {
            return Err(Unfit::Unreadable);
        }
        let mut cursor = Cursor::new(text);
        if cursor.peek() != b'{' {
            return Err(Unfit::Shape);
        }
        cursor.enter();
        let mut found = None;
        while let Some(key) = cursor.next_key() {
            let is_outputs = text_of(cursor.text(&key)).is_some_and(|name| name == OUTPUTS);
            let mut value = cursor;
            let list = cursor.skip();
            if !is_outputs {
                continue;
            }
            let tensors = tensors(&mut value).filter(|_| found.is_none()).ok_or(Unfit::Shape)?;
            found = Some(Self { text, list, tensors });
        }
        let found = found.ok_or(Unfit::Shape)?;
        match found.tensors.iter().all(|tensor| tensor.rows == rows) {
            true => Ok(found),
            false => Err(Unfit::Count),
        }
    }

    /// What they are, but for their rows.
    fn frame(&self) -> Option<Digest> {
        let mut out = Vec::new();
        let mut cursor = Cursor::within(self.text, &self.list);
        write_tensors(&mut cursor, &mut out, 0, &mut |position, out| {
            write_depth(out, self.tensors.get(position));
        });
        canonical::digest(&out)
    }

    /// The rows of one of them.
    fn rows(&self, tensor: usize) -> Option<&'a [u8]> {
        self.text.get(self.tensors.get(tensor)?.items.span.clone())
    }
}

/// The list of tensors that comes next: at least one.
fn tensors(cursor: &mut Cursor<'_>) -> Option<Vec<Tensor>> {
    if cursor.peek() != b'[' {
        return None;
    }
    cursor.enter();
    let mut tensors = Vec::new();
    while cursor.next_value() {
        tensors.push(Tensor::read(cursor)?);
    }
    (!tensors.is_empty()).then_some(tensors)
}

/// Writes a request or an answer with other rows in the tensors of `list`, so many of them, and with this id or none.
fn write(
    text: &[u8],
    list: &str,
    rows: usize,
    id: Option<&[u8]>,
    data: &mut dyn FnMut(usize, &mut Vec<u8>),
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut own = id;
    rewrite(&mut Cursor::new(text), &mut out, &mut |name, cursor, out| match name {
        "id" => match own.take() {
            Some(id) => {
                cursor.skip();
                out.extend_from_slice(id);
                Change::Written
            }
            None => Change::Dropped,
        },
        name if name == list => {
            write_tensors(cursor, out, rows, data);
            Change::Written
        }
        _ => Change::Kept,
    });
    if let Some(id) = own {
        // Behind the tensors, which are there always.
        out.pop();
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id);
        out.push(b'}');
    }
    out
}

/// Writes the list of tensors that comes next, with so many rows, which `data` writes.
fn write_tensors(
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
    rows: usize,
    data: &mut dyn FnMut(usize, &mut Vec<u8>),
) {
    cursor.enter();
    out.push(b'[');
    let mut position = 0;
    while cursor.next_value() {
        if position > 0 {
            out.push(b',');
        }
        rewrite(cursor, out, &mut |name, cursor, out| match name {
            "shape" => {
                write_shape(cursor, out, rows);
                Change::Written
            }
            "data" => {
                cursor.skip();
                out.push(b'[');
                data(position, out);
                out.push(b']');
                Change::Written
            }
            _ => Change::Kept,
        });
        position += 1;
    }
    out.push(b']');
}

/// Writes the shape that comes next with another first dimension.
fn write_shape(cursor: &mut Cursor<'_>, out: &mut Vec<u8>, rows: usize) {
    let mut dimensions = *cursor;
    dimensions.enter();
    dimensions.next_value();
    dimensions.skip();
    let shape = cursor.skip();
    out.push(b'[');
    out.extend_from_slice(rows.to_string().as_bytes());
    out.extend_from_slice(cursor.text(&(dimensions.place()..shape.end)));
}

/// In place of rows, how deep their values stand: flat and nested ones cannot stand in one list.
fn write_depth(out: &mut Vec<u8>, tensor: Option<&Tensor>) {
    out.extend_from_slice(tensor.map_or(0, |tensor| tensor.depth).to_string().as_bytes());
}
