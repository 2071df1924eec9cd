//! Which kind of body a request has, and its wanted members as it arrives.

use std::sync::Arc;

use super::declared::Declared;
use super::field::FieldName;
use super::fields::Head;
use super::framing::Framing;
use super::head::RequestHead;
use super::json::walker::Walker;
use super::json::{JsonFault, Member, Opening, Seeker, Seeks, Set, Start, Wanted};
use super::media_type::{Charset, MediaType};
use super::multipart::FormScanner;
use super::urlencoded::PairScanner;

/// What was seen of a body.
#[derive(Debug, Clone, Copy)]
pub enum BodySeen<'b> {
    /// A JSON object or a form: its wanted members by their positions.
    Members(&'b [Member]),
    /// No body, or another kind of body: no condition on it fits.
    Nothing,
}

/// Whether a body can be looked into, as far as its head tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is none.
    Absent,
    /// It is compressed.
    Encoded,
    /// It is as it was written.
    Plain,
}

/// What the head says of the body.
pub fn kind(head: &RequestHead) -> Kind {
    if head.framing() == Framing::Empty {
        return Kind::Absent;
    }
    if is_encoded(head.head()) { Kind::Encoded } else { Kind::Plain }
}

/// Whether a body is compressed, or otherwise not as it was written.
pub fn is_encoded(head: &Head) -> bool {
    let mut codings = head.values(FieldName::ContentEncoding);
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

/// Scans a body for wanted members as it arrives.
///
/// It does not fail open: what some reader could take for JSON or a form must be one that all read the same, or is a fault.
/// A body is JSON if its type says so or its first byte does: half of the field's clients send JSON under another name, and
/// half of its servers do not mind. A form is told by its type. All else is another kind of body.
#[derive(Debug)]
pub struct BodyScanner<L = Seeker> {
    declared: Declared,
    opening: Opening,
    /// Which of the two counts.
    read_as: ReadAs,
    json: Option<Json<L>>,
    form: Option<Form>,
    is_empty: bool,
    fault: Option<JsonFault>,
}

/// What a body is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAs {
    /// Its first bytes do not tell yet: as all that it may be.
    Undecided,
    /// As a JSON document.
    Json,
    /// As a form.
    Form,
    /// As nothing: another kind of body.
    Other,
}

/// What is seen of a body that is still to come in part.
#[derive(Debug, Clone, Copy)]
pub enum Sight<'b> {
    /// Its kind does not show yet.
    Nothing,
    /// A JSON object or a form: its wanted members by their positions, and those of which nothing more can come.
    Members(&'b [Member], Set),
    /// Another kind of body, whatever follows.
    Foreign,
}

#[derive(Debug)]
struct Json<L> {
    // Half a kilobyte of nesting: it lives in a body's exchange, not in each.
    walker: Box<Walker<L>>,
    /// Bytes of the document still to come, where the head tells its length: tensors follow.
    left: Option<u64>,
}

#[derive(Debug)]
enum Form {
    Parts(Box<FormScanner>),
    Pairs(Box<PairScanner>),
}

impl BodyScanner {
    /// For the body of the request with this head.
    pub fn new(head: &RequestHead, wanted: &Arc<Wanted>) -> Self {
        Self::heard_by(Seeker::new(Arc::clone(wanted)), head, wanted)
    }
}

impl<L: Seeks> BodyScanner<L> {
    /// The same; `listener`, which looks for these members, hears it where it is JSON.
    pub fn heard_by(listener: L, head: &RequestHead, wanted: &Arc<Wanted>) -> Self {
        let declared = Declared::of(head);
        let form = match &declared.media_type {
            MediaType::Form(boundary) => {
                Some(Form::Parts(Box::new(FormScanner::new(Arc::clone(wanted), boundary))))
            }
            MediaType::Pairs => Some(Form::Pairs(Box::new(PairScanner::new(Arc::clone(wanted))))),
            MediaType::Json | MediaType::UnclearForm | MediaType::Other | MediaType::Unclear => None,
        };
        let walker = Box::new(Walker::new(listener));
        let mut this = Self {
            json: Some(Json { walker, left: declared.json_bytes }),
            form,
            opening: Opening::default(),
            read_as: ReadAs::Undecided,
            is_empty: true,
            fault: declared.fault(),
            declared,
        };
        if this.declared.json_bytes.is_some() {
            this.settle(Start::Json);
        }
        this
    }

