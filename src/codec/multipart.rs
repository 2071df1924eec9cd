//! Reads wanted parts out of a `multipart/form-data` body as it arrives: any split of bytes, files skipped.
//!
//! A form's part counts as the member of its name. A wanted part that stands twice is refused, a late one too: servers
//! differ on which of them they take (RFC 7578 §5.2). So is every form that two readers could read differently: one with
//! anything before or behind its parts, with its boundary inside a content, with a head that is not plain, or not closed.

use std::sync::Arc;

use memchr::memmem;

use super::form_texts::{FormTexts, HearsField};
use super::json::{Field, JsonFault, Member, Wanted};
use super::part_head::PartHead;
use crate::base::limits::{BODY_VALUE_BYTES_MAX, FORM_PART_HEAD_BYTES_MAX};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In front of the first delimiter, or inside a part's content.
    Content,
    /// Behind a delimiter: `--` ends the form, a line end begins a part.
    AfterDelimiter,
    /// Inside a part's head.
    Head,
    /// Behind the last delimiter.
    Done,
}

const LINE_END: &[u8] = b"\r\n";

/// Looks through one form for wanted parts.
#[derive(Debug)]
pub struct FormScanner {
    wanted: Arc<Wanted>,
    found: Vec<Member>,
    /// `--` and the boundary: with a line end in front of it, a delimiter.
    dashed: Vec<u8>,
    /// Whether the first part has begun.
    has_begun: bool,
    state: State,
    /// Bytes that belong to what is not decided yet: the beginning of a delimiter, a line, a head.
    held: Vec<u8>,
    /// How many bytes to come are no content: the line end in front of it, which may begin a delimiter all the same.
    borrowed: usize,
    /// The wanted part that this content is of.
    part: Option<usize>,
    kept: Vec<u8>,
    /// All texts, where somebody wants them, and where the next byte of a content stands.
    texts: Option<FormTexts>,
    is_text: bool,
    content_at: u64,
    fault: Option<JsonFault>,
    before: u64,
}

impl FormScanner {
    /// At the start of a form whose parts `boundary` divides.
    pub fn new(wanted: Arc<Wanted>, boundary: &[u8]) -> Self {
        let found = vec![Member::Absent; wanted.len()];
        Self {
            wanted,
            found,
            dashed: [b"--", boundary].concat(),
            has_begun: false,
            state: State::Content,
            // The first delimiter may stand at the very beginning.
            held: LINE_END.to_vec(),
            borrowed: LINE_END.len(),
            part: None,
            kept: Vec::new(),
            texts: None,
            is_text: false,
            content_at: 0,
            fault: None,
            before: 0,
        }
    }

    /// At the start of a form all of whose texts are wanted, or about `most` bytes of each: values, not files.
    pub fn of_texts(boundary: &[u8], most: Option<usize>) -> Self {
        Self { texts: Some(FormTexts::up_to(most)), ..Self::new(Arc::default(), boundary) }
    }

    /// What is known of wanted members so far, by their positions.
    pub fn members(&self) -> &[Member] {
        &self.found
    }

    /// Looks at the next bytes. A fault is final.
    pub fn feed(&mut self, input: &[u8]) -> Result<(), JsonFault> {
        self.feed_telling(input, &mut |_, _| {})
    }

    /// The same; `hears` hears of each text that ended.
    pub fn feed_telling(&mut self, input: &[u8], hears: HearsField<'_>) -> Result<(), JsonFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut at = 0;
        while at < input.len() {
            let step = match self.state {
                State::Content => self.content(&input[at..]),
                State::AfterDelimiter => self.after_delimiter(input[at], at),
                State::Head => self.head(input[at], at),
                State::Done => behind(input[at]),
            };
            at += step.inspect_err(|fault| self.fault = Some(*fault))?;
            if let Some(texts) = &mut self.texts {
                texts.tell(hears);
            }
        }
        self.before += input.len() as u64;
        Ok(())
    }

