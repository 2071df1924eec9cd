//! Hears a document and tells, in its order, what becomes of its bytes: which pass, which go, what is put between them.
//!
//! A step is told at the first byte at which nothing can change it. What is replaced or removed is let go of as it comes,
//! however long it is; only what may still be removed (a comma, a key), compared (a number) or filled in (a null) waits.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::decimal::Decimal;
use super::edits::{BodyEdits, Rule, Twin};
use super::fault::JsonFault;
use super::seeker::{Seeker, Seeks};
use super::walker::{Container, Listener, Told};
use crate::base::limits::BODY_PATH_SEGMENTS_MAX;

/// What becomes of the next bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Those before this place pass.
    Pass(u64),
    /// Those before this place go.
    Skip(u64),
    /// These are put in.
    Put(Bytes),
    /// What becomes of a null depends on what follows.
    Wait,
}

/// Makes the edits of one document.
#[derive(Debug)]
pub struct Amender {
    edits: Arc<BodyEdits>,
    seeker: Seeker,
    /// The document is an object.
    is_object: bool,
    /// The objects on the way to edited members, the outermost first.
    objects: [Open; BODY_PATH_SEGMENTS_MAX],
    /// Where the key, text, number or word at hand begins, and whether it is a key.
    started: u64,
    is_key: bool,
    /// The first byte that may still be changed by what is being read.
    pending: Option<u64>,
    /// A number that is held against a bound.
    number: Option<Decimal>,
    /// The text or number at hand stands where the object of this member should.
    misplaced: Option<usize>,
    dropping: Option<Dropping>,
    /// The end of a null that waits for the twin of its member, and whether that is there.
    waiting: Option<u64>,
    has_twin: Option<bool>,
    steps: VecDeque<Step>,
    /// What becomes of the bytes before this place is told.
    done: u64,
    growth: i64,
    is_changed: bool,
}

/// An object that has edited members.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    /// A member of it passed.
    has_kept: bool,
    /// Where the last comma and the last key stand.
    comma: u64,
    key: u64,
}

/// A member or value that goes.
#[derive(Debug, Clone, Copy)]
struct Dropping {
    /// How many containers are open around it.
    depth: usize,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With its value.
    Value,
    /// In front of the next key, or the end of the object: no member passed before it, whose comma could go.
    Next,
}

impl Amender {
    /// At the start of a document.
    pub fn new(edits: Arc<BodyEdits>) -> Self {
        Self {
            seeker: Seeker::new(Arc::clone(edits.wanted())),
            is_object: false,
            objects: [Open::default(); BODY_PATH_SEGMENTS_MAX],
            started: 0,
            is_key: false,
            pending: None,
            number: None,
            misplaced: None,
            dropping: None,
            waiting: None,
            has_twin: edits.twin.and_then(|twin| twin.is_there),
            steps: VecDeque::new(),
            done: 0,
            growth: 0,
            is_changed: false,
            edits,
        }
    }

    /// Tells of the bytes before `end`, as far as that is known; all of them were heard.
    pub fn tell(&mut self, end: u64) {
        if self.edits.needs_object() && !self.is_object {
            return;
        }
        match self.dropping {
            Some(_) => self.skip(end),
            None => self.pass(self.pending.map_or(end, |pending| pending.min(end))),
        }
    }

    /// The next step that is told.
    pub fn next_step(&mut self) -> Option<Step> {
        match self.steps.front() {
            None | Some(Step::Wait) => None,
            Some(_) => self.steps.pop_front(),
        }
    }

    /// Whether nothing of what follows is changed.
    pub fn is_settled(&self) -> bool {
        let is_known = self.seeker.known() == self.edits.wanted().all();
        is_known && self.dropping.is_none() && self.waiting.is_none()
    }

    /// By how many bytes the document has grown so far.
    pub fn growth(&self) -> i64 {
        self.growth
    }

    /// Whether any byte was changed so far.
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    fn pass(&mut self, to: u64) {
        if to > self.done {
            self.steps.push_back(Step::Pass(to));
            self.done = to;
        }
    }

    fn skip(&mut self, to: u64) {
        if let Some(length) = to.checked_sub(self.done).filter(|length| *length > 0) {
            self.growth = self.growth.saturating_sub_unsigned(length);
            self.is_changed = true;
            self.steps.push_back(Step::Skip(to));
            self.done = to;
        }
    }

    fn put(&mut self, bytes: Bytes) {
        self.growth = self.growth.saturating_add_unsigned(bytes.len() as u64);
        self.is_changed = true;
        self.steps.push_back(Step::Put(bytes));
    }

    fn replace(&mut self, (start, end): (u64, u64), by: Bytes) {
        self.pass(start);
        self.put(by);
        self.skip(end);
    }

    /// What begins at `start` goes, up to its end.
    fn drop_from(&mut self, start: u64, end: End) {
        self.pass(start);
        self.dropping = Some(Dropping { depth: self.seeker.depth(), end });
        self.pending = None;
    }

