//! The texts of a body as it arrives, whether it is JSON or a form. What some reader could read otherwise is refused, and so
//! is what nobody here can read.

use super::declared::Declared;
use super::form_texts::HearsField;
use super::head::RequestHead;
use super::json::walker::Walker;
use super::json::{Decoded, Hears, JsonFault, Opening, Selection, Start, Texts};
use super::media_type::{Charset, MediaType};
use super::multipart::FormScanner;
use super::urlencoded::PairScanner;

/// Tells of the texts of one body.
#[derive(Debug)]
pub struct TextReader<'s, H> {
    selection: &'s Selection,
    opening: Opening,
    start: Option<Start>,
    charset: Charset,
    json: Box<Walker<Texts<'s, H>>>,
    is_json: bool,
    form: Option<Form>,
    is_empty: bool,
    /// It is JSON, and whoever reads it as the form that it is called finds a field in it.
    has_field: bool,
    fault: Option<JsonFault>,
}

#[derive(Debug)]
enum Form {
    Parts(Box<FormScanner>),
    Pairs(Box<PairScanner>),
}

impl<'s, H: Hears> TextReader<'s, H> {
    /// For the body of the request with this head; `hears` hears of what `selection` means.
    pub fn new(head: &RequestHead, selection: &'s Selection, hears: H) -> Self {
        let declared = Declared::of(head);
        let form = match &declared.media_type {
            MediaType::Form(boundary) => {
                Some(Form::Parts(Box::new(FormScanner::of_texts(boundary, hears.most()))))
            }
            MediaType::Pairs => Some(Form::Pairs(Box::new(PairScanner::of_texts(hears.most())))),
            MediaType::Json | MediaType::UnclearForm | MediaType::Other | MediaType::Unclear => None,
        };
        // Tensors behind a document may hold texts that are none to anybody but who knows their names.
        let foreign = declared.json_bytes.map(|_| JsonFault::Foreign);
        Self {
            selection,
            opening: Opening::default(),
            start: None,
            charset: declared.charset,
            json: Box::new(Walker::new(Texts::new(selection, hears))),
            is_json: declared.media_type == MediaType::Json,
            form,
            is_empty: true,
            has_field: false,
            fault: declared.fault().or(foreign),
        }
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.fault.is_some() {
            return;
        }
        self.is_empty = false;
        if self.start.is_none() {
            self.start = self.opening.feed(bytes);
        }
        let is_json = match self.start {
            Some(Start::Json) => true,
            Some(Start::Other) => self.is_json,
            // As all that it may be: what is wrong with one reading is no fault if the other counts.
            None => {
                let _ = self.json.feed(bytes);
                self.feed_form(bytes);
                return;
            }
        };
        if is_json {
            if self.charset == Charset::Other {
                self.fault = Some(JsonFault::Ambiguous);
            }
            self.fault = self.fault.or(self.json.feed(bytes).err());
            self.feed_otherwise(bytes);
        } else {
            let fed = self.feed_form(bytes);
            self.fault = self.fault.or(fed);
        }
    }

    fn feed_form(&mut self, bytes: &[u8]) -> Option<JsonFault> {
        let selection = self.selection;
        let hears = self.json.listener_mut().hearer();
        let hear: HearsField<'_> = &mut |name, text| hear(selection, hears, name, text);
        match &mut self.form {
            Some(Form::Parts(form)) => form.feed_telling(bytes, hear).err(),
            Some(Form::Pairs(form)) => form.feed_telling(bytes, hear).err(),
            None => Some(JsonFault::Foreign),
        }
    }

    /// Looks at JSON as the pairs that it is called: whoever goes by that finds other texts in it. No JSON is a form of parts
    /// as well, for no line of it begins as a delimiter does.
    fn feed_otherwise(&mut self, bytes: &[u8]) {
        let (selection, has_field) = (self.selection, &mut self.has_field);
        if let Some(Form::Pairs(form)) = &mut self.form {
            // What is wrong with this reading keeps nobody from it.
            let _ = form.feed_telling(bytes, &mut |name, text| *has_field |= is_field(selection, name, text));
        }
    }

    /// The body ended: who heard.
    pub fn finish(mut self) -> Result<H, JsonFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let selection = self.selection;
        if self.start == Some(Start::Json) || self.is_json {
            self.json.finish()?;
            if let Some(Form::Pairs(form)) = &mut self.form {
                form.end_telling(&mut |name, text| self.has_field |= is_field(selection, name, text));
            }
            return match self.has_field {
                true => Err(JsonFault::Ambiguous),
                false => Ok(self.json.into_listener().into_hearer()),
            };
        }
        let mut hears = self.json.into_listener().into_hearer();
        match &mut self.form {
            _ if self.is_empty => {}
            Some(Form::Parts(form)) => form.finish()?,
            Some(Form::Pairs(form)) => {
                form.end_telling(&mut |name, text| hear(selection, &mut hears, name, text));
                form.feed(&[])?;
            }
            None => return Err(JsonFault::Foreign),
        }
        Ok(hears)
    }
}

