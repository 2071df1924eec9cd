//! Requests whose items are one list, a JSON member of the whole: read and merged.

use std::ops::Range;

use bytes::Bytes;

use super::member::{Items, Member};
use super::rewrite::{Change, rewrite};
use crate::codec::json::cursor::{Cursor, text_of};
use crate::codec::json::{canonical, folds_to, sound};

/// How requests of one protocol, and answers to them, are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'p> {
    /// The JSON member that has the items.
    pub(super) items: &'p str,
    /// What stands there.
    pub(super) accepted: Accepted,
    /// The JSON member that says how many entries of the answer each item gets.
    pub(super) count: Option<&'static str>,
    /// The JSON member that says how many entries of a ranking are wanted.
    pub(super) top: Option<&'static str>,
    /// JSON members with which a request travels alone.
    pub(super) alone: &'static [&'static str],
    /// The JSON member of the answer that has the entries; none where it is nothing but them.
    pub(super) answer: Option<&'p str>,
    /// How entries find their items.
    pub(super) order: Order,
}

/// What items may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// A text, a list of token ids, or a list of either.
    Prompts,
    /// A list of texts.
    Texts,
    /// A list of texts and objects.
    Documents,
    /// A list.
    Anything,
}

/// How the entries of an answer find their items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// By their index where they have one, else by their place.
    Index,
    /// By their index; their order is a ranking by the JSON member of this name, the highest first.
    Ranked(&'static str),
    /// By their place.
    Place,
}

/// What a JSON member of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Items,
    Count,
    Top,
    /// It must be null or false, else the request travels alone.
    Alone,
    /// It is one of them to a reader that ignores case.
    Twin,
    Parameter,
}

/// Items that were found.
struct Found {
    span: Range<usize>,
    items: usize,
    bytes: usize,
    /// What they are, in the place where they stood: texts and tokens cannot travel together.
    kind: &'static [u8],
}

/// With which any request travels alone: its answer comes in parts.
const STREAM: &str = "stream";

impl List<'_> {
    /// The member that a request with this body is; none where it must travel alone.
    pub(super) fn read(&self, body: Bytes) -> Option<Member> {
        let mut cursor = Cursor::new(&body);
        if !sound::is_sound(&body) || cursor.peek() != b'{' {
            return None;
        }
        cursor.enter();
        let (mut found, mut each, mut top, mut has_top) = (None, 1, None, false);
        while let Some(key) = cursor.next_key() {
            let role = self.role(&text_of(cursor.text(&key))?);
            if role == Role::Items {
                found = Some(self.accepted.read(&mut cursor)?);
                continue;
            }
            let value = cursor.skip();
            let value = cursor.text(&value);
            match role {
                Role::Count if value != b"null" => each = at_least_one(value)?,
                // It is taken out, so that nothing else would notice a second one.
                Role::Top if has_top => return None,
                Role::Top => {
                    has_top = true;
                    // Zero is all to some engines and an error to others.
                    top = if value == b"null" { None } else { Some(at_least_one(value)?) };
                }
                Role::Alone if !matches!(value, b"null" | b"false") => return None,
                Role::Twin => return None,
                Role::Items | Role::Count | Role::Alone | Role::Parameter => {}
            }
        }
        let Found { span, items, bytes, kind } = found?;
        let parameters = canonical::digest(&self.written(&body, |out| out.extend_from_slice(kind)))?;
        let lists = vec![Items { span, width: 1 }];
        Some(Member { body, frame: None, parameters, items, bytes, lists, each, top, id: None })
    }

    /// The body of one call for all of `members`.
    pub(super) fn merge(&self, members: &[&Member]) -> Vec<u8> {
        let Some(first) = members.first() else { return Vec::new() };
        self.written(first.frame(), |out| {
            out.push(b'[');
            write_joined(out, members.iter().map(|member| member.text(0)));
            out.push(b']');
        })
    }

    /// The request of which pieces are written: it has no items.
    pub(super) fn frame(&self, body: &[u8]) -> Vec<u8> {
        self.written(body, |out| out.extend_from_slice(b"[]"))
    }

    /// A request with other items, and without what is a member's own.
    fn written(&self, body: &[u8], items: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        rewrite(&mut Cursor::new(body), &mut out, &mut |name, cursor, out| match self.role(name) {
            Role::Items => {
                cursor.skip();
                items(out);
                Change::Written
            }
            Role::Top => Change::Dropped,
            Role::Count | Role::Alone | Role::Twin | Role::Parameter => Change::Kept,
        });
        out
    }

    /// JSON members with which a request travels alone, whatever its protocol too.
    pub(super) fn alone(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.alone.iter().copied().chain([STREAM])
    }

    fn role(&self, name: &str) -> Role {
        let named = [(Some(self.items), Role::Items), (self.count, Role::Count), (self.top, Role::Top)];
        let named = named.into_iter().filter_map(|(name, role)| Some((name?, role)));
        let alone = self.alone().map(|name| (name, Role::Alone));
        let mut roles = named.chain(alone);
        let exact = roles.clone().find(|(known, _)| *known == name);
        let twin = roles.any(|(known, _)| folds_to(known, name.as_bytes())).then_some(Role::Twin);
        exact.map(|(_, role)| role).or(twin).unwrap_or(Role::Parameter)
    }
}