    /// Something that goes ends before `at`, if it ends so at this depth.
    fn drop_to(&mut self, at: u64, by: End) {
        let depth = self.seeker.depth();
        if self.dropping.is_some_and(|dropping| dropping.depth == depth && dropping.end == by) {
            self.skip(at);
            self.dropping = None;
        }
    }

    /// Whether the current key leads to edited members, and what stands behind it stays.
    fn is_edited(&self) -> bool {
        self.dropping.is_none() && self.seeker.here() != 0
    }

    /// Whether a member of the object at `level` may still have to be removed.
    fn may_remove(&self, level: usize) -> bool {
        let left = self.seeker.fitting(level) & !self.seeker.known();
        self.edits.removed(left, level) != 0
    }

    /// The value of a member is there, or null.
    fn note_twin(&mut self, position: usize, is_there: bool) {
        if let Some(Twin { second, is_there: None, .. }) = self.edits.twin
            && second == position
        {
            self.has_twin = Some(is_there);
            self.wait_no_more(is_there);
        }
    }

    /// A null waited for its twin, which `is_there`, or is not and never will be.
    fn wait_no_more(&mut self, is_there: bool) {
        let Some(end) = self.waiting.take() else { return };
        let Some(at) = self.steps.iter().position(|step| *step == Step::Wait) else { return };
        let first = self.edits.twin.map_or(0, |twin| twin.first);
        match self.edits.rule(first) {
            Rule::Bound { default: Some(value), .. } if !is_there => {
                let value = value.clone();
                self.growth = self.growth.saturating_add_unsigned(value.len() as u64).saturating_sub(4);
                self.is_changed = true;
                self.steps[at] = Step::Put(value);
                self.steps.insert(at + 1, Step::Skip(end));
            }
            _ => self.steps[at] = Step::Pass(end),
        }
    }

    /// The key at hand ended: whether its member goes is known.
    fn key_ended(&mut self) {
        let Some(level) = self.seeker.level().filter(|_| self.dropping.is_none()) else { return };
        let goes = self.seeker.ending_here().is_some_and(|at| matches!(self.edits.rule(at), Rule::Remove));
        self.pending = None;
        match (goes, self.objects[level]) {
            (true, Open { has_kept: true, comma, .. }) => self.drop_from(comma, End::Value),
            (true, Open { has_kept: false, key, .. }) => self.drop_from(key, End::Next),
            (false, _) => self.objects[level].has_kept = true,
        }
    }

    /// A text or a number begins, as the value of a member that is edited, or on the way to one.
    fn scalar_begins(&mut self, what: Told) {
        let Some(position) = self.seeker.ending_here() else {
            self.misplaced = self.edits.inserted(self.seeker.here());
            self.pending = None;
            return;
        };
        self.note_twin(position, true);
        match self.edits.rule(position) {
            Rule::Set(value) => {
                let value = value.clone();
                self.pass(self.started);
                self.put(value);
                self.drop_from(self.started, End::Value);
            }
            Rule::Bound { most: Some(_), .. } if what == Told::Number => {
                self.number = Some(Decimal::default());
            }
            Rule::Bound { .. } | Rule::Remove => self.pending = None,
        }
    }

    /// A number of an edited member ended before `at`: it is lowered where it is too high.
    fn number_ended(&mut self, at: u64) {
        let (Some(number), Some(position)) = (self.number.take(), self.seeker.ending_here()) else { return };
        if let Rule::Bound { most: Some((most, text)), .. } = self.edits.rule(position)
            && number.exceeds(most)
        {
            let text = text.clone();
            self.replace((self.started, at), text);
        }
    }

    /// A word is the value of a member that is edited, or on the way to one.
    fn word_came(&mut self, word: &[u8], (start, end): (u64, u64)) -> Result<(), JsonFault> {
        let Some(position) = self.seeker.ending_here() else {
            let here = self.seeker.here();
            let level = self.seeker.level().map_or(0, |level| level + 1);
            return match (self.edits.inserted(here), word) {
                (None, _) => Ok(()),
                (Some(_), b"null") => {
                    let members = self.edits.members(here, level, None);
                    self.replace((start, end), Bytes::from(format!("{{{members}}}")));
                    Ok(())
                }
                (Some(member), _) => Err(JsonFault::NoObject { member }),
            };
        };
        let is_null = word == b"null";
        self.note_twin(position, !is_null);
        let twin = self.edits.twin.filter(|twin| twin.first == position);
        let by = match (self.edits.rule(position), word) {
            (Rule::Set(value), _) => Some(value.clone()),
            (Rule::Bound { default: Some(value), .. }, b"null") => match (twin, self.has_twin) {
                (Some(_), Some(true)) => None,
                (Some(_), None) => {
                    self.pass(start);
                    self.steps.push_back(Step::Wait);
                    (self.done, self.waiting) = (end, Some(end));
                    None
                }
                (None, _) | (Some(_), Some(false)) => Some(value.clone()),
            },
            // Of a number that is none nobody can say that it is not too high.
            (Rule::Bound { most: Some((_, most)), .. }, b"NaN" | b"Infinity") => Some(most.clone()),
            (Rule::Bound { .. } | Rule::Remove, _) => None,
        };
        if let Some(by) = by {
            self.replace((start, end), by);
        }
        Ok(())
    }

