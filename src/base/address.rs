//! Where something listens: a TCP address or the path of a Unix socket.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// An address with nothing left to resolve.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// IP address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// What a client that connects here writes into Host; `localhost` for a Unix socket.
    pub fn authority(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Whether a client could reach either of two listeners by one address. Port 0 takes a port that nobody has;
    /// `[::]` takes IPv4 clients too.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(two)) => {
                let takes = |a: IpAddr, b: IpAddr| match a {
                    IpAddr::V4(ip) => ip.is_unspecified() && b.is_ipv4(),
                    IpAddr::V6(ip) => ip.is_unspecified(),
                };
                let (a, b) = (one.ip(), two.ip());
                one.port() != 0 && one.port() == two.port() && (a == b || takes(a, b) || takes(b, a))
            }
            (Self::Unix(one), Self::Unix(two)) => one == two,
            _ => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_overlaps_what_it_takes() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        for (one, two, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "127.0.0.1:2", false),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::]:1", "[::1]:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(tcp(one).overlaps(&tcp(two)), expected, "{one} {two}");
            assert_eq!(tcp(two).overlaps(&tcp(one)), expected, "{two} {one}");
        }
    }
}
