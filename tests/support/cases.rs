//! Reads the case table in `tests/data/h1`: one row is some bytes, the requirement they try, and all that follows.
//!
//! A row of `request-*.toml` is what a client sends; a row of `response-*.toml` is what an upstream sends. Bytes are
//! written as a string, or as a list of strings, `{ repeat = "…", times = n }` and `{ hex = "…" }`. A key that no
//! reader understands is refused, so that a row never means less than it says.

use std::path::Path;

use toml::{Table, Value};

/// What a client sends, and what follows.
#[derive(Debug, Clone)]
pub struct RequestCase {
    pub name: String,
    pub input: Vec<u8>,
    /// The requests whose heads are accepted, in order.
    pub requests: Vec<Request>,
    /// Why the bytes behind them are refused, if they are.
    pub refused: Option<Refused>,
    /// What stays unread where nothing is refused.
    pub left: Vec<u8>,
}

/// One accepted request.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, or `*`.
    pub target: String,
    /// The host that it names.
    pub authority: String,
    /// `empty`, `length` or `chunked`.
    pub framing: String,
    pub body: Vec<u8>,
    /// Whether the client lets the connection live on.
    pub keeps: bool,
    /// The fields that pass upstream, without those that the gateway writes itself.
    pub fields: Vec<Vec<u8>>,
    /// Whether the input ends, or is refused, inside its body.
    pub is_cut: bool,
    /// Status and code, where the gateway answers a well-formed request by itself.
    pub answered: Option<(u16, String)>,
}

/// How a request is refused.
#[derive(Debug, Clone)]
pub struct Refused {
    pub status: u16,
    /// The rule, by the name of its variant.
    pub by: String,
}

/// What an upstream sends, and what follows.
#[derive(Debug, Clone)]
pub struct ResponseCase {
    pub name: String,
    /// The method that asked.
    pub asked: String,
    /// The version of the client, `1.0` or `1.1`.
    pub version: String,
    pub answer: Vec<u8>,
    /// Whether the upstream closes its connection behind the answer.
    pub closes: bool,
    /// Interim answers, each as `103; name: value`.
    pub interim: Vec<String>,
    pub outcome: Outcome,
}

/// What becomes of an answer.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A final head was accepted.
    Relayed(Response),
    /// The client gets 502 with this code.
    Refused { code: String, by: String },
}

/// One relayed answer.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub reason: Vec<u8>,
    /// `empty`, `length`, `chunked` or `until-close`, as the upstream frames it.
    pub framing: String,
    /// `empty`, `length`, `chunked` or `close`, as the client gets it.
    pub to_client: String,
    /// The length that the client is told where there is no body.
    pub length: Option<String>,
    pub body: Vec<u8>,
    /// The fields that pass to the client, without those that the gateway writes itself.
    pub fields: Vec<Vec<u8>>,
    /// Bytes behind the end.
    pub left: Vec<u8>,
    /// Whether the upstream's connection may carry another exchange.
    pub reuse: bool,
    /// The rule by which the body broke off, if it did.
    pub broken: Option<String>,
}

/// All rows about requests.
pub fn request_cases() -> Vec<RequestCase> {
    rows("request-").into_iter().map(request_case).collect()
}

/// All rows about responses.
pub fn response_cases() -> Vec<ResponseCase> {
    rows("response-").into_iter().map(response_case).collect()
}

/// A table whose keys are taken one by one; one that is left over is an error.
struct Keys {
    place: String,
    table: Table,
}

impl Keys {
    fn of(place: &str, value: Value) -> Self {
        match value {
            Value::Table(table) => Self { place: place.to_owned(), table },
            other => panic!("{place}: a table is expected, not {other}"),
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.table.remove(key)
    }

    /// A string, which may be given in pieces.
    fn text(&mut self, key: &str) -> Option<String> {
        self.bytes(key).map(|bytes| String::from_utf8(bytes).expect(&self.place))
    }

    fn needed(&mut self, key: &str) -> String {
        self.text(key).unwrap_or_else(|| panic!("{}: `{key}` is missing", self.place))
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.take(key)?;
        Some(value.as_bool().unwrap_or_else(|| panic!("{}: `{key}` is true or false", self.place)))
    }

    fn bytes(&mut self, key: &str) -> Option<Vec<u8>> {
        self.take(key).map(|value| bytes(&self.place, value))
    }

    fn list(&mut self, key: &str) -> Vec<Value> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(other) => panic!("{}: `{key}` is a list, not {other}", self.place),
        }
    }

    fn status(&mut self, key: &str) -> Option<u16> {
        let value = self.take(key)?;
        let number = value.as_integer().and_then(|number| u16::try_from(number).ok());
        Some(number.unwrap_or_else(|| panic!("{}: `{key}` is a status", self.place)))
    }

    fn end(self) {
        assert!(self.table.is_empty(), "{}: unknown keys {:?}", self.place, self.table);
    }
}

fn text(place: &str, value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => panic!("{place}: a string is expected, not {other}"),
    }
}

