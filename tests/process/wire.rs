//! Messages as bytes on a socket, read by a plain reader that shares nothing with the codec and tolerates nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::support::PATIENCE;

/// One end of a connection, message by message.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    end: Option<End>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

/// A message, as it was on the wire.
#[derive(Debug)]
pub struct Message {
    /// The start line.
    pub start: Vec<u8>,
    /// Its field lines.
    pub fields: Vec<Vec<u8>>,
    pub body: Vec<u8>,
    /// How the stream ended inside the body, or at its end where only that delimits it.
    pub end: Option<End>,
}

/// Whether a head may be followed by a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// As its fields say; without any there is none.
    OfRequest,
    /// As its fields say; without any it runs until close.
    OfAnswer,
    /// There is none, whatever the fields say.
    Never,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new(), end: None }
    }

    /// An idle connection may stay so for as long as the test runs.
    pub fn wait_for_ever(&self) {
        self.stream.set_read_timeout(None).unwrap();
    }

    /// Sends all of it, unless the other side is gone: what it answered is still to be read.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Closes the sending side.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads once; none at the end.
    fn fill(&mut self) -> Option<()> {
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.end = Some(End::Closed),
            Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.end = Some(End::Reset),
            Err(error) => panic!("nothing came: {error}, {:?}", self.buffer.escape_ascii().to_string()),
        }
        if self.end.is_some() { None } else { Some(()) }
    }

    fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill()?;
        }
        let rest = self.buffer.split_off(count);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// A line without its end.
    fn line(&mut self) -> Option<Vec<u8>> {
        let length = loop {
            match self.buffer.iter().position(|&b| b == b'\n') {
                Some(lf) => break lf + 1,
                None => self.fill()?,
            }
        };
        let mut line = self.exactly(length)?;
        assert!(line.ends_with(b"\r\n"), "a line ends with LF alone");
        line.truncate(length - 2);
        assert!(line.iter().all(|b| !matches!(b, b'\r' | b'\n' | 0)), "a line holds CR, LF or NUL");
        Some(line)
    }

    /// The next message; none where the stream ends before or inside its head.
    pub fn message(&mut self, body: impl Fn(&[u8]) -> Body) -> Option<Message> {
        let start = self.line()?;
        let mut fields = Vec::new();
        loop {
            match self.line()? {
                empty if empty.is_empty() => break,
                field => fields.push(field),
            }
        }
        let kind = body(&start);
        let mut message = Message { start, fields, body: Vec::new(), end: None };
        if kind != Body::Never && self.body(&mut message, kind).is_none() {
            message.end = self.end;
        }
        Some(message)
    }

    /// Reads the body; none where the stream ends inside it, or delimits it.
    fn body(&mut self, message: &mut Message, kind: Body) -> Option<()> {
        let length = message.value("content-length").map(|value| value.parse::<usize>().unwrap());
        match (message.value("transfer-encoding"), length) {
            (Some(coding), None) => {
                assert_eq!(coding, "chunked");
                loop {
                    let line = String::from_utf8(self.line()?).unwrap();
                    let size = usize::from_str_radix(&line, 16).expect("a size and nothing else");
                    let data = self.up_to(size);
                    let is_whole = data.len() == size;
                    message.body.extend(data);
                    if !is_whole {
                        return None;
                    }
                    assert_eq!(self.line()?, b"", "a chunk ends with its size, a body without trailers");
                    if size == 0 {
                        return Some(());
                    }
                }
            }
            (None, Some(length)) => {
                message.body = self.up_to(length);
                (message.body.len() == length).then_some(())
            }
            (None, None) if kind == Body::OfAnswer => {
                message.body = self.up_to(usize::MAX);
                None
            }
            (None, None) => Some(()),
            (Some(_), Some(_)) => panic!("two framing fields"),
        }
    }

    fn up_to(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.fill().is_some() {}
        let rest = self.buffer.split_off(count.min(self.buffer.len()));
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Waits for the end of the stream, before which nothing may come.
    pub fn end(&mut self) -> End {
        while self.fill().is_some() {}
        assert!(self.buffer.is_empty(), "more came: {}", self.buffer.escape_ascii());
        self.end.unwrap_or(End::Closed)
    }
}

impl Message {
    /// The values of a field.
    pub fn values(&self, name: &str) -> Vec<String> {
        self.fields.iter().filter_map(|field| value_of(field, name)).collect()
    }

    /// The value of a field that stands at most once.
    pub fn value(&self, name: &str) -> Option<String> {
        let mut values = self.values(name);
        assert!(values.len() <= 1, "{name} stands {} times", values.len());
        values.pop()
    }

    /// The field lines but for those of these names.
    pub fn fields_but(&self, names: &[&str]) -> Vec<Vec<u8>> {
        let is_named = |field: &&Vec<u8>| names.iter().any(|name| value_of(field, name).is_some());
        self.fields.iter().filter(|field| !is_named(field)).cloned().collect()
    }
}

/// The value of a field line, if it has this name.
fn value_of(field: &[u8], name: &str) -> Option<String> {
    let colon = field.iter().position(|&b| b == b':').expect("a field line has a colon");
    let is_named = field[..colon].eq_ignore_ascii_case(name.as_bytes());
    is_named.then(|| String::from_utf8_lossy(&field[colon + 1..]).trim().to_owned())
}