impl Accepted {
    /// The items that come next; none where they are not what they may be, or there is none.
    fn read(self, cursor: &mut Cursor<'_>) -> Option<Found> {
        let one = |span: Range<usize>, kind| Found { bytes: span.len(), span, items: 1, kind };
        match (cursor.peek(), self) {
            (b'"', Self::Prompts) => return Some(one(cursor.skip(), TEXTS)),
            (b'[', _) => {}
            _ => return None,
        }
        let mut inside = *cursor;
        inside.enter();
        if self == Self::Prompts && inside.peek().is_ascii_digit() {
            let span = cursor.skip();
            return are_tokens(cursor.text(&span)).then(|| one(span, TOKENS));
        }
        let mut found: Option<Found> = None;
        *cursor = inside;
        while cursor.next_value() {
            let first = cursor.peek();
            let value = cursor.skip();
            let kind = self.kind(first, cursor.text(&value))?;
            let found = found.get_or_insert(Found { span: value.clone(), items: 0, bytes: 0, kind });
            if found.kind != kind {
                return None;
            }
            found.span.end = value.end;
            found.items += 1;
            found.bytes += value.len();
        }
        found
    }

    /// What an item of a list is, by its first byte.
    fn kind(self, first: u8, item: &[u8]) -> Option<&'static [u8]> {
        match (self, first) {
            (Self::Prompts, b'"') => Some(TEXTS),
            (Self::Prompts, b'[') if are_tokens(item) => Some(TOKENS),
            (Self::Texts, b'"') | (Self::Documents, b'"' | b'{') | (Self::Anything, _) => Some(TEXTS),
            (Self::Prompts | Self::Texts | Self::Documents, _) => None,
        }
    }
}

const TEXTS: &[u8] = b"\"items\"";
const TOKENS: &[u8] = b"\"tokens\"";

/// Whether a list is one of token ids: whole numbers, and at least one.
fn are_tokens(list: &[u8]) -> bool {
    let inside = list.get(1..list.len().saturating_sub(1)).unwrap_or_default();
    let fits = |byte: &u8| matches!(byte, b'0'..=b'9' | b',' | b' ' | b'\t' | b'\r' | b'\n');
    inside.iter().all(fits) && inside.iter().any(u8::is_ascii_digit)
}

/// A whole number as written in nothing but digits.
pub(super) fn whole(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn at_least_one(value: &[u8]) -> Option<usize> {
    whole(value).and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0)
}

/// Writes lists into one, each of them without its brackets.
pub(super) fn write_joined<'i>(out: &mut Vec<u8>, lists: impl Iterator<Item = &'i [u8]>) {
    for (position, list) in lists.filter(|list| !list.is_empty()).enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(list);
    }
}
