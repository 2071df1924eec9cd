//! Addresses as operators write them: URLs of endpoints, and addresses to listen on.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::values::text_setting;
use crate::base::address::Address;

/// Where an endpoint listens, and the path in front of what is sent there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// Host and port, or the path of a socket.
    pub address: EndpointAddress,
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
        /// 80 where none was written.
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

const FORMS: &str = "write http://host:port, http://host:port/base or unix:/path/of/socket";

impl EndpointUrl {
    /// Reads `http://host:port[/base]` or `unix:/path`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return wrong("the path of a Unix socket must be absolute", "write unix:/path/of/socket");
            }
            let address = EndpointAddress::Unix(PathBuf::from(path));
            return Ok(Self { address, base: String::new(), text: text.to_owned() });
        }
        if text.starts_with("https://") {
            return wrong(
                "TLS towards endpoints is not available: the connection would be refused by the endpoint",
                "write http://, or put the endpoint on a Unix socket",
            );
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return wrong("it has no scheme that is known", FORMS);
        };
        if rest.contains(['?', '#', '@']) || !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong(
                "user names, queries, fragments and white space have no place in an endpoint's URL",
                FORMS,
            );
        }
        let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => match v6.split_once(']') {
                Some((host, port)) => (host, port),
                None => {
                    return wrong("the bracket of an IPv6 address is not closed", "write http://[::1]:8000");
                }
            },
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => 80,
            Some(digits) => match digits.parse() {
                Ok(port) if port > 0 => port,
                _ => return wrong("its port is not a number from 1 to 65535", FORMS),
            },
            None => return wrong("what follows the host is not a port", FORMS),
        };
        if host.is_empty() {
            return wrong("it names no host", FORMS);
        }
        let address = EndpointAddress::Tcp { host: host.to_owned(), port };
        Ok(Self { address, base: base.trim_end_matches('/').to_owned(), text: text.to_owned() })
    }

    /// The endpoint's own authority, for Host: as written without its port where that is 80; `localhost` for a socket.
    pub fn authority(&self) -> String {
        match &self.address {
            EndpointAddress::Unix(_) => "localhost".to_owned(),
            EndpointAddress::Tcp { host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                if *port == 80 { host } else { format!("{host}:{port}") }
            }
        }
    }
}

/// Reads `ip:port`, `localhost:port` or `unix:/path`. Resolves nothing but `localhost`.
pub fn listen_address(text: &str) -> Result<Address, AddressError> {
    const FIX: &str =
        "write ip:port such as \"127.0.0.1:8080\" or \"[::]:8080\", or \"unix:/path/of/socket\"";
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.starts_with('/') {
            true => Ok(Address::Unix(PathBuf::from(path))),
            false => wrong("the path of a Unix socket must be absolute", "write \"unix:/path/of/socket\""),
        };
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Address::Tcp(address));
    }
    let local = text.strip_prefix("localhost:").and_then(|_| text.to_socket_addrs().ok());
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
            "https://h",
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
            "",
        ] {
            assert!(EndpointUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn listen_addresses_are_literal() {
        assert_eq!(listen_address("127.0.0.1:0"), Ok(Address::Tcp("127.0.0.1:0".parse().unwrap())));
        assert_eq!(listen_address("unix:/x"), Ok(Address::Unix("/x".into())));
        assert!(listen_address("localhost:80").is_ok());
        for bad in ["8080", ":8080", "example:80", "unix:x", "127.0.0.1", ""] {
            assert!(listen_address(bad).is_err(), "{bad}");
        }
    }
}
