//! One request that may travel with others: where its items stand in its body, and what it has in common with them.

use std::ops::Range;

use bytes::Bytes;

use crate::base::digest::Digest;
use crate::codec::json::cursor::Cursor;

/// One request that may travel with others. It keeps the body as it came, and places in it.
#[derive(Debug, Clone)]
pub struct Member {
    pub(super) body: Bytes,
    /// Of a piece, the request without its items: many pieces are written from it.
    pub(super) frame: Option<Bytes>,
    pub(super) parameters: Digest,
    pub(super) items: usize,
    pub(super) bytes: usize,
    /// Where the items stand: one list, or one for each tensor, all of as many items.
    pub(super) lists: Vec<Items>,
    /// How many entries of the answer each item gets.
    pub(super) each: usize,
    /// It wants no more entries of its ranking.
    pub(super) top: Option<usize>,
    /// Its own id, with the quotes.
    pub(super) id: Option<Range<usize>>,
}

/// Items in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Items {
    /// From the first byte of the first to the last of the last.
    pub(super) span: Range<usize>,
    /// How many values of the list make one item: more than one in a flat tensor.
    pub(super) width: usize,
}

impl Member {
    /// How many items it has: at least one.
    pub fn items(&self) -> usize {
        self.items
    }

    /// How many bytes they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A digest of everything but the items: those who have the same may travel together.
    pub fn parameters(&self) -> &Digest {
        &self.parameters
    }

    /// The body that it is, as it came.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// What is written again with other items in their place.
    pub(super) fn frame(&self) -> &Bytes {
        self.frame.as_ref().unwrap_or(&self.body)
    }

    /// Its id as it is written.
    pub(super) fn id(&self) -> Option<&[u8]> {
        self.id.as_ref().map(|id| Cursor::new(&self.body).text(id))
    }

    /// Its items of the list at `position`, as they are written, with the commas between them.
    pub(super) fn text(&self, position: usize) -> &[u8] {
        let span = self.lists.get(position).map(|list| list.span.clone()).unwrap_or_default();
        self.body.get(span).unwrap_or_default()
    }

    /// As pieces of at most `most` items each, in their order, written from `frame`. A piece has a whole ranking and no id.
    pub(super) fn cut(&self, most: usize, frame: &Bytes) -> Vec<Self> {
        let sizes = (0..self.items).step_by(most).map(|from| most.min(self.items - from));
        let mut pieces: Vec<_> = sizes
            .map(|items| Self {
                items,
                bytes: 0,
                lists: Vec::new(),
                body: self.body.clone(),
                frame: Some(frame.clone()),
                top: None,
                id: None,
                ..*self
            })
            .collect();
        for list in &self.lists {
            let stretches = stretches(&self.body, list, pieces.iter().map(|piece| piece.items));
            for (piece, (span, bytes)) in pieces.iter_mut().zip(stretches) {
                piece.lists.push(Items { span, width: list.width });
                piece.bytes += bytes;
            }
        }
        pieces
    }
}

/// Items of `list` in a row, so many each time: from the first byte to the last, and how many bytes they are without what
/// stands between them.
pub(super) fn stretches(
    text: &[u8],
    list: &Items,
    sizes: impl Iterator<Item = usize>,
) -> Vec<(Range<usize>, usize)> {
    let mut cursor = Cursor::within(text, &list.span);
    let stretch = |items: usize| {
        let mut found: Option<Range<usize>> = None;
        let mut bytes = 0;
        for _ in 0..items * list.width {
            if !cursor.next_value() {
                break;
            }
            let value = cursor.skip();
            bytes += value.len();
            found = Some(found.map_or(value.start, |found| found.start)..value.end);
        }
        (found.unwrap_or_default(), bytes)
    };
    sizes.map(stretch).collect()
}
