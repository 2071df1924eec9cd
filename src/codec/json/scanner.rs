//! Wanted members of a document, found as it arrives.

use std::sync::Arc;

use super::fault::JsonFault;
use super::text::Kept;
use super::walker::{Container, Listener, Told, Walker};
use super::wanted::{Keyed, Member, Set, Wanted, positions};
use crate::base::limits::{BODY_PATH_SEGMENTS_MAX, BODY_VALUE_BYTES_MAX};

/// Looks through one document for wanted members.
#[derive(Debug)]
pub struct Scanner(Walker<Seeker>);

/// Keeps what is wanted of a document.
#[derive(Debug)]
struct Seeker {
    wanted: Arc<Wanted>,
    found: Vec<Member>,
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

impl Scanner {
    /// At the start of a document.
    pub fn new(wanted: Arc<Wanted>) -> Self {
        let found = vec![Member::Absent; wanted.len()];
        Self(Walker::new(Seeker {
            wanted,
            found,
            depth: 0,
            live: 0,
            fitting: [0; BODY_PATH_SEGMENTS_MAX],
            seen: [0; BODY_PATH_SEGMENTS_MAX],
            here: 0,
            kept: Kept::default(),
        }))
    }

    /// What is known of wanted members so far, by their positions.
    pub fn members(&self) -> &[Member] {
        &self.0.listener().found
    }

    /// Whether the document is an object, as far as it was read.
    pub fn is_object(&self) -> bool {
        self.0.is_object()
    }

    /// Looks at the next bytes. A fault is final.
    pub fn feed(&mut self, input: &[u8]) -> Result<(), JsonFault> {
        self.0.feed(input)
    }

    /// The document ended.
    pub fn finish(&mut self) -> Result<(), JsonFault> {
        self.0.finish()
    }
}

impl Listener for Seeker {
    fn open(&mut self, kind: Container, _: u64) -> Result<(), JsonFault> {
        let on_the_way = self.container();
        if kind == Container::Object && self.live == self.depth && on_the_way != 0 {
            self.fitting[self.live] = on_the_way;
            self.seen[self.live] = 0;
            self.live += 1;
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, _: u64) -> Result<(), JsonFault> {
        if self.live == self.depth {
            self.live -= 1;
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
                b"null" => Member::Other,
                _ => Member::Scalar(word.to_vec()),
            });
        }
        self.here = 0;
        Ok(())
    }
}

impl Seeker {
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
    }
}
