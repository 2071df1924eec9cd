//! A client's connection, byte by byte, and answers as they come.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for anything: the clocks of the gateway are shorter, so past it something hangs.
const PATIENCE: Duration = Duration::from_secs(15);

/// One connection.
pub struct Peer {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Whether it came to its end.
    pub is_whole: bool,
}

impl Answer {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The code of an answer of the gateway's own.
    pub fn code(&self) -> &str {
        let body = std::str::from_utf8(&self.body).unwrap_or_default();
        body.split_once("\"code\":\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default()
    }
}

impl Peer {
    /// Connects.
    pub fn connect(address: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).map_err(|error| format!("cannot connect: {error}"))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| format!("cannot send: {error}"))
    }

    /// Reads on; false at the end of the stream, however that comes.
    pub fn more(&mut self) -> Result<bool, String> {
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(format!("nothing came within {PATIENCE:?}: {error}")),
        }
    }

    /// What was read and not yet taken.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count.min(self.buffer.len()));
        std::mem::replace(&mut self.buffer, rest)
    }

    /// How much that is.
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    fn until(&mut self, end: &[u8]) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Ok(Some(self.take(at + end.len())));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// A head, none at the end of the stream.
    pub fn head(&mut self) -> Result<Option<String>, String> {
        let head = self.until(b"\r\n\r\n")?;
        Ok(head.map(|head| String::from_utf8_lossy(&head).into_owned()))
    }

    /// A whole answer, or as much of it as came; none where the connection ended before it.
    pub fn answer(&mut self) -> Result<Option<Answer>, String> {
        let Some(head) = self.head()? else { return Ok(None) };
        let status = head.get(9..12).and_then(|text| text.parse().ok()).unwrap_or_default();
        let mut answer = Answer { status, head, body: Vec::new(), is_whole: true };
        if let Some(length) = answer.field("content-length").and_then(|text| text.parse::<usize>().ok()) {
            while self.waiting() < length {
                if !self.more()? {
                    answer.is_whole = false;
                    break;
                }
            }
            answer.body = self.take(length);
        } else if answer.field("transfer-encoding").is_some() {
            answer.is_whole = self.chunks(&mut answer.body)?;
        }
        Ok(Some(answer))
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<bool, String> {
        loop {
            let Some(line) = self.until(b"\r\n")? else { return Ok(false) };
            let text = String::from_utf8_lossy(&line);
            let size =
                usize::from_str_radix(text.trim(), 16).map_err(|_| format!("a chunk of size {text:?}"))?;
            while self.waiting() < size + 2 {
                if !self.more()? {
                    return Ok(false);
                }
            }
            let mut chunk = self.take(size + 2);
            chunk.truncate(size);
            body.extend_from_slice(&chunk);
            if size == 0 {
                return Ok(true);
            }
        }
    }

    /// One exchange whose answer must come to its end.
    pub fn exchange(&mut self, request: &[u8]) -> Result<Answer, String> {
        self.send(request)?;
        match self.answer()? {
            Some(answer) if answer.is_whole => Ok(answer),
            Some(answer) => Err(format!("an answer of {} broke off", answer.status)),
            None => Err("the connection ended before the answer".to_owned()),
        }
    }
}