    /// Looks at the next bytes. A fault is final: the body must not be forwarded whole.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), JsonFault> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.is_empty = false;
        if let Some(json) = &mut self.json {
            json.look(bytes);
        }
        if let Some(form) = &mut self.form {
            form.look(bytes);
        }
        if self.read_as == ReadAs::Undecided {
            match self.opening.feed(bytes) {
                Some(start) => self.settle(start),
                // What is wrong with one reading is no fault if the other counts.
                None => return self.fault.map_or(Ok(()), Err),
            }
        }
        self.looked()
    }

    /// The decision, if no further byte can change it; once.
    ///
    /// A member that comes twice is a fault, so a document decides for good at its end only; what follows it, where its length
    /// is told, are tensors that no reader takes for JSON. See [`Self::sight`] for what is known before.
    pub fn settled(&mut self) -> Option<Result<BodySeen<'_>, JsonFault>> {
        match (self.read_as, &self.json, &self.form) {
            (ReadAs::Json, Some(Json { left: Some(0), .. }), None) => Some(self.finish()),
            _ => None,
        }
    }

    /// What is seen so far, where no fault was.
    pub fn sight(&self) -> Sight<'_> {
        let of_form = |members| Sight::Members(members, found(members));
        match (self.read_as, &self.json, &self.form) {
            (ReadAs::Json, Some(Json { walker, .. }), _) if walker.is_object() => {
                let seeker = walker.listener().seeker();
                Sight::Members(seeker.members(), seeker.known())
            }
            (ReadAs::Form, _, Some(Form::Parts(form))) => of_form(form.members()),
            (ReadAs::Form, _, Some(Form::Pairs(form))) => of_form(form.members()),
            (ReadAs::Other, ..) => Sight::Foreign,
            (ReadAs::Undecided | ReadAs::Json | ReadAs::Form, ..) => Sight::Nothing,
        }
    }

    /// Whether it is a JSON object, as far as it was read.
    pub fn is_object(&self) -> bool {
        matches!((self.read_as, &self.json), (ReadAs::Json, Some(json)) if json.walker.is_object())
    }

    /// What the body is read as.
    pub fn read_as(&self) -> ReadAs {
        self.read_as
    }

    /// Who hears it, once it is known to be JSON.
    pub fn listener_mut(&mut self) -> Option<&mut L> {
        match (self.read_as, &mut self.json) {
            (ReadAs::Json, Some(json)) => Some(json.walker.listener_mut()),
            _ => None,
        }
    }

    /// Bytes of the body that may be needed for a decision; none where all of them may.
    pub fn needs(&self) -> Option<u64> {
        self.declared.json_bytes
    }

    /// The body ended.
    pub fn finish(&mut self) -> Result<BodySeen<'_>, JsonFault> {
        if self.is_empty {
            return Ok(BodySeen::Nothing);
        }
        if self.read_as == ReadAs::Undecided {
            self.settle(Start::Other);
        }
        if let Some(Form::Pairs(pairs)) = &mut self.form {
            // Its last name ends here, and may be a wanted one.
            pairs.end();
        }
        self.looked()?;
        match (self.read_as, &mut self.json, &mut self.form) {
            (ReadAs::Json, Some(json), pairs) => {
                json.finish()?;
                // The one reader finds a member where the other finds none, or another one.
                if matches!(pairs, Some(Form::Pairs(pairs)) if pairs.touches_wanted()) {
                    return Err(JsonFault::Ambiguous);
                }
                Ok(match json.walker.is_object() {
                    true => BodySeen::Members(json.walker.listener().seeker().members()),
                    false => BodySeen::Nothing,
                })
            }
            (ReadAs::Form, _, Some(Form::Parts(form))) => {
                form.finish()?;
                Ok(BodySeen::Members(form.members()))
            }
            (ReadAs::Form, _, Some(Form::Pairs(form))) => Ok(BodySeen::Members(form.members())),
            (ReadAs::Undecided | ReadAs::Json | ReadAs::Form | ReadAs::Other, ..) => Ok(BodySeen::Nothing),
        }
    }

    /// Decides what the body is read as, by how it begins.
    fn settle(&mut self, start: Start) {
        let media_type = &self.declared.media_type;
        self.read_as = match (start, media_type) {
            (Start::Json, _) | (Start::Other, MediaType::Json) => ReadAs::Json,
            (Start::Other, MediaType::Form(_) | MediaType::Pairs) => ReadAs::Form,
            (Start::Other, MediaType::Other) => ReadAs::Other,
            (Start::Other, MediaType::UnclearForm | MediaType::Unclear) => {
                self.fault = Some(JsonFault::Ambiguous);
                ReadAs::Other
            }
        };
        match self.read_as {
            // A form's delimiter cannot stand in JSON, which has no line end inside a string. Pairs can.
            ReadAs::Json => {
                self.form = self.form.take().filter(|form| matches!(form, Form::Pairs(_)));
                if self.declared.charset == Charset::Other {
                    self.fault = Some(JsonFault::Ambiguous);
                }
            }
            ReadAs::Form => self.json = None,
            ReadAs::Other => (self.json, self.form) = (None, None),
            ReadAs::Undecided => {}
        }
    }

    /// What is wrong with the bytes so far, read as what counts.
    fn looked(&mut self) -> Result<(), JsonFault> {
        let looked = match (self.read_as, &mut self.json, &mut self.form) {
            (ReadAs::Json, Some(json), _) => json.walker.feed(&[]),
            (ReadAs::Form, _, Some(Form::Parts(form))) => form.feed(&[]),
            (ReadAs::Form, _, Some(Form::Pairs(form))) => form.feed(&[]),
            (ReadAs::Undecided | ReadAs::Json | ReadAs::Form | ReadAs::Other, ..) => Ok(()),
        };
        self.fault = self.fault.or(looked.err());
        self.fault.map_or(Ok(()), Err)
    }
}

