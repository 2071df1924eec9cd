//! The texts of a document: its strings that are values, each with its place.

use super::decoded::Decoded;
use super::fault::JsonFault;
use super::selection::{Place, Selection};
use super::walker::{Container, Listener, Told};
use crate::base::limits::PARAM_BYTES_MAX;

/// Hears the texts of a body.
pub trait Hears {
    /// A text, in the field `field`: `messages[0].content`.
    fn hear(&mut self, field: &str, text: &Decoded);

    /// How many bytes of each text matter, if not all.
    fn most(&self) -> Option<usize> {
        None
    }
}

/// Tells of the texts that a selection means.
#[derive(Debug)]
pub struct Texts<'s, H> {
    selection: &'s Selection,
    hears: H,
    /// The open containers.
    open: Vec<Open>,
    /// Where the value at hand stands.
    here: Place,
    field: String,
    text: Decoded,
    /// The text at hand stands under a name of what is seen, heard or fetched, not read: a data URL in it is left out.
    is_url: bool,
    /// It is one.
    is_data: bool,
    key: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    kind: Container,
    place: Place,
    /// How much of `field` it has.
    field: usize,
    items: usize,
    is_url: bool,
}

/// Names under which engines look for what is seen, heard or fetched (OpenAI's API: content parts of images, sound and files).
const URLS: [&[u8]; 5] = [b"url", b"image_url", b"video_url", b"file_data", b"input_audio"];
const DATA: &[u8] = b"data:";
/// What stands between that and the bytes of a data URL (RFC 2397): a media type, its parameters, and the way they are written.
const DATA_HEAD_BYTES_MAX: usize = 128;
const BASE64: &[u8] = b";base64";
/// Longest key that matters: what is selected has a name, and a name has a bound.
const KEY_BYTES_MAX: usize = 256;

impl<'s, H: Hears> Texts<'s, H> {
    /// Of a document, for `hears`.
    pub fn new(selection: &'s Selection, hears: H) -> Self {
        let here = selection.root();
        Self {
            selection,
            text: Decoded::up_to(hears.most()),
            hears,
            open: Vec::new(),
            here,
            field: String::new(),
            is_url: false,
            is_data: false,
            key: Vec::new(),
        }
    }

    /// Who hears.
    pub fn hearer(&mut self) -> &mut H {
        &mut self.hears
    }

    /// Who heard.
    pub fn into_hearer(self) -> H {
        self.hears
    }

    /// A value begins: in a list it is the next item.
    fn value(&mut self) {
        if let Some(Open { kind: Container::Array, place, field, items, is_url }) = self.open.last_mut() {
            self.field.truncate(*field);
            if self.field.len() < PARAM_BYTES_MAX {
                self.field.push_str(&format!("[{items}]"));
            }
            *items += 1;
            (self.here, self.is_url) = (self.selection.item(*place), *is_url);
        }
    }

    /// A key ended: its value follows.
    fn key(&mut self) {
        let Some(Open { place, field, .. }) = self.open.last() else { return };
        self.field.truncate(*field);
        if self.field.len() < PARAM_BYTES_MAX {
            if !self.field.is_empty() {
                self.field.push('.');
            }
            self.field.push_str(&String::from_utf8_lossy(&self.key));
        }
        (self.here, self.is_url) = (self.selection.member(*place, &self.key), URLS.contains(&&self.key[..]));
    }
}

/// Whether a text begins as a data URL of bytes; one that holds text is one like any other.
fn is_data(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(DATA) else { return false };
    let head = &rest[..rest.len().min(DATA_HEAD_BYTES_MAX)];
    let Some(end) = head.iter().position(|byte| *byte == b',') else { return false };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/;=.+-_\"".contains(byte);
    head[..end].ends_with(BASE64) && head[..end].iter().all(is_plain)
}

