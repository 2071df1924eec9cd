//! Hears a document for wanted members: what is known of each, and of which of them nothing more can come.

use std::sync::Arc;

use super::fault::JsonFault;
use super::text::Kept;
use super::walker::{Container, Listener, Told};
use super::wanted::{Keyed, Member, Set, Wanted, positions};
use crate::base::limits::{BODY_PATH_SEGMENTS_MAX, BODY_VALUE_BYTES_MAX};

/// Keeps what is wanted of a document.
#[derive(Debug)]
pub struct Seeker {
    wanted: Arc<Wanted>,
    found: Vec<Member>,
    /// The wanted paths of which no well-formed document can say more.
    known: Set,
    depth: usize,
    /// How many of the open containers, from the outside, are objects on the way to a wanted member.
    live: usize,
    /// The wanted paths that the keys down to each live object fit, and those whose next key was seen in it.
    fitting: [Set; BODY_PATH_SEGMENTS_MAX],
    seen: [Set; BODY_PATH_SEGMENTS_MAX],
    /// The wanted paths that the current key fits.
    here: Set,
    kept: Kept,
}

/// A listener that looks for wanted members.
pub trait Seeks: Listener {
    /// Who looks for them.
    fn seeker(&self) -> &Seeker;
}

impl Seeks for Seeker {
    fn seeker(&self) -> &Seeker {
        self
    }
}

impl Listener for Seeker {
    fn open(&mut self, kind: Container, _: u64) -> Result<(), JsonFault> {
        let on_the_way = self.container();
        if kind == Container::Object && self.live == self.depth && on_the_way != 0 {
            self.fitting[self.live] = on_the_way;
            self.seen[self.live] = 0;
            self.live += 1;
        } else {
            // None of them is found inside a list.
            self.known |= on_the_way;
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, _: u64) -> Result<(), JsonFault> {
        if self.live == self.depth {
            self.live -= 1;
            self.known |= self.fitting[self.live];
        }
        self.depth -= 1;
        self.here = 0;
        Ok(())
    }

    fn begin(&mut self, what: Told) -> bool {
        let (is_kept, max) = match what {
            Told::Key => (self.is_live(), self.wanted.key_bytes_max()),
            Told::Text | Told::Number => (self.here != 0, BODY_VALUE_BYTES_MAX),
        };
        if is_kept {
            self.kept.begin(max);
        }
        is_kept
    }

    fn bytes(&mut self, bytes: &[u8], _: u64) {
        self.kept.push(bytes);
    }

    fn unit(&mut self, unit: u16, _: u64) {
        self.kept.push_unit(unit);
    }

    fn end(&mut self, what: Told, _: u64) -> Result<(), JsonFault> {
        if what == Told::Key {
            return self.key();
        }
        if self.here != 0 {
            let member = match self.kept.text() {
                Some(text) => Member::Scalar(text.to_vec()),
                None => Member::Other,
            };
            self.found(member);
        }
        self.here = 0;
        Ok(())
    }

    fn word(&mut self, word: &'static [u8], _: u64) -> Result<(), JsonFault> {
        if self.here != 0 {
            self.found(match word {
                b"null" => Member::Null,
                _ => Member::Scalar(word.to_vec()),
            });
        }
        self.here = 0;
        Ok(())
    }
}

impl Seeker {
    /// At the start of a document.
    pub fn new(wanted: Arc<Wanted>) -> Self {
        let found = vec![Member::Absent; wanted.len()];
        Self {
            wanted,
            found,
            known: 0,
            depth: 0,
            live: 0,
            fitting: [0; BODY_PATH_SEGMENTS_MAX],
            seen: [0; BODY_PATH_SEGMENTS_MAX],
            here: 0,
            kept: Kept::default(),
        }
    }

    /// What is known of wanted members so far, by their positions.
    pub fn members(&self) -> &[Member] {
        &self.found
    }

    /// The positions of those of which nothing more can come.
    pub fn known(&self) -> Set {
        self.known
    }

    /// How many containers are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The wanted paths that the current key fits; none where it is nobody's.
    pub(super) fn here(&self) -> Set {
        self.here
    }

    /// The wanted path that ends with the current key.
    pub(super) fn ending_here(&self) -> Option<usize> {
        if self.here == 0 {
            return None;
        }
        positions(self.wanted.ending(self.here, self.live - 1)).next()
    }

    /// The level of the innermost container, where that is an object on the way to a wanted member: the outermost is 0.
    pub(super) fn level(&self) -> Option<usize> {
        self.is_live().then(|| self.live - 1)
    }

    /// The wanted paths that lead into the live object at `level`.
    pub(super) fn fitting(&self, level: usize) -> Set {
        self.fitting[level]
    }

    /// Those of them whose next key did not come.
    pub(super) fn unseen(&self, level: usize) -> Set {
        self.fitting[level] & !self.seen[level]
    }

    /// Whether the key or text at hand is longer than any that matters.
    pub(super) fn is_too_long(&self) -> bool {
        self.kept.is_spoilt()
    }

    /// Whether the innermost container is an object on the way to a wanted member.
    fn is_live(&self) -> bool {
        self.depth > 0 && self.live == self.depth
    }

    /// A container is the value here: none of those that end here has a scalar. The paths that go on inside it.
    fn container(&mut self) -> Set {
        if self.depth == 0 {
            return self.wanted.all();
        }
        let here = std::mem::take(&mut self.here);
        let ending = if here == 0 { 0 } else { self.wanted.ending(here, self.live - 1) };
        positions(ending).for_each(|position| self.found[position] = Member::Other);
        self.known |= ending;
        here & !ending
    }

    /// A key ended: which wanted members its value is, or leads to.
    fn key(&mut self) -> Result<(), JsonFault> {
        if !self.is_live() {
            return Ok(());
        }
        let level = self.live - 1;
        let Some(key) = self.kept.text() else {
            self.here = 0;
            return Ok(());
        };
        let Keyed { exact, folded } = self.wanted.at(self.fitting[level], level, key);
        if let Some(member) = positions(self.seen[level] & folded).next() {
            return Err(JsonFault::Doubled { member });
        }
        if let Some(member) = positions(folded).next().filter(|_| exact == 0) {
            return Err(JsonFault::OtherCase { member });
        }
        self.here = exact;
        self.seen[level] |= exact;
        Ok(())
    }

    fn found(&mut self, member: Member) {
        for position in positions(self.wanted.ending(self.here, self.live - 1)) {
            self.found[position] = member.clone();
        }
        // Those that go on have no object to be found in.
        self.known |= self.here;
    }
}