/// The positions of those members that were found.
fn found(members: &[Member]) -> Set {
    let found = members.iter().enumerate().filter(|(_, member)| **member != Member::Absent);
    found.fold(0, |set, (position, _)| set | 1 << position)
}

impl<L: Seeks> Json<L> {
    /// Looks at the next bytes; a fault stays with the scanner, for it may be no fault of the body.
    fn look(&mut self, bytes: &[u8]) {
        let mut document = bytes;
        if let Some(left) = &mut self.left {
            document = &bytes[..bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
            *left -= document.len() as u64;
        }
        let _ = self.walker.feed(document);
    }

    fn finish(&mut self) -> Result<(), JsonFault> {
        match self.left {
            Some(1..) => Err(JsonFault::Incomplete),
            Some(0) | None => self.walker.finish(),
        }
    }
}

impl Form {
    /// Looks at the next bytes; a fault stays with the scanner, for it may be no fault of the body.
    fn look(&mut self, bytes: &[u8]) {
        let _ = match self {
            Self::Parts(form) => form.feed(bytes),
            Self::Pairs(form) => form.feed(bytes),
        };
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::rng::Rng;
    use crate::codec::fields::FieldTable;
    use crate::codec::split::split_request;

    fn scan(fields: &str, pieces: &[&[u8]]) -> Result<Option<Vec<Member>>, JsonFault> {
        let text = format!("POST / HTTP/1.1\r\nhost: x\r\n{fields}content-length: 9\r\n\r\n");
        let head = split_request(Bytes::from(text), FieldTable::default()).unwrap();
        let mut wanted = Wanted::default();
        wanted.add("model").unwrap();
        wanted.add("metadata.tier").unwrap();
        let mut scanner = BodyScanner::new(&head, &Arc::new(wanted));
        let told = |seen: BodySeen<'_>| match seen {
            BodySeen::Members(members) => Some(members.to_vec()),
            BodySeen::Nothing => None,
        };
        let mut settled = None;
        for piece in pieces {
            scanner.feed(piece)?;
            if settled.is_none() {
                settled = scanner.settled().map(|seen| seen.map(told));
            }
        }
        let seen = scanner.finish().map(told);
        assert!(settled.is_none_or(|settled| settled == seen), "what came later changed it: {pieces:?}");
        seen
    }

    /// What a body is seen as does not depend on the pieces in which it comes.
    #[test]
    fn any_split_of_a_body_is_seen_as_the_same() {
        let leads: [&[u8]; 12] = [
            b"",
            b" \r\n\t",
            b"\x0C",
            b" \x0B ",
            b"\0",
            b" \0\0",
            b"\xEF\xBB\xBF",
            b" \xEF\xBB\xBF",
            b"\xEF\xBB",
            b"\xFF\xFE",
            b"\xFE\xFF\0",
            b"\r\n",
        ];
        let bodies: [&[u8]; 16] = [
            br#"{"model":"a","x":[NaN,-Infinity,1]}"#,
            br#"{"mode\u006C":"\ud83d\ude00\\","metadata":{"tier":NaN}}"#,
            br#"{"Model":"a"}"#,
            br#"{"model":1,"model":2}"#,
            br#"{"model":"a""#,
            br#"{"model":"a"} {"#,
            br#"{"a":"&model=b&%6dodel=c"}"#,
            b"[1, Infinity]",
            b"\"text\"",
            b"{\0\"\0",
            b"model=a&x=%20+%7b&metadata.tier=b",
            b"model=a;model=b",
            b"--XX\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\na\r\n--XX--\r\n",
            b"--XX\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n\r\n--X\n--XX\r\n--XX--",
            b"hello",
            b"",
        ];
        let fields = [
            "",
            "content-type: application/json\r\n",
            "content-type: text/plain; charset=utf-16\r\n",
            "content-type: multipart/form-data; boundary=XX\r\n",
            "content-type: multipart/form-data\r\n",
            "content-type: application/x-www-form-urlencoded\r\n",
            "content-type: application/octet-stream\r\ninference-header-content-length: 13\r\n",
        ];
        let mut rng = Rng::new(7);
        for fields in fields {
            for (lead, body) in leads.iter().flat_map(|lead| bodies.map(|body| (lead, body))) {
                let text = [*lead, body].concat();
                let whole = scan(fields, &[&text]);
                let told = || format!("{fields:?} {:?}", text.escape_ascii().to_string());
                assert_eq!(
                    scan(fields, &text.chunks(1).collect::<Vec<_>>()),
                    whole,
                    "byte by byte: {}",
                    told()
                );
                for at in 0..text.len() {
                    assert_eq!(scan(fields, &[&text[..at], &text[at..]]), whole, "cut at {at}: {}", told());
                }
                let mut rest = &text[..];
                let mut pieces = Vec::new();
                while !rest.is_empty() {
                    let (piece, tail) = rest.split_at(rng.below(rest.len().min(9) as u64 + 1) as usize);
                    pieces.push(piece);
                    rest = tail;
                }
                assert_eq!(scan(fields, &pieces), whole, "in {} pieces: {}", pieces.len(), told());
            }
        }
    }
}
