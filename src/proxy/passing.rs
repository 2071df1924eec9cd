//! What is looked at, and changed, in a body that is sent on before its end: its last byte leaves once all was found sound.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::reply;
use crate::base::limits::PASSING_WAIT_BYTES;
use crate::board::buffered::{Budget, Reservation};
use crate::codec::body_editor::BodyEditor;
use crate::codec::content::BodyScanner;
use crate::codec::json::Wanted;
use crate::codec::reply::ErrorReply;
use crate::codec::unreadable;

/// Who looks on at a body that was read in part.
#[derive(Debug, Default)]
pub(super) struct Passing {
    scans: Vec<Scan>,
    /// What waits in it beyond a little takes room.
    editor: Option<(BodyEditor, Arc<Budget>)>,
    room: Option<Reservation>,
    /// What may leave, and the byte that may not yet.
    ready: VecDeque<Bytes>,
    last: Option<Bytes>,
    is_over: bool,
    /// What is told of a body in which something is wrong.
    refusal: Option<ErrorReply>,
}

/// A scan that decided before the end, with the members that it looks for.
#[derive(Debug)]
struct Scan {
    scanner: Box<BodyScanner>,
    wanted: Arc<Wanted>,
}

impl Scan {
    fn look(&mut self, data: &[u8]) -> Result<(), ErrorReply> {
        self.scanner.feed(data).map_err(|fault| unreadable::of_json(fault, &self.wanted))
    }

    fn end(mut self) -> Result<(), ErrorReply> {
        let ended = self.scanner.finish().map(|_| ());
        ended.map_err(|fault| unreadable::of_json(fault, &self.wanted))
    }
}

/// Something is wrong with the body.
#[derive(Debug)]
pub(super) struct Unsound;

impl Passing {
    /// One more scan goes on; it has seen all that may leave so far.
    pub(super) fn scan(&mut self, scanner: Box<BodyScanner>, wanted: &Arc<Wanted>) -> Result<(), ErrorReply> {
        let mut scan = Scan { scanner, wanted: Arc::clone(wanted) };
        self.ready.iter().chain(&self.last).try_for_each(|waiting| scan.look(waiting))?;
        if self.is_over {
            return scan.end();
        }
        self.scans.push(scan);
        Ok(())
    }

    /// What may not leave yet, and what comes, is changed.
    pub(super) fn edit(&mut self, mut editor: BodyEditor, budget: &Arc<Budget>) -> Result<(), ErrorReply> {
        let waiting: Vec<Bytes> = self.ready.drain(..).chain(self.last.take()).collect();
        let Self { ready, last, .. } = self;
        waiting.into_iter().try_for_each(|piece| editor.feed(piece, |piece| put(ready, last, piece)))?;
        if self.is_over {
            editor.end(|piece| put(ready, last, piece))?;
            self.ready.extend(self.last.take());
            return Ok(());
        }
        self.editor = Some((editor, Arc::clone(budget)));
        Ok(())
    }

    /// A byte stays until more or the end comes: that which does already, or else this one, the last that came so far.
    pub(super) fn keep_back(&mut self, last: impl FnOnce() -> Option<Bytes>) {
        if !self.is_over {
            self.last = self.last.take().or_else(last);
        }
    }

    /// Looks at the next bytes: what may leave is taken by [`Self::next`].
    pub(super) fn pass(&mut self, data: Bytes) -> Result<(), Unsound> {
        let looked = self.scans.iter_mut().try_for_each(|scan| scan.look(&data));
        looked.map_err(|refusal| self.refuse(refusal))?;
        let Self { editor, ready, last, .. } = self;
        match editor {
            None => put(ready, last, data),
            Some((editor, _)) => {
                let passed = editor.feed(data, |piece| put(ready, last, piece));
                passed.map_err(|refusal| self.refuse(refusal))?;
            }
        }
        self.make_room()
    }

    /// The body ended: all of it may leave.
    pub(super) fn pass_end(&mut self) -> Result<(), Unsound> {
        let ended = self.scans.drain(..).try_for_each(Scan::end);
        ended.map_err(|refusal| self.refuse(refusal))?;
        let Self { editor, ready, last, .. } = self;
        if let Some((editor, _)) = editor {
            let ended = editor.end(|piece| put(ready, last, piece));
            ended.map_err(|refusal| self.refuse(refusal))?;
        }
        self.ready.extend(self.last.take());
        self.is_over = true;
        Ok(())
    }

    /// The next piece that may leave.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// Whether no more of it comes.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What is told of a body in which something is wrong.
    pub(super) fn take_refusal(&mut self) -> Option<ErrorReply> {
        self.refusal.take()
    }

    /// What waits in the editor beyond a little has a place in the room for all, or there is no more of it.
    fn make_room(&mut self) -> Result<(), Unsound> {
        let Some((editor, budget)) = &self.editor else { return Ok(()) };
        let waiting = editor.waiting();
        if waiting <= PASSING_WAIT_BYTES {
            self.room = None;
            return Ok(());
        }
        let has_room = match &mut self.room {
            Some(room) => waiting <= room.bytes() || room.grow(2 * waiting) || room.grow(waiting),
            None => {
                self.room = budget.reserve_now(waiting);
                self.room.is_some()
            }
        };
        if has_room { Ok(()) } else { Err(self.refuse(reply::buffers_full_midway())) }
    }

