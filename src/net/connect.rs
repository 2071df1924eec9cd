//! Upstream connections: TCP and Unix sockets.

use std::io;

use monoio::net::{TcpStream, UnixStream};

use super::stream::Stream;
use crate::base::address::Address;
use crate::base::limits::READ_BYTES_FIRST;

/// Connects to `address`. TCP sends small writes at once (no Nagle): a token must not wait for an acknowledgement.
pub async fn connect(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Tcp(address) => {
            let socket = TcpStream::connect_addr(*address).await?;
            socket.set_nodelay(true)?;
            Ok(Stream::of_tcp(socket, None, READ_BYTES_FIRST))
        }
        Address::Unix(path) => Ok(Stream::of_unix(UnixStream::connect(path).await?, None, READ_BYTES_FIRST)),
    }
}

/// Connects to the first of `addresses` that answers; the error is the last one's.
pub async fn connect_any(addresses: &[Address]) -> io::Result<Stream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
