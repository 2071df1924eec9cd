//! Lines of a head to bytes: what requests, answers and our own replies are all written with.

use super::fields::Field;
use super::version::Reuse;

/// The Connection field of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionField {
    /// HTTP/1.1 and it lives on: nothing is said.
    Implied,
    /// HTTP/1.0 and it lives on: `keep-alive`.
    KeepAlive,
    /// It ends here: `close`.
    Close,
    /// It goes on as a WebSocket (RFC 9110 §7.8).
    Switch,
}

impl ConnectionField {
    /// Whether another exchange may follow.
    pub fn reuse(self) -> Reuse {
        match self {
            Self::Implied | Self::KeepAlive => Reuse::KeepAlive,
            Self::Close | Self::Switch => Reuse::Close,
        }
    }
}

/// Appends a status line.
pub fn write_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[
        b'0' + (status / 100 % 10) as u8,
        b'0' + (status / 10 % 10) as u8,
        b'0' + (status % 10) as u8,
        b' ',
    ]);
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Appends one field line.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a field that is relayed: most come as they would be written, and are copied as one line.
pub(super) fn write_relayed_field(out: &mut Vec<u8>, field: &Field<'_>) {
    let (name, line) = (field.raw.len(), field.line);
    let is_written_so =
        line.len() == name + field.value.len() + 4 && line[name + 1] == b' ' && line.ends_with(b"\r\n");
    match is_written_so {
        true => out.extend_from_slice(line),
        false => write_field(out, field.raw, field.value),
    }
}

/// Appends the Connection field, if one is needed.
pub fn write_connection(out: &mut Vec<u8>, connection: ConnectionField) {
    match connection {
        ConnectionField::Implied => {}
        ConnectionField::KeepAlive => out.extend_from_slice(b"connection: keep-alive\r\n"),
        ConnectionField::Close => out.extend_from_slice(b"connection: close\r\n"),
        ConnectionField::Switch => out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n"),
    }
}

/// Appends `content-length`.
pub fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    write_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

/// Appends a decimal number.
pub(super) fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
