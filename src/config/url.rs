//! Addresses as operators write them: URLs of endpoints, and addresses to listen on.

use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::values::text_setting;
use crate::base::address::Address;
use crate::base::limits::SOCKET_PATH_BYTES_MAX;

/// Where an endpoint listens, and the path in front of what is sent there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// Host and port, or the path of a socket.
    pub address: EndpointAddress,
    /// Whether TLS is spoken there.
    pub is_tls: bool,
    /// `""`, or a path without a slash at its end.
    pub base: String,
    /// As written.
    pub text: String,
}

/// Where an endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointAddress {
    /// A host name or IP address, still to be resolved, and a port.
    Tcp {
        /// Without brackets.
        host: String,
        /// 80 where none was written, 443 with TLS.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// What is wrong with an address: why, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    /// Why it is refused.
    pub why: String,
    /// What to write.
    pub fix: String,
}

fn wrong<T>(why: &str, fix: &str) -> Result<T, AddressError> {
    Err(AddressError { why: why.to_owned(), fix: fix.to_owned() })
}

const FORMS: &str = "write http://host:port, http://host:port/base, https://… or unix:/path/of/socket";

impl EndpointUrl {
    /// Reads `http://host:port[/base]`, the same with `https` or `unix:/path`; a scheme is the same in any case (RFC 3986 §3.1).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = behind(text, "unix:") {
            let address = EndpointAddress::Unix(socket_path(path, "write unix:/path/of/socket")?);
            return Ok(Self { address, is_tls: false, base: String::new(), text: text.to_owned() });
        }
        let (rest, is_tls) = match (behind(text, "http://"), behind(text, "https://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return wrong("it has no scheme that is known", FORMS),
        };
        if rest.contains(['?', '#', '@']) || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return wrong(
                "user names, queries, fragments and white space have no place in an endpoint's URL",
                FORMS,
            );
        }
        let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority, default_port(is_tls))?;
        check_base(base)?;
        let address = EndpointAddress::Tcp { host: host.to_owned(), port };
        Ok(Self { address, is_tls, base: base.trim_end_matches('/').to_owned(), text: text.to_owned() })
    }

    /// Whether both lead to the same place, however they are written.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same_address = match (&self.address, &other.address) {
            (EndpointAddress::Tcp { host: a, port: b }, EndpointAddress::Tcp { host: c, port: d }) => {
                a.eq_ignore_ascii_case(c) && b == d
            }
            (one, other) => one == other,
        };
        is_same_address && self.is_tls == other.is_tls && self.base == other.base
    }

    /// The endpoint's own authority, for Host: as written without its port where that is what the scheme means; `localhost` for a socket.
    pub fn authority(&self) -> String {
        match &self.address {
            EndpointAddress::Unix(_) => "localhost".to_owned(),
            EndpointAddress::Tcp { host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                if *port == default_port(self.is_tls) { host } else { format!("{host}:{port}") }
            }
        }
    }
}

/// What follows `scheme` in `text`; letters of both cases are the same in it.
fn behind<'t>(text: &'t str, scheme: &str) -> Option<&'t str> {
    let start = text.get(..scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
}

/// The port of a URL that writes none.
fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

/// Host and port of an authority, the host without brackets; `default` where there is no port.
fn host_and_port(authority: &str, default: u16) -> Result<(&str, u16), AddressError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, _)) if host.parse::<Ipv6Addr>().is_err() => {
                return wrong("what stands in brackets is not an IPv6 address", "write http://[::1]:8000");
            }
            Some((host, port)) => (host, port),
            None => return wrong("the bracket of an IPv6 address is not closed", "write http://[::1]:8000"),
        },
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default,
        Some(digits) => match digits.parse() {
            Ok(port) if port > 0 && is_digits(digits) => port,
            _ => return wrong("its port is not a number from 1 to 65535", FORMS),
        },
        None => return wrong("what follows the host is not a port", FORMS),
    };
    // The colon is that of an IPv6 address, which was checked.
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    match host {
        "" => wrong("it names no host", FORMS),
        host if host.bytes().all(is_name) => Ok((host, port)),
        _ => wrong(
            "a host has letters, digits, \"-\", \".\" and \"_\" only",
            "write its name as it stands in DNS (other letters as \"xn--…\"), or its address",
        ),
    }
}

/// The base goes upstream as it is, in front of each client's target.
fn check_base(base: &str) -> Result<(), AddressError> {
    let is_dots = |segment: &str| {
        let decoded = segment.replace("%2e", ".").replace("%2E", ".");
        matches!(decoded.as_str(), "." | "..")
    };
    if base.split('/').any(is_dots) {
        return wrong(
            "dot segments in its base would be resolved by some and taken as they are by others",
            "write the path that is meant, without \".\" and \"..\"",
        );
    }
    // What a path is made of, with whole escapes (RFC 3986 §3.3).
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&b);
    let mut parts = base.split('%');
    let first = parts.next().unwrap_or_default();
    let is_escaped = |part: &str| {
        let is_escape = part.get(..2).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        is_escape && part[2..].bytes().all(is_plain)
    };
    match first.bytes().all(is_plain) && parts.all(is_escaped) {
        true => Ok(()),
        false => wrong(
            "its base has characters that no path has",
            "write it as it goes upstream, with other characters escaped, such as \"%20\"",
        ),
    }
}

