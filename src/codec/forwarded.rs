//! Who asks, as it is told upstream: forwarding fields, kept from trusted senders and replaced from others.

use std::net::IpAddr;
use std::rc::Rc;

use super::field::{FieldName, list};
use super::fields::Head;
use super::head::RequestHead;
use super::write::{write_field, write_relayed_field};
use crate::base::network::Network;

/// The sender of a connection's requests.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    /// Its address; none over a Unix socket.
    pub address: Option<IpAddr>,
    /// The address as text, empty over a Unix socket.
    pub text: Rc<str>,
    /// Whether what it says of others is believed.
    pub is_trusted: bool,
}

impl Sender {
    /// A sender at `address`, believed if it is in one of `trusted`.
    pub fn new(address: Option<IpAddr>, trusted: &[Network]) -> Self {
        let address = address.map(|address| address.to_canonical());
        Self {
            address,
            text: address.map(|address| address.to_string()).unwrap_or_default().into(),
            is_trusted: trusted.iter().any(|network| network.contains(address)),
        }
    }

    /// The same sender, judged by other networks: a reload may have changed whom we trust.
    pub fn judged(&self, trusted: &[Network]) -> Self {
        let is_trusted = trusted.iter().any(|network| network.contains(self.address));
        Self { address: self.address, text: Rc::clone(&self.text), is_trusted }
    }

    /// The client: the rightmost address of x-forwarded-for that is not trusted, else the sender itself.
    ///
    /// An entry that is no address ends the search, and nobody knows who it is: what stands left of it was said by nobody we
    /// know. Where all are trusted, the field tells of no client.
    pub fn client(&self, head: &Head, trusted: &[Network]) -> Client {
        let own = self.address.map_or(Client::Local, Client::Address);
        if !self.is_trusted {
            return own;
        }
        let entries: Vec<&[u8]> = head.values(FieldName::XForwardedFor).flat_map(list).collect();
        for entry in entries.into_iter().rev() {
            match address_in(entry) {
                None => return Client::Unknown,
                Some(address) if trusted.iter().any(|network| network.contains(Some(address))) => {}
                Some(address) => return Client::Address(address),
            }
        }
        own
    }
}

/// Who asks, as far as that can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Somebody at this address.
    Address(IpAddr),
    /// Somebody on this machine, over a Unix socket.
    Local,
    /// A trusted sender names somebody by what is no address.
    Unknown,
}

impl Client {
    /// The address, if there is one.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Local | Self::Unknown => None,
        }
    }
}

/// An address, in brackets or with a port as some senders write it.
fn address_in(value: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(value).ok()?.trim_matches('"');
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

/// How often a request came through here already, by its Via (RFC 9110 §7.6.3).
pub fn passes_so_far(head: &Head) -> usize {
    // `1.1 corelane`, with or without `HTTP/` before it and a comment behind it.
    let is_ours = |entry: &&[u8]| {
        let mut words = entry.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(b"corelane"))
    };
    head.values(FieldName::Via).flat_map(list).filter(is_ours).count()
}

/// Whether the client's own field is passed on to be added to, replaced, or dropped from one who is not trusted.
pub fn is_forwarding(name: FieldName) -> bool {
    matches!(
        name,
        FieldName::Forwarded
            | FieldName::XForwardedFor
            | FieldName::XForwardedHost
            | FieldName::XForwardedProto
            | FieldName::XForwardedOther
    )
}

