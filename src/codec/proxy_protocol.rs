//! The PROXY protocol, versions 1 and 2: who connected to the load balancer in front of us.
//!
//! Source: HAProxy's specification 2.3, §2.1 and §2.2. A header is required where a listener is told so, and nothing
//! else may begin a connection there: guessing would let any client claim any address (§4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{Buf, BytesMut};

use super::progress::Progress;
use crate::base::choice::ProxyProtocol;
use crate::base::limits::PROXY_HEADER_BYTES_MAX;

/// Longest line of version 1, with its line end (§2.1).
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;

/// Who a connection is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// From this address.
    Address(IpAddr),
    /// From the load balancer itself (a health check), or by a protocol that has no addresses: whoever connected.
    Nobody,
}

/// The connection does not begin with the header that was asked for, or with a broken one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoHeader;

/// Takes the header off the start of `input`.
pub fn take(input: &mut BytesMut, version: ProxyProtocol) -> Result<Progress<Claimed>, NoHeader> {
    match version {
        ProxyProtocol::Off => Ok(Progress::Ready(Claimed::Nobody)),
        ProxyProtocol::V1 => take_line(input),
        ProxyProtocol::V2 => take_binary(input),
    }
}

fn take_line(input: &mut BytesMut) -> Result<Progress<Claimed>, NoHeader> {
    const START: &[u8] = b"PROXY ";
    let start = input.len().min(START.len());
    if input[..start] != START[..start] {
        return Err(NoHeader);
    }
    let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(LINE_BYTES_MAX)]) else {
        return if input.len() < LINE_BYTES_MAX { Ok(Progress::NeedMore) } else { Err(NoHeader) };
    };
    let line = input[START.len()..end].strip_suffix(b"\r").ok_or(NoHeader)?;
    let claimed = line_claims(std::str::from_utf8(line).map_err(|_| NoHeader)?)?;
    input.advance(end + 1);
    Ok(Progress::Ready(claimed))
}

/// `TCP4 source destination source-port destination-port`, or `UNKNOWN` and anything.
fn line_claims(line: &str) -> Result<Claimed, NoHeader> {
    let words: Vec<&str> = line.split(' ').collect();
    let is_port = |text: &str| text.parse::<u16>().is_ok() && !text.starts_with('+');
    match words[..] {
        ["UNKNOWN", ..] => Ok(Claimed::Nobody),
        [family @ ("TCP4" | "TCP6"), source, destination, from, to] if is_port(from) && is_port(to) => {
            let source: IpAddr = source.parse().map_err(|_| NoHeader)?;
            let destination: IpAddr = destination.parse().map_err(|_| NoHeader)?;
            let fits = source.is_ipv4() == (family == "TCP4") && destination.is_ipv4() == source.is_ipv4();
            if fits { Ok(Claimed::Address(source)) } else { Err(NoHeader) }
        }
        _ => Err(NoHeader),
    }
}

