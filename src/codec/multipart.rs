//! Reads wanted parts out of a `multipart/form-data` body as it arrives: any split of bytes, files skipped.
//!
//! A form's part counts as the member of its name. A wanted part that stands twice is refused, a late one too: servers
//! differ on which of them they take (RFC 7578 §5.2).

use std::sync::Arc;

use memchr::memmem;

use super::json::{JsonFault, Member, Wanted};
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
    /// CR LF `--` boundary.
    delimiter: Vec<u8>,
    state: State,
    /// Bytes that belong to what is not decided yet: the beginning of a delimiter, a line, a head.
    held: Vec<u8>,
    /// How many bytes to come are no content: the line end in front of it, which may begin a delimiter all the same.
    borrowed: usize,
    /// The wanted part that this content is of.
    part: Option<usize>,
    kept: Vec<u8>,
    fault: Option<JsonFault>,
    before: u64,
}

/// The boundary that a content type names, if it is that of a form (RFC 2046 §5.1.1).
pub fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let (kind, parameters) = content_type.split_at(memchr::memchr(b';', content_type)?);
    if !kind.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    parameter(parameters, b"boundary").filter(|boundary| (1..=70).contains(&boundary.len()))
}

impl FormScanner {
    /// At the start of a form whose parts `boundary` divides.
    pub fn new(wanted: Arc<Wanted>, boundary: &[u8]) -> Self {
        let found = vec![Member::Absent; wanted.len()];
        Self {
            wanted,
            found,
            delimiter: [b"\r\n--", boundary].concat(),
            state: State::Content,
            // The first delimiter may stand at the very beginning.
            held: LINE_END.to_vec(),
            borrowed: LINE_END.len(),
            part: None,
            kept: Vec::new(),
            fault: None,
            before: 0,
        }
    }

    /// What is known of wanted members so far, by their positions.
    pub fn members(&self) -> &[Member] {
        &self.found
    }

    /// Looks at the next bytes. A fault is final.
    pub fn feed(&mut self, input: &[u8]) -> Result<(), JsonFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut at = 0;
        while at < input.len() {
            let step = match self.state {
                State::Content => Ok(self.content(&input[at..])),
                State::AfterDelimiter => self.after_delimiter(input[at], at),
                State::Head => self.head(input[at], at),
                State::Done => Ok(input.len() - at),
            };
            at += step.inspect_err(|fault| self.fault = Some(*fault))?;
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
    fn content(&mut self, input: &[u8]) -> usize {
        let reach = self.delimiter.len() - 1;
        if !self.held.is_empty() {
            // A delimiter may have begun in what came before.
            let held = self.held.len();
            let more = input.len().min(reach);
            self.held.extend_from_slice(&input[..more]);
            if let Some(place) = memmem::find(&self.held, &self.delimiter) {
                let window = std::mem::take(&mut self.held);
                self.keep(&window[..place]);
                self.end_content();
                return place + self.delimiter.len() - held;
            }
            if more < reach {
                let surplus = self.held.len().saturating_sub(reach);
                let decided: Vec<u8> = self.held.drain(..surplus).collect();
                self.keep(&decided);
                return more;
            }
            let mut decided = std::mem::take(&mut self.held);
            decided.truncate(held);
            self.keep(&decided);
        }
        match memmem::find(input, &self.delimiter) {
            Some(place) => {
                self.keep(&input[..place]);
                self.end_content();
                place + self.delimiter.len()
            }
            None => {
                let decided = input.len().saturating_sub(reach);
                self.keep(&input[..decided]);
                self.held.extend_from_slice(&input[decided..]);
                input.len()
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let borrowed = self.borrowed.min(bytes.len());
        self.borrowed -= borrowed;
        let bytes = &bytes[borrowed..];
        if self.part.is_some() && self.kept.len() <= BODY_VALUE_BYTES_MAX {
            let room = BODY_VALUE_BYTES_MAX + 1 - self.kept.len();
            self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn end_content(&mut self) {
        self.state = State::AfterDelimiter;
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
            // White space that gateways of mail added (RFC 2046 §5.1.1).
            ([], b' ' | b'\t') => {}
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
            self.begin_part(&head)?;
            self.state = State::Content;
            // An empty content is followed by a delimiter whose line end is the head's own.
            self.held = LINE_END.to_vec();
            self.borrowed = LINE_END.len();
        } else if self.held.len() > FORM_PART_HEAD_BYTES_MAX {
            return Err(JsonFault::Malformed { at: self.before + at as u64 });
        }
        Ok(1)
    }

    fn begin_part(&mut self, head: &[u8]) -> Result<(), JsonFault> {
        let Some(disposition) = disposition(head) else { return Ok(()) };
        let Some(name) = parameter(disposition, b"name") else { return Ok(()) };
        let wanted = (0..self.wanted.len())
            .find(|&position| self.wanted.name(position).is_some_and(|known| known.as_bytes() == name));
        let Some(position) = wanted else { return Ok(()) };
        if self.found[position] != Member::Absent {
            return Err(JsonFault::Doubled { member: position });
        }
        self.found[position] = Member::Other;
        // A file is no value to hold a condition against.
        if parameter(disposition, b"filename").is_none() {
            self.part = Some(position);
        }
        Ok(())
    }
}

/// The parameters of a part's Content-Disposition, if it is that of a form.
fn disposition(head: &[u8]) -> Option<&[u8]> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at(memchr::memchr(b':', line)?);
        let value = value[1..].trim_ascii();
        let is_form = name.eq_ignore_ascii_case(b"content-disposition")
            && value.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case(b"form-data"));
        is_form.then(|| &value[9..])
    })
}