/// Appends the forwarding fields of a request that goes upstream.
pub fn write_forwarding(out: &mut Vec<u8>, request: &RequestHead, sender: &Sender) {
    let head = request.head();
    let said = |name| head.value(name).filter(|value| sender.is_trusted && !value.is_empty());
    out.extend_from_slice(b"x-forwarded-for: ");
    let before = out.len();
    if sender.is_trusted {
        for (count, entry) in head.values(FieldName::XForwardedFor).flat_map(list).enumerate() {
            out.extend_from_slice(if count == 0 { b"" } else { b", " });
            out.extend_from_slice(entry);
        }
    }
    if out.len() > before && !sender.text.is_empty() {
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(sender.text.as_bytes());
    if out.len() == before {
        out.truncate(before - b"x-forwarded-for: ".len());
    } else {
        out.extend_from_slice(b"\r\n");
    }
    match said(FieldName::XForwardedProto) {
        Some(proto) => write_field(out, b"x-forwarded-proto", proto),
        None => out.extend_from_slice(b"x-forwarded-proto: http\r\n"),
    }
    let host = said(FieldName::XForwardedHost).unwrap_or(request.authority());
    if !host.is_empty() {
        write_field(out, b"x-forwarded-host", host);
    }
    if sender.is_trusted {
        for field in head.fields() {
            let passes = matches!(field.name, FieldName::Forwarded | FieldName::XForwardedOther);
            if passes && head.passes(&field) {
                write_relayed_field(out, &field);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fields::FieldTable;
    use crate::codec::split::split_request;

    fn request(fields: &str) -> RequestHead {
        let text = format!("GET / HTTP/1.1\r\nhost: h\r\n{fields}\r\n");
        split_request(text.into(), FieldTable::default()).unwrap()
    }

    fn trusted() -> [Network; 2] {
        ["10.0.0.0/8", "unix:"].map(|text| Network::parse(text).unwrap())
    }

    fn written(sender: &str, fields: &str) -> String {
        let mut out = Vec::new();
        write_forwarding(&mut out, &request(fields), &Sender::new(sender.parse().ok(), &trusted()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_others_say_is_replaced() {
        let lies = "x-forwarded-for: 1.1.1.1\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil\r\nx-forwarded-port: 1\r\nforwarded: for=1.1.1.1\r\n";
        let plain = "x-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: h\r\n";
        assert_eq!(written("192.0.2.1", lies), plain);
        assert_eq!(written("::ffff:192.0.2.1", ""), plain);
    }

    #[test]
    fn what_trusted_senders_say_is_added_to() {
        let said = "X-Forwarded-For: 1.1.1.1,\r\nx-forwarded-for: 2.2.2.2\r\nx-forwarded-proto: https\r\nx-forwarded-host: api\r\nX-Forwarded-Port: 1\r\n";
        assert_eq!(
            written("10.0.0.1", said),
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 10.0.0.1\r\nx-forwarded-proto: https\r\nx-forwarded-host: api\r\nX-Forwarded-Port: 1\r\n"
        );
        assert_eq!(
            written("unix", "x-forwarded-for: 1.1.1.1\r\n"),
            "x-forwarded-for: 1.1.1.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: h\r\n"
        );
        assert_eq!(written("unix", ""), "x-forwarded-proto: http\r\nx-forwarded-host: h\r\n");
    }

    #[test]
    fn the_client_is_the_rightmost_that_is_not_trusted() {
        for (sender, chain, client) in [
            ("10.0.0.1", "1.1.1.1, 2.2.2.2, 10.0.0.9", "2.2.2.2"),
            ("10.0.0.1", "10.0.0.7, 10.0.0.9", "10.0.0.1"),
            ("10.0.0.1", "1.1.1.1, junk, 10.0.0.9", "unknown"),
            ("10.0.0.1", "junk", "unknown"),
            ("unix", "unknown, 10.0.0.9", "unknown"),
            ("unix", "10.0.0.9", "unix"),
            ("unix", "", "unix"),
            ("10.0.0.1", "[2001:db8::1]:5000", "2001:db8::1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("192.0.2.1", "1.1.1.1", "192.0.2.1"),
            ("unix", "1.1.1.1:80", "1.1.1.1"),
        ] {
            let request = request(&format!("x-forwarded-for: {chain}\r\n"));
            let sender = Sender::new(sender.parse().ok(), &trusted());
            let expected = match client {
                "unknown" => Client::Unknown,
                "unix" => Client::Local,
                address => Client::Address(address.parse().unwrap()),
            };
            assert_eq!(sender.client(request.head(), &trusted()), expected, "{chain}");
        }
    }
}
