//! One line of the access log: what is known of an exchange, as JSON or by a template.
//!
//! What a client says of itself (method, host, path) is cut at 2 KiB each: it chooses how long a line is.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::time::SystemTime;

use super::record::Record;
use crate::base::limits::LOG_TEXT_BYTES_MAX;

/// What a line can tell. Times are microseconds.
#[derive(Debug, Clone, Default)]
pub struct Line<'a> {
    /// When the exchange ended.
    pub time: Option<SystemTime>,
    /// Its id.
    pub request_id: &'a str,
    /// The id that the endpoint gave the answer, which the client has got instead; its first 2 KiB are written.
    pub upstream_request_id: &'a [u8],
    /// The trace it belongs to.
    pub trace_id: &'a [u8],
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The method as sent; its first 2 KiB are written.
    pub method: &'a [u8],
    /// Host and port that the client named; their first 2 KiB are written.
    pub host: &'a [u8],
    /// The path as sent, without its query: queries carry secrets. Its first 2 KiB are written.
    pub path: &'a [u8],
    /// The route.
    pub route: Option<&'a str>,
    /// Whose credential it came with.
    pub key: Option<&'a str>,
    /// The class of its request.
    pub class: Option<&'a str>,
    /// The model that its body names.
    pub model: Option<&'a str>,
    /// The beginning of its prompt, where that is asked for.
    pub prompt: Option<&'a str>,
    /// The guard that let it pass to tell of it.
    pub guard: Option<&'a str>,
    /// The cluster.
    pub cluster: Option<&'a str>,
    /// The endpoint that answered, or was tried last.
    pub endpoint: Option<&'a str>,
    /// The id of the call that carried it with others.
    pub batch_id: Option<&'a str>,
    /// How many that call carried.
    pub batch_size: Option<u64>,
    /// What was measured of it.
    pub record: &'a Record,
}

enum Value<'a> {
    Time(Option<SystemTime>),
    Address(Option<IpAddr>),
    Text(Option<&'a [u8]>),
    Number(Option<u64>),
    Truth(bool),
}

macro_rules! fields {
    ($($name:ident $value:expr;)*) => {
        /// The names of all fields, in the order of a JSON line.
        pub const FIELDS: &[&str] = &[$(stringify!($name)),*];

        impl Line<'_> {
            /// The values of all fields, in the same order.
            fn value(&self, field: usize) -> Value<'_> {
                let read: &[fn(&Self) -> Value<'_>] = &[$($value),*];
                read[field](self)
            }
        }
    };
}

fn some(bytes: &[u8]) -> Value<'_> {
    Value::Text((!bytes.is_empty()).then_some(bytes))
}

/// A text of a peer's own.
fn cut(bytes: &[u8]) -> Value<'_> {
    some(&bytes[..bytes.len().min(LOG_TEXT_BYTES_MAX)])
}

fn text(text: Option<&str>) -> Value<'_> {
    Value::Text(text.map(str::as_bytes))
}

fn number(number: u64) -> Value<'static> {
    Value::Number(Some(number))
}

fields! {
    time |line| Value::Time(line.time);
    request_id |line| some(line.request_id.as_bytes());
    upstream_request_id |line| cut(line.upstream_request_id);
    trace_id |line| some(line.trace_id);
    client |line| Value::Address(line.client);
    method |line| cut(line.method);
    host |line| cut(line.host);
    path |line| cut(line.path);
    status |line| number(line.record.status.into());
    code |line| text(line.record.code);
    route |line| text(line.route);
    key |line| text(line.key);
    class |line| text(line.class);
    guard |line| text(line.guard);
    model |line| cut(line.model.unwrap_or_default().as_bytes());
    prompt |line| text(line.prompt);
    cluster |line| text(line.cluster);
    endpoint |line| text(line.endpoint);
    batch_id |line| text(line.batch_id);
    batch_size |line| Value::Number(line.batch_size);
    attempts |line| number(line.record.attempts.into());
    reused |line| Value::Truth(line.record.reused);
    bytes_in |line| number(line.record.bytes_in);
    bytes_out |line| number(line.record.bytes_out);
    tokens |line| number(line.record.tokens);
    input_tokens |line| Value::Number(line.record.input_tokens);
    output_tokens |line| Value::Number(line.record.output_tokens);
    cached_tokens |line| Value::Number(line.record.cached_tokens);
    T_us |line| number(line.record.total_us);
    head_us |line| number(line.record.head_us);
    hold_us |line| number(line.record.hold_us);
    queue_us |line| number(line.record.queue_us);
    connect_us |line| number(line.record.connect_us);
    send_us |line| number(line.record.send_us);
    wait_us |line| number(line.record.wait_us);
    relay_us |line| number(line.record.relay_us);
    ttft_us |line| Value::Number(line.record.ttft_us);
    itl_p50_us |line| Value::Number(line.record.itl_p50_us);
    itl_max_us |line| Value::Number(line.record.itl_max_us);
    fault |line| text(line.record.fault);
    stage |line| text(line.record.stage);
    ended |line| some(line.record.ended.name().as_bytes());
}

/// How a line looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON object with all fields.
    Json,
    /// Text with fields in it.
    Template(Vec<Piece>),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// A field by its position.
    Field(usize),
}