fn bytes(place: &str, value: Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.into_bytes(),
        Value::Array(pieces) => pieces.into_iter().flat_map(|piece| bytes(place, piece)).collect(),
        other => {
            let mut keys = Keys::of(place, other);
            let piece = match keys.text("hex") {
                Some(hex) => unhex(place, &hex),
                None => {
                    let times = keys.take("times").and_then(|value| value.as_integer()).unwrap_or(1);
                    keys.needed("repeat").repeat(times as usize).into_bytes()
                }
            };
            keys.end();
            piece
        }
    }
}

fn unhex(place: &str, hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16).expect(place)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// The rows of all files whose name starts so, each with its place; names and requirements are there and unique.
fn rows(start: &str) -> Vec<Keys> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/h1");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut rows: Vec<Keys> = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with(start) {
            continue;
        }
        let document = std::fs::read_to_string(&file).unwrap();
        let mut document = Keys::of(&name, Value::Table(document.parse().expect(&name)));
        for case in document.list("case") {
            let mut keys = Keys::of(&name, case);
            keys.place = format!("{name}: {}", keys.needed("name"));
            let rule = keys.needed("rule");
            assert!(rule.starts_with("RFC ") && rule.contains(" §"), "{}: {rule}", keys.place);
            assert!(rows.iter().all(|row| row.place != keys.place), "{}: twice", keys.place);
            rows.push(keys);
        }
        document.end();
    }
    rows
}

fn request_case(mut keys: Keys) -> RequestCase {
    let name = keys.place.clone();
    let case = RequestCase {
        input: keys.bytes("input").unwrap_or_else(|| panic!("{name}: `input` is missing")),
        requests: keys.list("requests").into_iter().map(|value| request(&name, value)).collect(),
        refused: keys.take("refused").map(|value| {
            let mut keys = Keys::of(&name, value);
            let refused = Refused { status: keys.status("status").expect(&name), by: keys.needed("by") };
            keys.end();
            refused
        }),
        left: keys.bytes("left").unwrap_or_default(),
        name,
    };
    keys.end();
    case
}

fn request(place: &str, value: Value) -> Request {
    let mut keys = Keys::of(place, value);
    let body = keys.bytes("body").unwrap_or_default();
    let framing = if body.is_empty() { "empty" } else { "length" };
    let request = Request {
        method: keys.text("method").unwrap_or_else(|| "GET".to_owned()),
        target: keys.text("target").unwrap_or_else(|| "/".to_owned()),
        authority: keys.text("authority").unwrap_or_else(|| "a".to_owned()),
        framing: keys.text("framing").unwrap_or_else(|| framing.to_owned()),
        body,
        keeps: keys.flag("keeps").unwrap_or(true),
        fields: keys.list("fields").into_iter().map(|value| bytes(place, value)).collect(),
        is_cut: keys.flag("cut").unwrap_or(false),
        answered: keys.take("answered").map(|value| {
            let mut keys = Keys::of(place, value);
            let answered = (keys.status("status").expect(place), keys.needed("code"));
            keys.end();
            answered
        }),
    };
    keys.end();
    request
}

fn response_case(mut keys: Keys) -> ResponseCase {
    let name = keys.place.clone();
    let asked = keys.text("asked").unwrap_or_else(|| "GET".to_owned());
    let version = keys.text("version").unwrap_or_else(|| "1.1".to_owned());
    let answer = keys.bytes("answer").unwrap_or_else(|| panic!("{name}: `answer` is missing"));
    let closes = keys.flag("closes").unwrap_or(false);
    let interim = keys.list("interim").into_iter().map(|value| text(&name, value)).collect();
    let outcome = match (keys.take("refused"), keys.take("relayed")) {
        (Some(value), None) => {
            let mut keys = Keys::of(&name, value);
            let refused = Outcome::Refused { code: keys.needed("code"), by: keys.needed("by") };
            keys.end();
            refused
        }
        (None, Some(value)) => Outcome::Relayed(response(&name, &version, value)),
        _ => panic!("{name}: an answer is either `refused` or `relayed`"),
    };
    keys.end();
    ResponseCase { name, asked, version, answer, closes, interim, outcome }
}

fn response(place: &str, version: &str, value: Value) -> Response {
    let mut keys = Keys::of(place, value);
    let framing = keys.needed("framing");
    let to_client = match (&framing[..], version) {
        ("chunked" | "until-close", "1.0") => "close",
        ("until-close", _) => "chunked",
        (same, _) => same,
    };
    let broken = keys.text("broken");
    let left = keys.bytes("left").unwrap_or_default();
    let response = Response {
        status: keys.status("status").unwrap_or(200),
        reason: keys.bytes("reason").unwrap_or_else(|| b"OK".to_vec()),
        to_client: keys.text("to_client").unwrap_or_else(|| to_client.to_owned()),
        length: keys.text("length"),
        body: keys.bytes("body").unwrap_or_default(),
        fields: keys.list("fields").into_iter().map(|value| bytes(place, value)).collect(),
        reuse: keys.flag("reuse").unwrap_or(framing != "until-close" && broken.is_none() && left.is_empty()),
        framing,
        left,
        broken,
    };
    keys.end();
    response
}