    fn refuse(&mut self, refusal: ErrorReply) -> Unsound {
        self.refusal = Some(refusal);
        Unsound
    }
}

/// A piece may leave but for its last byte, and with it the byte before.
fn put(ready: &mut VecDeque<Bytes>, last: &mut Option<Bytes>, mut piece: Bytes) {
    let Some(rest) = piece.len().checked_sub(1) else { return };
    ready.extend(last.replace(piece.split_off(rest)));
    if !piece.is_empty() {
        ready.push_back(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::codec::fields::FieldTable;
    use crate::codec::head::RequestHead;
    use crate::codec::json::{BodyEdits, Edit};
    use crate::codec::split::split_request;

    fn head() -> RequestHead {
        let text = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n";
        split_request(Bytes::from(text), FieldTable::default()).unwrap()
    }

    fn passing(editor: Option<BodyEditor>, budget: &Arc<Budget>) -> Passing {
        let mut wanted = Wanted::default();
        wanted.add("model");
        let wanted = Arc::new(wanted);
        let mut passing = Passing::default();
        passing.scan(Box::new(BodyScanner::new(&head(), &wanted)), &wanted).unwrap();
        if let Some(editor) = editor {
            passing.edit(editor, budget).unwrap();
        }
        passing
    }

    /// What leaves of these pieces before the end, and behind it; none where something is wrong.
    fn run(mut passing: Passing, pieces: &[&[u8]]) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut left = Vec::new();
        for piece in pieces {
            if passing.pass(Bytes::copy_from_slice(piece)).is_err() {
                assert!(passing.take_refusal().is_some());
                return (left, None);
            }
            while let Some(piece) = passing.next() {
                assert!(!piece.is_empty());
                left.extend_from_slice(&piece);
            }
        }
        if passing.pass_end().is_err() {
            assert!(passing.take_refusal().is_some() && passing.next().is_none());
            return (left, None);
        }
        let rest = std::iter::from_fn(|| passing.next()).flatten().collect();
        assert!(passing.is_over());
        (left, Some(rest))
    }

    #[test]
    fn the_last_byte_stays_until_the_end_is_sound_in_any_split() {
        let budget = Arc::new(Budget::new(1 << 20));
        let edit = Edit::Set("5".to_owned());
        let edits = Arc::new(BodyEdits::new([("n", &edit)]).unwrap());
        for seed in 0..3000 {
            let mut rng = Rng::new(seed);
            let (text, edited) = [
                (r#"{"model":"a","n":1}"#, Some(r#"{"model":"a","n":5}"#)),
                ("{\"x\":[1,2] }  \n", Some("{\"x\":[1,2] ,\"n\":5}  \n")),
                (r#"{"n":[{}],"x":"}"}"#, Some(r#"{"n":5,"x":"}"}"#)),
                (r#"{"model":"a","x":1,"model":"a"}"#, None),
                (r#"{"model":"a","n":1"#, None),
                (r#"{"model":"a","n":1}}"#, None),
                (r#"{"n":1,"n":2}"#, None),
            ][rng.below(7) as usize];
            let mut pieces: Vec<&[u8]> = Vec::new();
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(1 + rng.below(rest.len().min(5) as u64) as usize);
                pieces.push(piece);
                rest = tail;
            }
            let is_edited = rng.below(2) == 0;
            let editor = is_edited.then(|| BodyEditor::new(&edits, &head()));
            let (left, behind) = run(passing(editor, &budget), &pieces);
            let expected = match is_edited {
                true => edited,
                false => Some(text).filter(|_| edited.is_some() || text.contains("\"n\":2")),
            };
            match (expected, behind) {
                (Some(whole), Some(behind)) => {
                    assert!(!behind.is_empty(), "its last byte at least: {text}");
                    assert_eq!([left, behind].concat(), whole.as_bytes(), "{text}");
                }
                (None, None) => {
                    assert!(left.len() < text.len(), "{text}");
                    assert!(!left.ends_with(b"}}") && !left.ends_with(b"\"}"), "{text}");
                }
                (expected, behind) => panic!("{text}: {expected:?} {behind:?}"),
            }
        }
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_waits_takes_room_or_breaks_the_body_off() {
        let edit = Edit::Remove;
        let edits = Arc::new(BodyEdits::new([("n", &edit)]).unwrap());
        let blanks = vec![b' '; 10_000];
        for (room, pieces, passes) in [(1 << 20, 60, true), (100_000, 60, false), (100_000, 1, true)] {
            let budget = Arc::new(Budget::new(room));
            let mut passing = passing(Some(BodyEditor::new(&edits, &head())), &budget);
            passing.pass(Bytes::from_static(b"{\"x\":1,")).unwrap();
            let passed = (0..pieces).all(|_| passing.pass(Bytes::from(blanks.clone())).is_ok());
            assert_eq!(passed, passes, "{room}");
            if passes {
                assert_eq!(budget.used() > 0, pieces > 1, "a little is free");
                passing.pass(Bytes::from_static(b"\"y\":1}")).unwrap();
                passing.pass_end().unwrap();
                let length = std::iter::from_fn(|| passing.next()).map(|piece| piece.len()).sum::<usize>();
                assert_eq!(length, 13 + pieces * blanks.len());
            } else {
                assert_eq!(passing.take_refusal().map(|refusal| refusal.code), Some("buffers_full"));
            }
            drop(passing);
            assert_eq!(budget.used(), 0);
        }
    }
}