/// The value of a parameter in `; a=b; c="d"`.
fn parameter(mut rest: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
    loop {
        rest = rest.trim_ascii_start().strip_prefix(b";")?.trim_ascii_start();
        let equals = rest.iter().position(|&byte| byte == b'=' || byte == b';')?;
        if rest[equals] == b';' {
            rest = &rest[equals..];
            continue;
        }
        let name = rest[..equals].trim_ascii();
        rest = &rest[equals + 1..];
        let value = match rest.strip_prefix(b"\"") {
            Some(quoted) => {
                let (value, end) = quoted_string(quoted)?;
                rest = &quoted[end..];
                value
            }
            None => {
                let end = rest.iter().position(|&byte| byte == b';').unwrap_or(rest.len());
                let value = rest[..end].trim_ascii().to_vec();
                rest = &rest[end..];
                value
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}

/// A quoted string behind its opening quote: its text, and where what follows it begins.
fn quoted_string(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut value = Vec::new();
    let mut at = 0;
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'"', _) => return Some((value, at + 1)),
            (b'\\', Some(&escaped)) if matches!(escaped, b'"' | b'\\') => {
                value.push(escaped);
                at += 2;
            }
            (&byte, _) => {
                value.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(scan(format!("before\r\n{model}{file}--XX--after").as_bytes()), found);
        assert_eq!(scan(format!("{}--XX--", part("name=model", "")).as_bytes()), Ok(Member::Scalar(vec![])));
        assert_eq!(scan(format!("{file}--XX  \r\n\r\nbare\r\n--XX--").as_bytes()), Ok(Member::Absent));
        let named = part("filename=\"a\\\"; name=x\"; NAME=\"model\"", "a");
        assert_eq!(scan(format!("{named}--XX--").as_bytes()), Ok(Member::Other), "a file is no value");
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
    fn the_boundary_is_read_from_the_content_type() {
        let read = |text: &str| boundary(text.as_bytes()).map(|found| String::from_utf8(found).unwrap());
        assert_eq!(read("multipart/form-data; boundary=abc").as_deref(), Some("abc"));
        assert_eq!(read("Multipart/Form-Data;charset=x; Boundary=\"a b\"").as_deref(), Some("a b"));
        for other in ["multipart/mixed; boundary=a", "multipart/form-data", "application/json; boundary=a"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