/// The path of a Unix socket: absolute, and one that the kernel can take.
fn socket_path(path: &str, fix: &str) -> Result<PathBuf, AddressError> {
    if !path.starts_with('/') {
        return wrong("the path of a Unix socket must be absolute", fix);
    }
    if path.contains(char::is_control) {
        return wrong("the path of a Unix socket has no control characters", fix);
    }
    if path.len() > SOCKET_PATH_BYTES_MAX {
        let why = format!("the path of a Unix socket has at most {SOCKET_PATH_BYTES_MAX} bytes");
        return wrong(&why, "choose a shorter path");
    }
    Ok(PathBuf::from(path))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Reads `ip:port`, `localhost:port` or `unix:/path`. Resolves nothing but `localhost`.
pub fn listen_address(text: &str) -> Result<Address, AddressError> {
    const FIX: &str =
        "write ip:port such as \"127.0.0.1:8080\" or \"[::]:8080\", or \"unix:/path/of/socket\"";
    if let Some(path) = behind(text, "unix:") {
        return socket_path(path, "write \"unix:/path/of/socket\"").map(Address::Unix);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Address::Tcp(address));
    }
    let local = text
        .strip_prefix("localhost:")
        .filter(|port| is_digits(port))
        .and_then(|_| text.to_socket_addrs().ok());
    match local.and_then(|addresses| addresses.min_by_key(SocketAddr::is_ipv6)) {
        Some(address) => Ok(Address::Tcp(address)),
        None => wrong("it is neither an IP address with a port nor a Unix socket", FIX),
    }
}

text_setting!(
    EndpointUrl,
    read by |value| {
        let text = value.string()?;
        let refuse = |error: AddressError| {
            value.complain(format!("\"{text}\" is not the URL of an endpoint"), error.why, error.fix);
        };
        EndpointUrl::parse(&text).map_err(refuse).ok()
    },
    shown by |url| url.text.clone()
);

text_setting!(
    Address,
    read by |value| {
        let text = value.string()?;
        let refuse = |error: AddressError| {
            value.complain(format!("\"{text}\" is not an address to listen on"), error.why, error.fix);
        };
        listen_address(&text).map_err(refuse).ok()
    },
    shown by ToString::to_string
);

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> EndpointAddress {
        EndpointAddress::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn urls_are_taken_apart() {
        for (text, address, base, authority) in [
            ("http://127.0.0.1:8000", tcp("127.0.0.1", 8000), "", "127.0.0.1:8000"),
            ("http://vllm/", tcp("vllm", 80), "", "vllm"),
            ("http://[::1]:1/a/b/", tcp("::1", 1), "/a/b", "[::1]:1"),
            ("HTTP://h_1.x:080/a%2Fb/..c/", tcp("h_1.x", 80), "/a%2Fb/..c", "h_1.x"),
            ("https://h/v1", tcp("h", 443), "/v1", "h"),
            ("HTTPS://[::1]:443", tcp("::1", 443), "", "[::1]"),
            ("https://h:80", tcp("h", 80), "", "h:80"),
            ("Unix:/run/vllm.sock", EndpointAddress::Unix("/run/vllm.sock".into()), "", "localhost"),
            ("unix:/run/vllm.sock", EndpointAddress::Unix("/run/vllm.sock".into()), "", "localhost"),
        ] {
            let url = EndpointUrl::parse(text).unwrap();
            assert_eq!(
                (url.address.clone(), url.base.as_str(), url.authority().as_str()),
                (address, base, authority)
            );
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for bad in [
            "https://",
            "h:80",
            "http://",
            "http://:80",
            "http://h:",
            "http://h:0",
            "http://h:x",
            "http://h:65536",
            "http://u@h",
            "http://h?x",
            "http://[::1",
            "http://[::1]x",
            "unix:run",
            "http://h/a b",
            "httpss://h",
            "http://h:+80",
            "http://a*b",
            "http://a%20b",
            "http://a,b",
            "http://h\u{e9}",
            "http://[x]",
            "http://[fe80::1%1]",
            "http://h/..",
            "http://h/./x",
            "http://h/x/%2E%2e/y",
            "http://h/\u{e9}",
            "http://h/a\\b",
            "http://h/%",
            "http://h/%4",
            "http://h/%zz",
            "unix:/a\0",
            "",
        ] {
            assert!(EndpointUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_endpoint_can_be_written_in_several_ways() {
        let is_same = |one: &str, other: &str| {
            EndpointUrl::parse(one).unwrap().is_same(&EndpointUrl::parse(other).unwrap())
        };
        assert!(is_same("http://h/", "HTTP://H:80") && is_same("http://h/a", "http://h/a/"));
        assert!(!is_same("http://h", "https://h:80") && is_same("https://h", "https://h:443"));
        assert!(!is_same("http://h", "http://h:81") && !is_same("http://h/a", "http://h/A"));
        assert!(!is_same("unix:/a", "unix:/b"));
    }

    #[test]
    fn listen_addresses_are_literal() {
        assert_eq!(listen_address("127.0.0.1:0"), Ok(Address::Tcp("127.0.0.1:0".parse().unwrap())));
        assert_eq!(listen_address("unix:/x"), Ok(Address::Unix("/x".into())));
        assert!(listen_address("localhost:80").is_ok());
        let long = format!("unix:/{}", "a".repeat(SOCKET_PATH_BYTES_MAX));
        assert!(listen_address(&long[..long.len() - 1]).is_ok());
        for bad in
            ["8080", ":8080", "example:80", "localhost:+80", "unix:x", "unix:/\n", &long, "127.0.0.1", ""]
        {
            assert!(listen_address(bad).is_err(), "{bad}");
        }
    }
}