    /// The form ended.
    pub fn finish(&self) -> Result<(), JsonFault> {
        match (self.fault, self.state) {
            (Some(fault), _) => Err(fault),
            (None, State::Done) => Ok(()),
            (None, _) => Err(JsonFault::Incomplete),
        }
    }

    /// Skips or keeps content up to the next delimiter; how many bytes of `input` that took.
    fn content(&mut self, input: &[u8]) -> Result<usize, JsonFault> {
        let reach = LINE_END.len() + self.dashed.len() - 1;
        // A delimiter may have begun in what came before.
        let held = self.held.len();
        let more = input.len().min(reach);
        self.held.extend_from_slice(&input[..more]);
        if let Some(place) = memmem::find(&self.held, &self.dashed) {
            let window = std::mem::take(&mut self.held);
            self.delimited(&window[..place])?;
            return Ok(place + self.dashed.len() - held);
        }
        if more < reach {
            let surplus = self.held.len().saturating_sub(reach);
            let decided: Vec<u8> = self.held.drain(..surplus).collect();
            self.keep(&decided)?;
            return Ok(more);
        }
        let mut decided = std::mem::take(&mut self.held);
        decided.truncate(held);
        self.keep(&decided)?;
        match memmem::find(input, &self.dashed) {
            Some(place) => {
                self.delimited(&input[..place])?;
                Ok(place + self.dashed.len())
            }
            None => {
                let decided = input.len() - reach;
                self.keep(&input[..decided])?;
                self.held.extend_from_slice(&input[decided..]);
                Ok(input.len())
            }
        }
    }