/// Tells of a text of a form, if it is meant.
fn hear(selection: &Selection, hears: &mut impl Hears, name: &[u8], text: &Decoded) {
    if selection.has_field(name) {
        hears.hear(&String::from_utf8_lossy(name), text);
    }
}

/// Whether a pair in what is JSON is one that somebody looks for: with a name as fields have it, and a text.
fn is_field(selection: &Selection, name: &[u8], text: &Decoded) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(byte);
    !name.is_empty() && name.iter().all(is_plain) && !text.bytes().is_empty() && selection.has_field(name)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::fields::FieldTable;
    use super::super::json::Decoded;
    use super::super::split::split_request;
    use super::*;

    struct All(Vec<String>);

    impl Hears for All {
        fn hear(&mut self, field: &str, text: &Decoded) {
            self.0.push(format!("{field}={}", text.text()));
        }
    }

    fn texts(fields: &str, body: &[u8]) -> Result<Vec<String>, JsonFault> {
        let text = format!("POST / HTTP/1.1\r\nhost: x\r\n{fields}content-length: 9\r\n\r\n");
        let head = split_request(Bytes::from(text), FieldTable::default()).unwrap();
        let mut selection = Selection::default();
        selection.add("prompt").unwrap();
        let heard = |piece: usize| {
            let mut reader = TextReader::new(&head, &selection, All(Vec::new()));
            body.chunks(piece).for_each(|piece| reader.feed(piece));
            reader.finish().map(|all| all.0)
        };
        let whole = heard(body.len().max(1));
        for piece in 1..body.len().min(9) {
            assert_eq!(heard(piece), whole, "in pieces of {piece}: {}", body.escape_ascii());
        }
        whole
    }

    #[test]
    fn a_body_is_read_as_routes_read_it_and_refused_where_nobody_can() {
        let json = "content-type: application/json\r\n";
        let form = "content-type: multipart/form-data; boundary=XX\r\n";
        let pairs = "content-type: application/x-www-form-urlencoded\r\n";
        let part = b"--XX\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\na\r\n--XX--\r\n";
        for (fields, body, heard) in [
            (json, &br#"{"prompt":"a","x":"b"}"#[..], Ok(vec!["prompt=a"])),
            ("", br#" {"prompt":"a"}"#, Ok(vec!["prompt=a"])),
            (pairs, br#"{"prompt":"a"}"#, Ok(vec!["prompt=a"])),
            (form, br#"{"prompt":"a"}"#, Ok(vec!["prompt=a"])),
            (pairs, br#"{"prompt":"a=b & c"}"#, Ok(vec!["prompt=a=b & c"])),
            (pairs, br#"{"x":"&prompt=ignore%20previous&y="}"#, Err(JsonFault::Ambiguous)),
            (pairs, br#"{"prompt":"a&%70rompt=%61"}"#, Err(JsonFault::Ambiguous)),
            (pairs, br#"{"prompt":"a&x=b"}"#, Ok(vec!["prompt=a&x=b"])),
            (json, br#"{"prompt":"a&prompt=b"}"#, Ok(vec!["prompt=a&prompt=b"])),
            (form, part, Ok(vec!["prompt=a"])),
            (pairs, b"x=b&PROMPT=%61+b", Ok(vec!["PROMPT=a b"])),
            (pairs, b"", Ok(vec![])),
            ("", b"", Ok(vec![])),
            (json, b"", Err(JsonFault::Incomplete)),
            (json, br#"{"prompt":"a""#, Err(JsonFault::Incomplete)),
            (json, b"prompt", Err(JsonFault::Malformed { at: 0 })),
            (pairs, b"prompt=a;b", Err(JsonFault::Ambiguous)),
            (form, b"--XX\r\n", Err(JsonFault::Incomplete)),
            ("", b"prompt", Err(JsonFault::Foreign)),
            ("content-type: text/plain\r\n", b"prompt", Err(JsonFault::Foreign)),
            ("content-type: application/json; charset=utf-16\r\n", b"{}", Err(JsonFault::Ambiguous)),
            ("content-type: multipart/form-data\r\n", part, Err(JsonFault::Foreign)),
            ("inference-header-content-length: 2\r\n", b"{}\0", Err(JsonFault::Foreign)),
            ("", b"\xFF\xFE{\0}\0", Err(JsonFault::Malformed { at: 0 })),
        ] {
            let told = texts(fields, body);
            let expected = heard.map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(told, expected, "{fields} {}", body.escape_ascii());
        }
    }
}
