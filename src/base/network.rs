//! Networks of addresses, as operators write them.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// Who may be meant by an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Addresses of a network, or one address.
    Ip(IpNet),
    /// Whoever comes over a Unix socket.
    Unix,
}

impl Network {
    /// Reads `10.0.0.0/8`, `::1`, or `unix:`. The error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "unix:" {
            return Ok(Self::Unix);
        }
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        match network {
            Some(network) if network.trunc() == network => Ok(Self::Ip(network)),
            Some(network) => {
                Err(format!("write \"{}\": bits behind the prefix must be zero", network.trunc()))
            }
            None => {
                Err("write a network such as \"10.0.0.0/8\" or \"fd00::/8\", an address, or \"unix:\"".into())
            }
        }
    }

    /// Whether `address`, none for a Unix socket, is in it.
    pub fn contains(&self, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::Ip(network), Some(address)) => network.contains(&address.to_canonical()),
            (Self::Unix, None) => true,
            (Self::Ip(_), None) | (Self::Unix, Some(_)) => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(network) => network.fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        let has = |network: &str, address: &str| {
            Network::parse(network).unwrap().contains(Some(address.parse().unwrap()))
        };
        assert!(has("10.0.0.0/8", "10.1.2.3") && has("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(has("127.0.0.1", "127.0.0.1") && has("fd00::/8", "fd00::1"));
        assert!(!has("10.0.0.0/8", "11.0.0.1") && !has("10.0.0.0/8", "::1"));
        assert!(Network::Unix.contains(None) && !Network::parse("0.0.0.0/0").unwrap().contains(None));
        assert_eq!(
            Network::parse("10.1.0.0/8").unwrap_err(),
            "write \"10.0.0.0/8\": bits behind the prefix must be zero"
        );
        assert!(Network::parse("localhost").is_err());
    }
}