    /// The boundary was found behind `before`, which ends the content if a line ends there. To some readers a lone CR or LF
    /// is enough of a line end: the boundary inside a content is no accident.
    fn delimited(&mut self, before: &[u8]) -> Result<(), JsonFault> {
        let content = before.strip_suffix(LINE_END).ok_or(JsonFault::Ambiguous)?;
        // Right behind a head its own line end would have to serve twice: to some it does.
        if self.has_begun && content.len() < self.borrowed {
            return Err(JsonFault::Ambiguous);
        }
        self.keep(content)?;
        self.end_content();
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), JsonFault> {
        let borrowed = self.borrowed.min(bytes.len());
        self.borrowed -= borrowed;
        let bytes = &bytes[borrowed..];
        let at = self.content_at;
        self.content_at += bytes.len() as u64;
        // Some readers skip what stands before the first part, others look for parts in it.
        if !self.has_begun && !bytes.is_empty() {
            return Err(JsonFault::Ambiguous);
        }
        if let (Some(texts), true) = (&mut self.texts, self.is_text) {
            texts.push(bytes, at);
        }
        if self.part.is_some() && self.kept.len() <= BODY_VALUE_BYTES_MAX {
            let room = BODY_VALUE_BYTES_MAX + 1 - self.kept.len();
            self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        Ok(())
    }

    fn end_content(&mut self) {
        self.state = State::AfterDelimiter;
        self.has_begun = true;
        if let (Some(texts), true) = (&mut self.texts, std::mem::take(&mut self.is_text)) {
            texts.end(self.content_at);
        }
        let kept = std::mem::take(&mut self.kept);
        if let Some(part) = self.part.take() {
            let fits = kept.len() <= BODY_VALUE_BYTES_MAX;
            self.found[part] = if fits { Member::Scalar(kept) } else { Member::Other };
        }
    }

    fn after_delimiter(&mut self, byte: u8, at: usize) -> Result<usize, JsonFault> {
        match (self.held.as_slice(), byte) {
            (b"-", b'-') => {
                self.held.clear();
                self.state = State::Done;
            }
            // White space that gateways of mail add (RFC 2046 §5.1.1) makes it no delimiter to many.
            ([], b' ' | b'\t') => return Err(JsonFault::Ambiguous),
            ([], b'-' | b'\r') => self.held.push(byte),
            (b"\r", b'\n') => {
                self.held.clear();
                self.state = State::Head;
            }
            _ => return Err(JsonFault::Malformed { at: self.before + at as u64 }),
        }
        Ok(1)
    }

    fn head(&mut self, byte: u8, at: usize) -> Result<usize, JsonFault> {
        self.held.push(byte);
        if self.held == b"\r\n" || self.held.ends_with(b"\r\n\r\n") {
            let head = std::mem::take(&mut self.held);
            self.content_at = self.before + at as u64 + 1;
            self.begin_part(&head)?;
            self.state = State::Content;
            // The line end of the head is looked at once more: a delimiter that begins with it is refused.
            self.held = LINE_END.to_vec();
            self.borrowed = LINE_END.len();
        } else if self.held.len() > FORM_PART_HEAD_BYTES_MAX {
            return Err(JsonFault::Malformed { at: self.before + at as u64 });
        }
        Ok(1)
    }

    fn begin_part(&mut self, head: &[u8]) -> Result<(), JsonFault> {
        let PartHead { name, is_value, is_file, is_plain } =
            PartHead::read(head).ok_or(JsonFault::Ambiguous)?;
        if let Some(texts) = &mut self.texts {
            self.is_text = !is_file;
            // In another charset it says what nobody here reads.
            if self.is_text && !is_plain {
                return Err(JsonFault::Ambiguous);
            }
            if self.is_text {
                texts.begin(name.as_deref().unwrap_or_default());
            }
        }
        let member = match name.map_or(Field::Unwanted, |name| self.wanted.field(&name)) {
            Field::Unwanted => return Ok(()),
            Field::OtherCase(member) => return Err(JsonFault::OtherCase { member }),
            Field::Wanted(member) => member,
        };
        if self.found[member] != Member::Absent {
            return Err(JsonFault::Doubled { member });
        }
        if !is_value {
            return Err(JsonFault::Ambiguous);
        }
        self.part = Some(member);
        Ok(())
    }
}

/// Behind the last delimiter only line ends may come: some readers go on looking for parts.
fn behind(byte: u8) -> Result<usize, JsonFault> {
    match byte {
        b'\r' | b'\n' => Ok(1),
        _ => Err(JsonFault::Ambiguous),
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Decoded;
    use super::*;

    #[test]
    fn all_values_are_told_with_their_places() {
        let head = |more: &str| format!("--XX\r\ncontent-disposition: form-data; name=\"{more}\r\n\r\n");
        let form = [
            &head("a\"")[..],
            "one\r\ntwo\r\n",
            &head("f\"; filename=\"x\""),
            "file\r\n",
            &head("b\""),
            "\r\n--XX--\r\n",
        ]
        .concat();
        for piece in [1, 7, form.len()] {
            let mut scanner = FormScanner::of_texts(b"XX", None);
            let mut told = Vec::new();
            let mut tell = |name: &[u8], text: &Decoded| {
                let (begin, end) = (text.place(0), text.place(text.bytes().len()));
                told.push((name.to_vec(), text.text().into_owned(), begin, end));
            };
            form.as_bytes().chunks(piece).for_each(|piece| scanner.feed_telling(piece, &mut tell).unwrap());
            scanner.finish().unwrap();
            let at = |text: &str| form.find(text).unwrap() as u64;
            let end = form.find("\r\n\r\n\r\n").unwrap() as u64 + 4;
            assert_eq!(
                told,
                [
                    (b"a".to_vec(), "one\r\ntwo".into(), at("one"), at("two") + 3),
                    (b"b".to_vec(), "".into(), end, end)
                ]
            );
        }
        let mut other = FormScanner::of_texts(b"XX", None);
        let text = format!(
            "{}x",
            head("a\"").replace("\r\n\r\n", "\r\ncontent-type: text/plain; charset=utf-16\r\n\r\n")
        );
        assert_eq!(other.feed(text.as_bytes()), Err(JsonFault::Ambiguous));
    }

    fn wanted() -> Arc<Wanted> {
        let mut wanted = Wanted::default();
        assert_eq!((wanted.add("model"), wanted.add("metadata.tier")), (Some(0), Some(1)));
        Arc::new(wanted)
    }

    fn scan(text: &[u8]) -> Result<Member, JsonFault> {
        let run = |pieces: &[&[u8]]| {
            let mut scanner = FormScanner::new(wanted(), b"XX");
            pieces.iter().try_for_each(|piece| scanner.feed(piece))?;
            scanner.finish()?;
            Ok(scanner.members()[0].clone())
        };
        let whole = run(&[text]);
        assert_eq!(run(&text.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
        for at in 0..text.len() {
            assert_eq!(run(&[&text[..at], &text[at..]]), whole, "cut at {at}");
        }
        whole
    }

    fn part(disposition: &str, content: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\nX-More: 1\r\n\r\n{content}\r\n")
    }

    #[test]
    fn the_part_is_found_before_and_behind_files() {
        let file = part("name=\"file\"; filename=\"model\"", "\r\n--X\r\nname=\"model\"\r\n--XY-\r\n--");
        let model = part("name=\"model\"", "whisper-1");
        let found = Ok(Member::Scalar(b"whisper-1".to_vec()));
        assert_eq!(scan(format!("{file}{model}--XX--\r\n").as_bytes()), found);
        assert_eq!(scan(format!("\r\n{model}{file}--XX--").as_bytes()), found);
        assert_eq!(scan(format!("{}--XX--", part("name=model", "")).as_bytes()), Ok(Member::Scalar(vec![])));
        assert_eq!(scan(format!("{file}--XX\r\n\r\nbare\r\n--XX--").as_bytes()), Ok(Member::Absent));
    }

    #[test]
    fn doubled_and_broken_forms_are_refused() {
        let model = part("name=\"model\"", "a");
        assert_eq!(scan(format!("{model}{model}--XX--").as_bytes()), Err(JsonFault::Doubled { member: 0 }));
        assert_eq!(scan(model.as_bytes()), Err(JsonFault::Incomplete));
        assert_eq!(scan(b""), Err(JsonFault::Incomplete));
        assert!(matches!(scan(b"--XXY\r\n"), Err(JsonFault::Malformed { at: 4 })));
        assert!(matches!(scan(b"--XX\n"), Err(JsonFault::Malformed { .. })));
        let endless = format!("--XX\r\nx: {}", "a".repeat(FORM_PART_HEAD_BYTES_MAX));
        let mut scanner = FormScanner::new(wanted(), b"XX");
        assert!(matches!(scanner.feed(endless.as_bytes()), Err(JsonFault::Malformed { .. })));
    }

    #[test]
    fn forms_that_readers_differ_on_are_refused() {
        let model = part("name=\"model\"", "ok");
        let other = part("name=\"x\"", "y");
        for form in [
            format!("before\r\n{model}--XX--"),
            format!("{model}--XX--after"),
            format!("{model}--XX--\r\n{model}--XX--"),
            format!("{other}--XX  \r\n\r\nbare\r\n--XX--"),
            part("name=\"x\"", "a\n--XX\nContent-Disposition: form-data; name=\"model\"\n\nsecret")
                + "--XX--",
            part("name=\"x\"", "a--XX") + "--XX--",
            format!("--XX\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n{model}--XX--"),
            part("name=\"model\"; filename=\"\"", "secret") + "--XX--",
            part("name=\"model\"; filename=\"x\"", "secret") + "--XX--",
            part("name=\"x\"; name=\"model\"", "secret") + "--XX--",
        ] {
            assert_eq!(scan(form.as_bytes()), Err(JsonFault::Ambiguous), "{form}");
        }
        let cased = part("name=\"MODEL\"", "secret") + "--XX--";
        assert_eq!(scan(cased.as_bytes()), Err(JsonFault::OtherCase { member: 0 }));
    }
}