    /// An object on the way to edited members ends at `at`: what is not there is put in.
    fn object_ended(&mut self, at: u64) {
        let Some(level) = self.seeker.level().filter(|_| self.dropping.is_none()) else { return };
        let has_twin = self.has_twin == Some(true);
        if level == 0 {
            self.wait_no_more(has_twin);
        }
        let but = self.edits.twin.filter(|_| level == 0 && has_twin).map(|twin| twin.first);
        let mut members = self.edits.members(self.seeker.unseen(level), level, but);
        if members.is_empty() {
            return;
        }
        if self.objects[level].has_kept {
            members.insert(0, ',');
        }
        self.pass(at);
        self.put(Bytes::from(members));
    }
}

impl Seeks for Amender {
    fn seeker(&self) -> &Seeker {
        &self.seeker
    }
}

impl Listener for Amender {
    fn open(&mut self, kind: Container, at: u64) -> Result<(), JsonFault> {
        if self.seeker.depth() == 0 {
            self.is_object = kind == Container::Object;
            if !self.is_object && self.edits.needs_object() {
                return Err(JsonFault::Foreign);
            }
        }
        if self.is_edited() {
            match self.seeker.ending_here() {
                Some(position) => {
                    self.note_twin(position, true);
                    if let Rule::Set(value) = self.edits.rule(position) {
                        let value = value.clone();
                        self.pass(at);
                        self.put(value);
                        self.drop_from(at, End::Value);
                    }
                }
                None => match self.edits.inserted(self.seeker.here()) {
                    Some(member) if kind == Container::Array => return Err(JsonFault::NoObject { member }),
                    _ => {}
                },
            }
        }
        self.seeker.open(kind, at)?;
        if let Some(level) = self.seeker.level() {
            self.objects[level] = Open::default();
        }
        Ok(())
    }

    fn close(&mut self, at: u64) -> Result<(), JsonFault> {
        self.drop_to(at, End::Next);
        self.object_ended(at);
        self.seeker.close(at)?;
        self.drop_to(at + 1, End::Value);
        Ok(())
    }

    fn starts(&mut self, at: u64) {
        self.started = at;
        if self.is_edited() {
            self.pending = Some(at);
        }
    }

    fn comma(&mut self, at: u64) {
        if let Some(level) = self.seeker.level().filter(|_| self.dropping.is_none()) {
            self.objects[level].comma = at;
            self.pending = self.may_remove(level).then_some(at);
        }
    }

    fn begin(&mut self, what: Told) -> bool {
        self.is_key = what == Told::Key;
        if self.is_key {
            if let Some(level) = self.seeker.level() {
                self.drop_to(self.started, End::Next);
                let Open { has_kept, comma, .. } = self.objects[level];
                self.objects[level].key = self.started;
                let from = if has_kept { comma } else { self.started };
                self.pending = (self.dropping.is_none() && self.may_remove(level)).then_some(from);
            }
        } else if self.is_edited() {
            self.scalar_begins(what);
        }
        self.seeker.begin(what)
    }

    fn bytes(&mut self, bytes: &[u8], at: u64) {
        if let Some(number) = &mut self.number {
            number.push(bytes);
        }
        self.seeker.bytes(bytes, at);
        if self.is_key && self.seeker.is_too_long() {
            self.pending = None;
        }
    }

    fn unit(&mut self, unit: u16, at: u64) {
        self.seeker.unit(unit, at);
        if self.is_key && self.seeker.is_too_long() {
            self.pending = None;
        }
    }

    fn end(&mut self, what: Told, at: u64) -> Result<(), JsonFault> {
        if what == Told::Key {
            self.seeker.end(what, at)?;
            self.key_ended();
            return Ok(());
        }
        if let Some(member) = self.misplaced.take() {
            return Err(JsonFault::NoObject { member });
        }
        let end = if what == Told::Text { at + 1 } else { at };
        self.number_ended(end);
        self.seeker.end(what, at)?;
        self.drop_to(end, End::Value);
        self.pending = None;
        Ok(())
    }

    fn word(&mut self, word: &'static [u8], at: u64) -> Result<(), JsonFault> {
        // What began as a number may be an infinity.
        self.number = None;
        if self.is_edited() {
            self.word_came(word, (at - word.len() as u64, at))?;
        }
        self.seeker.word(word, at)?;
        self.drop_to(at, End::Value);
        self.pending = None;
        Ok(())
    }
}
