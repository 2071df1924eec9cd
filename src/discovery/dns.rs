//! Host names to addresses, by the system's resolver.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// What each name and port resolved to.
#[derive(Debug, Default)]
pub struct Resolved {
    known: BTreeMap<(String, u16), Result<Vec<SocketAddr>, String>>,
}

impl Resolved {
    /// Resolves each name once. Blocks for as long as the resolver does.
    pub fn look_up<'n>(names: impl IntoIterator<Item = (&'n str, u16)>) -> Self {
        let mut known = BTreeMap::new();
        for (host, port) in names {
            known
                .entry((host.to_owned(), port))
                .or_insert_with(|| resolve(host, port).map_err(|e| e.to_string()));
        }
        Self { known }
    }

    /// The addresses of a name that was looked up; the error is the resolver's.
    pub fn get(&self, host: &str, port: u16) -> Result<&[SocketAddr], &str> {
        match self.known.get(&(host.to_owned(), port)) {
            Some(Ok(addresses)) => Ok(addresses),
            Some(Err(error)) => Err(error),
            None => Err("it was not looked up"),
        }
    }
}

/// IPv4 first: inference servers often listen on 0.0.0.0 only, and a refused try costs a round trip.
fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut all: Vec<_> = (host, port).to_socket_addrs()?.collect();
    all.sort_by_key(SocketAddr::is_ipv6);
    all.dedup();
    match all.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_resolver_and_unknown_names_tell_why() {
        let resolved = Resolved::look_up([("127.0.0.1", 80), ("name.invalid", 80)]);
        assert_eq!(resolved.get("127.0.0.1", 80), Ok(&["127.0.0.1:80".parse().unwrap()][..]));
        assert!(resolved.get("name.invalid", 80).is_err());
    }
}