impl<H: Hears> Listener for Texts<'_, H> {
    fn open(&mut self, kind: Container, _: u64) -> Result<(), JsonFault> {
        self.value();
        let (place, is_url) = (self.here, self.is_url);
        self.open.push(Open { kind, place, field: self.field.len(), items: 0, is_url });
        Ok(())
    }

    fn close(&mut self, _: u64) -> Result<(), JsonFault> {
        self.open.pop();
        Ok(())
    }

    fn begin(&mut self, what: Told) -> bool {
        match what {
            Told::Key => self.key.clear(),
            Told::Number => {
                self.value();
                return false;
            }
            Told::Text => self.value(),
        }
        self.is_data = false;
        self.text.begin();
        what == Told::Key || self.here.is_meant
    }

    fn bytes(&mut self, bytes: &[u8], at: u64) {
        if self.is_data {
            return;
        }
        self.text.push(bytes, at);
        if self.is_url && is_data(self.text.bytes()) {
            self.is_data = true;
        }
    }

    fn unit(&mut self, unit: u16, at: u64) {
        if !self.is_data {
            self.text.push_unit(unit, at);
        }
    }

    fn end(&mut self, what: Told, at: u64) -> Result<(), JsonFault> {
        match what {
            Told::Key => {
                self.text.end(at);
                let key = self.text.bytes();
                self.key.extend_from_slice(&key[..key.len().min(KEY_BYTES_MAX)]);
                self.key();
            }
            Told::Text if self.here.is_meant && !self.is_data => {
                self.text.end(at);
                self.hears.hear(&self.field, &self.text);
            }
            Told::Text | Told::Number => {}
        }
        Ok(())
    }

    fn word(&mut self, _: &'static [u8], _: u64) -> Result<(), JsonFault> {
        self.value();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::walker::Walker;
    use super::*;

    struct All(Vec<String>);

    impl Hears for All {
        fn hear(&mut self, field: &str, text: &Decoded) {
            self.0.push(format!("{field}={}", text.text()));
        }
    }

    fn texts(paths: &[&str], document: &str) -> Vec<String> {
        let mut selection = Selection::default();
        paths.iter().for_each(|path| selection.add(path).unwrap());
        let heard = |piece: usize| {
            let mut walker = Walker::new(Texts::new(&selection, All(Vec::new())));
            document.as_bytes().chunks(piece).for_each(|piece| walker.feed(piece).unwrap());
            walker.finish().unwrap();
            walker.into_listener().into_hearer().0
        };
        let whole = heard(usize::MAX);
        assert_eq!(heard(1), whole, "byte by byte: {document}");
        whole
    }

    #[test]
    fn texts_are_told_with_their_places() {
        let document = r#"{"model":"m","messages":[{"role":"user","content":"a\u0062"},{"content":[{"type":"text","text":"c"},{"image_url":{"url":"data:image/png;base64,x"}}]},
            {"Content":"d","n":[1,null,{"x":[]}]}],"prompt":["e",["f"]],"prompts":"g"}"#;
        assert_eq!(
            texts(&["messages[*].content"], document),
            [
                "messages[0].content=ab",
                "messages[1].content[0].type=text",
                "messages[1].content[0].text=c",
                "messages[2].Content=d"
            ]
        );
        assert_eq!(texts(&["prompt"], document), ["prompt[0]=e", "prompt[1][0]=f"]);
        assert_eq!(texts(&["prompt[*]"], document), ["prompt[0]=e", "prompt[1][0]=f"]);
        assert_eq!(texts(&["prompt[*][*]"], document), ["prompt[1][0]=f"]);
        assert_eq!(texts(&["role", "messages.content"], document), Vec::<String>::new());
        assert_eq!(texts(&[], document).len(), 9);
        assert_eq!(texts(&[], "\"x\""), ["=x"]);
        assert_eq!(texts(&[], r#"[["x"],"y"]"#), ["[0][0]=x", "[1]=y"]);
    }

    #[test]
    fn a_data_url_is_left_out_where_nobody_reads_it_as_text() {
        for (document, heard) in [
            (r#"{"url":"data:image/png;base64,abc"}"#, 0),
            (r#"{"image_url":"d\u0061ta:;base64,x"}"#, 0),
            (r#"{"input_audio":{"data":"data:;base64,x"}}"#, 1),
            (r#"{"url":["data:image/png;base64,x"]}"#, 0),
            (r#"{"url":"data:,x"}"#, 1),
            (r#"{"url":"data: no such thing;base64,x"}"#, 1),
            (r#"{"inputs":[{"data":["data:image/png;base64,x"]}]}"#, 1),
            (r#"{"url":"https://example.org"}"#, 1),
            (r#"{"content":"data:image/png;base64,abc"}"#, 1),
            (r#"{"url":{"text":"data:x"}}"#, 1),
        ] {
            assert_eq!(texts(&[], document).len(), heard, "{document}");
        }
    }
}
