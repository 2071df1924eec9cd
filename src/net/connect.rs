//! Upstream connections: TCP, with TLS where it is asked for, and Unix sockets.

use std::io;

use monoio::net::{TcpStream, UnixStream};

use super::stream::Stream;
use super::tls;
use crate::base::address::Address;
use crate::base::limits::READ_BYTES_FIRST;
use crate::base::trust::TlsClient;

/// Connects to `address`. TCP sends small writes at once (no Nagle): a token must not wait for an acknowledgement.
pub async fn connect(address: &Address, tls: Option<&TlsClient>) -> io::Result<Stream> {
    match address {
        Address::Tcp(address) => {
            let mut socket = TcpStream::connect_addr(*address).await?;
            socket.set_nodelay(true)?;
            match tls {
                None => Ok(Stream::of_tcp(socket, None, READ_BYTES_FIRST)),
                Some(client) => {
                    // In a box: the others need not carry what only this one does.
                    let session = Box::pin(tls::shake(&mut socket, client)).await?;
                    Ok(Stream::of_tls(socket, session, READ_BYTES_FIRST))
                }
            }
        }
        Address::Unix(path) => Ok(Stream::of_unix(UnixStream::connect(path).await?, None, READ_BYTES_FIRST)),
    }
}

/// Whose doing it is that a connection cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Ours: this process or its machine lacks something, and every endpoint would show the same.
    Ours,
    /// The endpoint's, or that of what lies between.
    Theirs,
    /// The endpoint's: it is not who it must be, or its TLS is not understood.
    Untrusted,
}

/// Judges the error of a failed connect (connect(2), socket(2)): what this process may not do or has none left of
/// (descriptors, ports, memory, permission) is no fault of the endpoint.
pub fn blame(error: &io::Error) -> Blame {
    const EPERM: i32 = 1;
    const ENOMEM: i32 = 12;
    const EACCES: i32 = 13;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const EAFNOSUPPORT: i32 = 97;
    const EADDRNOTAVAIL: i32 = 99;
    const ENOBUFS: i32 = 105;
    match error.raw_os_error() {
        Some(EPERM | ENOMEM | EACCES | ENFILE | EMFILE | EAFNOSUPPORT | EADDRNOTAVAIL | ENOBUFS) => {
            Blame::Ours
        }
        None if error.kind() == io::ErrorKind::InvalidData => Blame::Untrusted,
        Some(_) | None => Blame::Theirs,
    }
}

/// Connects to the first of `addresses` that answers; the error is the last one's.
pub async fn connect_any(addresses: &[Address], tls: Option<&TlsClient>) -> io::Result<Stream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match connect(address, tls).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_of_ours_is_not_the_endpoints_fault() {
        for (error, expected) in
            [(24, Blame::Ours), (99, Blame::Ours), (111, Blame::Theirs), (110, Blame::Theirs)]
        {
            assert_eq!(blame(&io::Error::from_raw_os_error(error)), expected, "{error}");
        }
        assert_eq!(blame(&io::ErrorKind::TimedOut.into()), Blame::Theirs);
    }
}