fn take_binary(input: &mut BytesMut) -> Result<Progress<Claimed>, NoHeader> {
    let start = input.len().min(SIGNATURE.len());
    if input[..start] != SIGNATURE[..start] {
        return Err(NoHeader);
    }
    let Some(&[command, family, high, low]) = input.get(SIGNATURE.len()..FIXED_BYTES) else {
        return Ok(Progress::NeedMore);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > PROXY_HEADER_BYTES_MAX {
        return Err(NoHeader);
    }
    let Some(body) = input.get(FIXED_BYTES..FIXED_BYTES + length) else { return Ok(Progress::NeedMore) };
    let claimed = match (command, family) {
        // LOCAL: whatever follows is skipped.
        (0x20, _) => Claimed::Nobody,
        (0x21, 0x11) => match body.first_chunk::<12>() {
            Some(&[a, b, c, d, ..]) => Claimed::Address(Ipv4Addr::new(a, b, c, d).into()),
            None => return Err(NoHeader),
        },
        (0x21, 0x21) => match (body.first_chunk::<16>(), body.len()) {
            (Some(source), 36..) => Claimed::Address(Ipv6Addr::from(*source).into()),
            _ => return Err(NoHeader),
        },
        // UNSPEC, datagrams, Unix sockets.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Claimed::Nobody,
        _ => return Err(NoHeader),
    };
    input.advance(FIXED_BYTES + length);
    Ok(Progress::Ready(claimed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of `bytes`, arriving one by one, and what is left behind the header.
    fn read(version: ProxyProtocol, bytes: &[u8]) -> Result<Option<(Claimed, Vec<u8>)>, NoHeader> {
        let mut input = BytesMut::new();
        for (at, byte) in bytes.iter().enumerate() {
            input.extend_from_slice(&[*byte]);
            if let Progress::Ready(claimed) = take(&mut input, version)? {
                input.extend_from_slice(&bytes[at + 1..]);
                return Ok(Some((claimed, input.to_vec())));
            }
        }
        Ok(None)
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, body, b"GET"].concat()
    }

    #[test]
    fn lines_are_read_to_their_end() {
        let address = |text: &str| Claimed::Address(text.parse().unwrap());
        for (line, claimed) in [
            ("PROXY TCP4 10.1.2.3 10.0.0.1 5000 80\r\nGET", address("10.1.2.3")),
            ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\nGET", address("2001:db8::1")),
            ("PROXY UNKNOWN\r\nGET", Claimed::Nobody),
            ("PROXY UNKNOWN ffff:: x\r\nGET", Claimed::Nobody),
        ] {
            assert_eq!(
                read(ProxyProtocol::V1, line.as_bytes()),
                Ok(Some((claimed, b"GET".to_vec()))),
                "{line}"
            );
        }
        for line in [
            "GET / HTTP/1.1\r\n",
            "PROXY TCP4 10.1.2.3 10.0.0.1 5000\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP4 10.1.2.3 10.0.0.1 5000 99999\r\n",
            "PROXY TCP4 10.1.2.3  10.0.0.1 5000 80\r\n",
            "PROXY UNKNOWN\n",
            "proxy UNKNOWN\r\n",
        ] {
            assert_eq!(read(ProxyProtocol::V1, line.as_bytes()), Err(NoHeader), "{line}");
        }
        assert_eq!(
            read(ProxyProtocol::V1, format!("PROXY UNKNOWN {}", "x".repeat(200)).as_bytes()),
            Err(NoHeader)
        );
        assert_eq!(read(ProxyProtocol::V1, b"PROXY TCP4 10."), Ok(None));
    }

    #[test]
    fn binary_headers_are_read_with_what_follows_the_addresses() {
        let four = [&[10, 1, 2, 3, 10, 0, 0, 1, 0, 80, 0, 80][..], &[3, 0, 1, 7]].concat();
        let six = [&Ipv6Addr::LOCALHOST.octets()[..], &[0; 20]].concat();
        for (command, family, body, claimed) in [
            (0x21, 0x11, &four[..], Claimed::Address(Ipv4Addr::new(10, 1, 2, 3).into())),
            (0x21, 0x21, &six, Claimed::Address(Ipv6Addr::LOCALHOST.into())),
            (0x20, 0x00, &[], Claimed::Nobody),
            (0x20, 0x11, &four, Claimed::Nobody),
            (0x21, 0x00, &[1, 2, 3], Claimed::Nobody),
            (0x21, 0x31, &[0; 216], Claimed::Nobody),
        ] {
            let bytes = binary(command, family, body);
            assert_eq!(read(ProxyProtocol::V2, &bytes), Ok(Some((claimed, b"GET".to_vec()))));
        }
        for bytes in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            binary(0x11, 0x11, &four),
            binary(0x22, 0x11, &four),
            binary(0x21, 0x13, &four),
            binary(0x21, 0x11, &four[..11]),
            binary(0x21, 0x21, &six[..35]),
            binary(0x20, 0x00, &[0; PROXY_HEADER_BYTES_MAX + 1]),
        ] {
            assert_eq!(read(ProxyProtocol::V2, &bytes), Err(NoHeader), "{bytes:?}");
        }
    }
}
