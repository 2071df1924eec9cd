//! A file of lines as it comes from a client: read ahead as far as there is room, handed out line by line.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::intake::Intake;
use super::source::Cut;
use crate::board::buffered::Reservation;

/// The lines of a body.
pub(super) struct File {
    /// Room for what was read and is not done.
    room: Reservation,
    held: usize,
    /// A line whose end did not come yet, and how far it was searched for that.
    open: BytesMut,
    searched: usize,
    /// No line of it was looked at.
    is_first: bool,
    lines: VecDeque<Bytes>,
    /// Lines that may still come.
    left: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Coming,
    /// There is no room to read on.
    Full,
    Ended,
    TooMany,
}

impl File {
    /// One of `most` lines at most, within `room`, which grows as there is some.
    pub(super) fn new(room: Reservation, most: usize) -> Self {
        Self {
            room,
            held: 0,
            open: BytesMut::new(),
            searched: 0,
            lines: VecDeque::new(),
            is_first: true,
            left: most,
            state: State::Coming,
        }
    }

    /// Reads what has come, as far as there is room.
    pub(super) fn read_ahead(&mut self, body: &mut Intake<'_>, cx: &mut Context<'_>) -> Result<(), Cut> {
        if self.state == State::Full && self.has_room(self.held) {
            self.state = State::Coming;
        }
        while self.state == State::Coming {
            match body.poll_piece(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(fault)) => return Err(Cut::Body(fault)),
                Poll::Ready(Ok(Some(piece))) => self.take(&piece),
                Poll::Ready(Ok(None)) => {
                    self.state = State::Ended;
                    let last = std::mem::take(&mut self.open);
                    self.line(&last);
                }
            }
        }
        Ok(())
    }

    /// Takes a piece, past the room too: then it is the last one for now.
    fn take(&mut self, piece: &[u8]) {
        self.held += piece.len();
        self.open.extend_from_slice(piece);
        while let Some(end) = memchr::memchr(b'\n', &self.open[self.searched..]) {
            let line = self.open.split_to(self.searched + end + 1);
            self.searched = 0;
            self.line(&line);
            if self.state == State::TooMany {
                return;
            }
        }
        self.searched = self.open.len();
        if !self.has_room(self.held) {
            self.state = State::Full;
        }
    }

    fn line(&mut self, line: &[u8]) {
        // A file that an editor saved may begin with a mark (U+FEFF).
        let text = match std::mem::take(&mut self.is_first) {
            true => line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line),
            false => line,
        };
        let text = text.trim_ascii();
        self.held -= line.len() - text.len();
        if text.is_empty() {
            return;
        }
        match self.left.checked_sub(1) {
            // A copy: a line must not keep all that was read with it.
            Some(left) => {
                self.left = left;
                self.lines.push_back(Bytes::copy_from_slice(text));
            }
            None => {
                self.state = State::TooMany;
                self.open = BytesMut::new();
            }
        }
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let room = &mut self.room;
        bytes <= room.bytes() || room.grow(bytes.max(2 * room.bytes())) || room.grow(bytes)
    }

    /// The next line, none while none is whole.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        self.lines.pop_front()
    }

    /// A line of that length is done with.
    pub(super) fn done(&mut self, length: usize) {
        self.held -= length;
    }

    /// Whether no more lines come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::TooMany) && self.lines.is_empty()
    }

    /// Whether the line that comes has no room, and nobody else of this file will leave any.
    pub(super) fn is_stuck(&self) -> bool {
        self.state == State::Full && self.lines.is_empty()
    }

    /// Whether there are more lines than allowed.
    pub(super) fn has_too_many(&self) -> bool {
        self.state == State::TooMany
    }
}