impl Format {
    /// Reads `json`, or a template with fields in braces: `{client} {method} {path} {status}`. The error says what is
    /// wrong with it and what would be right.
    pub fn parse(written: &str) -> Result<Self, String> {
        if written == "json" {
            return Ok(Self::Json);
        }
        let mut pieces = Vec::new();
        let mut rest = written;
        while let Some((text, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or("close the brace, as in \"{status}\"")?;
            let field = FIELDS.iter().position(|field| *field == name);
            let field =
                field.ok_or_else(|| format!("leave {{{name}}} out, and use: {}", FIELDS.join(", ")))?;
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
            pieces.push(Piece::Field(field));
            rest = behind;
        }
        if pieces.is_empty() || written.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(
                "write \"json\", or one line with fields, such as \"{client} {method} {path} {status}\""
                    .into(),
            );
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self::Template(pieces))
    }

    /// Appends the line with its line end.
    pub fn write(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Json => {
                for (field, name) in FIELDS.iter().enumerate() {
                    out.extend_from_slice(if field == 0 { b"{\"" } else { b",\"" });
                    out.extend_from_slice(name.as_bytes());
                    out.extend_from_slice(b"\":");
                    write_json(&line.value(field), out);
                }
                out.extend_from_slice(b"}\n");
            }
            Self::Template(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                        Piece::Field(field) => write_plain(&line.value(*field), out),
                    }
                }
                out.push(b'\n');
            }
        }
    }
}

/// As an operator writes it.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json => f.write_str("json"),
            Self::Template(pieces) => pieces.iter().try_for_each(|piece| match piece {
                Piece::Text(text) => f.write_str(text),
                Piece::Field(field) => write!(f, "{{{}}}", FIELDS[*field]),
            }),
        }
    }
}

// Writing into a vector cannot fail, so the results below are nothing to look at.

fn write_json(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(Some(text)) => {
            let _ = serde_json::to_writer(out, &String::from_utf8_lossy(text));
        }
        Value::Number(Some(_)) | Value::Truth(_) => write_plain(value, out),
        Value::Time(Some(_)) | Value::Address(Some(_)) => {
            out.push(b'"');
            write_plain(value, out);
            out.push(b'"');
        }
        Value::Text(None) | Value::Number(None) | Value::Time(None) | Value::Address(None) => {
            out.extend_from_slice(b"null");
        }
    }
}

/// As text; what is absent is `-`. Control characters, quotes, backslashes and bytes that are not ASCII are written as
/// `\xNN`, so that no client can forge a line.
fn write_plain(value: &Value<'_>, out: &mut Vec<u8>) {
    let _ = match value {
        Value::Time(Some(time)) => write!(out, "{}", humantime::format_rfc3339_millis(*time)),
        Value::Address(Some(address)) => write!(out, "{address}"),
        Value::Number(Some(number)) => write!(out, "{number}"),
        Value::Truth(truth) => write!(out, "{truth}"),
        Value::Text(Some(text)) => {
            for &byte in *text {
                match byte {
                    b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                        let _ = write!(out, "\\x{byte:02x}");
                    }
                    _ => out.push(byte),
                }
            }
            Ok(())
        }
        Value::Text(None) | Value::Number(None) | Value::Time(None) | Value::Address(None) => {
            out.write_all(b"-")
        }
    };
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static MEASURED: LazyLock<Record> =
        LazyLock::new(|| Record { status: 200, total_us: 1234, ..Record::default() });

    fn line() -> Line<'static> {
        Line {
            time: Some(SystemTime::UNIX_EPOCH),
            client: "203.0.113.7".parse().ok(),
            method: b"POST",
            path: b"/a\"\n\xff\\",
            route: Some("chat"),
            record: &MEASURED,
            ..Line::default()
        }
    }

    fn written(format: &str) -> String {
        let mut out = Vec::new();
        Format::parse(format).unwrap().write(&line(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_with_every_field() {
        let text = written("json");
        let object: serde_json::Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!(object.as_object().unwrap().len(), FIELDS.len());
        assert_eq!(object["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!((&object["T_us"], &object["client"]), (&1234.into(), &"203.0.113.7".into()));
        assert_eq!(object["path"], "/a\"\n\u{fffd}\\");
        assert!(object["cluster"].is_null() && object["ttft_us"].is_null() && object["reused"] == false);
    }

    #[test]
    fn what_a_client_says_is_cut() {
        let long = [b'x'; 3 * LOG_TEXT_BYTES_MAX];
        let line = Line { method: &long, host: &long, path: &long, ..line() };
        let mut out = Vec::new();
        Format::parse("{method}{host}{path}").unwrap().write(&line, &mut out);
        assert_eq!(out.len(), 3 * LOG_TEXT_BYTES_MAX + 1);
    }

    #[test]
    fn a_template_says_what_it_names_and_cannot_be_forged() {
        assert_eq!(
            written("{client} \"{method} {path}\" {status} {cluster} in {T_us} us"),
            "203.0.113.7 \"POST /a\\x22\\x0a\\xff\\x5c\" 200 - in 1234 us\n"
        );
        for wrong in ["", "plain", "{client", "{colour}", "{client}\n", "{}"] {
            assert!(Format::parse(wrong).is_err(), "{wrong}");
        }
    }
}
