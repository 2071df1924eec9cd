//! Bytes of a body that are held, in pieces of our own, with the room they take.

use bytes::{Bytes, BytesMut};

use crate::base::limits::HELD_PIECE_BYTES;
use crate::board::buffered::Reservation;

/// How far what is held was handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached(Option<usize>);

/// What is held of a body, from its first byte on; its room is given back with it.
#[derive(Debug, Default)]
pub(super) struct Held {
    pieces: Vec<Bytes>,
    open: BytesMut,
    length: u64,
    /// The piece that is handed out next; none while bytes are taken from where they come.
    next: Option<usize>,
    room: Option<Reservation>,
}

impl Held {
    /// Nothing yet, in a reserved room.
    pub(super) fn within(room: Reservation) -> Self {
        Self { room: Some(room), ..Self::default() }
    }

    /// A whole body that is in memory anyway.
    pub(super) fn of(body: Bytes) -> Self {
        Self::of_pieces(if body.is_empty() { Vec::new() } else { vec![body] })
    }

    /// The same in pieces.
    pub(super) fn of_pieces(pieces: Vec<Bytes>) -> Self {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, length, next: Some(0), ..Self::default() }
    }

    /// All of it in one piece.
    pub(super) fn join(&mut self) -> Bytes {
        self.close_piece();
        let joined = match &self.pieces[..] {
            [] => Bytes::new(),
            [only] => only.clone(),
            several => Bytes::from(several.concat()),
        };
        self.pieces = vec![joined.clone()];
        joined
    }

    /// How far it was handed out.
    pub(super) fn reached(&self) -> Reached {
        Reached(self.next)
    }

    /// The same pieces were handed out so far: it goes on from there.
    pub(super) fn go_on_from(&mut self, reached: Reached) {
        self.next = reached.0;
    }

    /// From the first byte again.
    pub(super) fn rewind(&mut self) {
        self.close_piece();
        self.next = Some(0);
    }

    /// The next piece that is held, none behind the last.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let at = self.next?;
        let piece = self.pieces.get(at).cloned();
        self.next = piece.is_some().then_some(at + 1);
        piece
    }

    /// Copies into pieces of our own: what arrived may be a few bytes of a large read buffer each. False where there is
    /// no room.
    pub(super) fn push(&mut self, data: &[u8]) -> bool {
        let length = self.length + data.len() as u64;
        if let Some(room) = &mut self.room
            && length > room.bytes()
            && !room.grow(length.max(2 * room.bytes()))
            && !room.grow(length)
        {
            return false;
        }
        self.push_past(data);
        true
    }

    /// The same, whether there is room or not.
    pub(super) fn push_past(&mut self, mut data: &[u8]) {
        self.length += data.len() as u64;
        while !data.is_empty() {
            if self.open.capacity() == 0 {
                self.open.reserve(data.len().clamp(1024, HELD_PIECE_BYTES));
            }
            let (fits, rest) = data.split_at(data.len().min(self.open.capacity() - self.open.len()));
            self.open.extend_from_slice(fits);
            data = rest;
            if self.open.len() == self.open.capacity() {
                self.close_piece();
            }
        }
    }

    /// Nothing more comes: room that is left over is given back.
    pub(super) fn close(&mut self) {
        self.close_piece();
        self.shrink(0);
    }

    /// What is held takes this form. False where there is no room for what is longer.
    pub(super) fn rewrite(&mut self, pieces: Vec<Bytes>) -> bool {
        self.close_piece();
        self.pieces = pieces;
        self.length = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        self.room.as_mut().is_none_or(|room| self.length <= room.bytes() || room.grow(self.length))
    }

    /// All of it, once nothing more comes.
    pub(super) fn into_pieces(mut self) -> Vec<Bytes> {
        self.close_piece();
        self.pieces
    }

    /// The last byte of it is taken back.
    pub(super) fn take_last_byte(&mut self) -> Option<Bytes> {
        self.close_piece();
        let piece = self.pieces.last_mut()?;
        let last = piece.split_off(piece.len().checked_sub(1)?);
        if piece.is_empty() {
            self.pieces.pop();
        }
        self.length -= 1;
        Some(last)
    }

    /// Room beyond `most`, or what is held, is given back.
    pub(super) fn shrink(&mut self, most: u64) {
        let most = most.max(self.length);
        if let Some(room) = &mut self.room {
            room.shrink(most);
        }
    }

    /// What is held, once nothing more comes or for now.
    pub(super) fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// How much is held, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether what is held was handed out.
    pub(super) fn is_handed_out(&self) -> bool {
        self.next.is_none()
    }

    /// Room reserved and used, in bytes.
    pub(super) fn room(&self) -> (u64, u64) {
        (self.room.as_ref().map_or(0, Reservation::bytes), self.length)
    }

    /// What was pushed so far is a piece of its own.
    pub(super) fn close_piece(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push(std::mem::take(&mut self.open).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::board::buffered::Budget;
    use crate::board::granted::Granted;

    fn all(held: &mut Held) -> Vec<u8> {
        std::iter::from_fn(|| held.next()).flatten().collect()
    }

    #[test]
    fn what_is_held_comes_back_whole_each_time_from_the_start() {
        let budget = Arc::new(Budget::new(1 << 20));
        let mut held = Held::within(budget.reserve(10, &Granted::new(|| {})).unwrap());
        let body: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
        assert!(body.chunks(777).all(|piece| held.push(piece)));
        assert_eq!(held.next(), None, "nothing is handed out while it comes");
        for _ in 0..2 {
            held.rewind();
            assert!(held.next().is_some());
            held.rewind();
            assert_eq!(all(&mut held), body);
        }
        assert!(budget.used() >= body.len() as u64);
        assert!(!held.push(&vec![0; 1 << 20]), "there is no room for so much");
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn bytes_in_memory_are_handed_out_at_once() {
        assert_eq!(all(&mut Held::of(Bytes::from_static(b"body"))), b"body");
        assert_eq!(all(&mut Held::of(Bytes::new())), b"");
    }
}
