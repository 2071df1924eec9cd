//! Listening sockets: one per lane for TCP, one shared for a Unix path; accepted sockets may change threads.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use monoio::net::UnixStream;
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

use super::stream::Socket;
use crate::base::address::Address;
use crate::base::limits::BACKLOG;

/// A bound and listening socket that no event loop owns yet.
#[derive(Debug)]
pub struct ListenSocket {
    socket: RawSocket,
    address: Address,
}

/// One listening socket for each of `lanes`; port 0 takes one free port for all of them.
///
/// TCP lanes share the port by SO_REUSEPORT. A Unix path has one socket, which all lanes poll; a stale file of a
/// process that died is replaced, a live one is an error.
pub fn listen(address: &Address, lanes: usize) -> io::Result<Vec<ListenSocket>> {
    match address {
        Address::Tcp(address) => {
            if lanes > 1 {
                probe(*address)?;
            }
            let first = listen_tcp(*address, lanes > 1)?;
            let bound = first.address.clone();
            let mut all = vec![first];
            let Address::Tcp(bound) = bound else { return Ok(all) };
            while all.len() < lanes {
                all.push(listen_tcp(bound, true)?);
            }
            Ok(all)
        }
        Address::Unix(path) => {
            let first = listen_unix(path)?;
            let mut all = vec![];
            while all.len() + 1 < lanes {
                all.push(ListenSocket { socket: first.socket.try_clone()?, address: address.clone() });
            }
            all.push(first);
            Ok(all)
        }
    }
}

/// Fails where another process listens already. Sockets that share a port by SO_REUSEPORT would share it with that
/// one too, and each client would reach one or the other by chance.
fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))
}

fn listen_tcp(address: SocketAddr, shared: bool) -> io::Result<ListenSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it: one call here instead of one a connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    let bound = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok(ListenSocket { socket, address: Address::Tcp(bound) })
}

fn listen_unix(path: &Path) -> io::Result<ListenSocket> {
    let listener = match UnixListener::bind(path) {
        Ok(listener) => listener,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if StdUnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        Err(error) => return Err(error),
    };
    listener.set_nonblocking(true)?;
    let socket = RawSocket::from(OwnedFd::from(listener));
    Ok(ListenSocket { socket, address: Address::Unix(path.to_path_buf()) })
}

impl ListenSocket {
    /// The address that is really listened on.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// A listening socket on this thread's event loop.
pub struct Listener {
    socket: RawSocket,
    /// A second descriptor of the same socket, known to the loop, that only ever waits for readiness.
    readiness: UnixStream,
    address: Address,
}

impl Listener {
    /// Makes the socket this event loop's own.
    pub fn adopt(listen: ListenSocket) -> io::Result<Self> {
        let twin: OwnedFd = listen.socket.try_clone()?.into();
        let readiness = UnixStream::from_std(StdUnixStream::from(twin))?;
        Ok(Self { socket: listen.socket, readiness, address: listen.address })
    }

    /// The address that is listened on.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits until a connection may be waiting.
    pub async fn ready(&self) -> io::Result<()> {
        self.readiness.readable(false).await
    }

    /// The next waiting connection, none if there is none. Closed on exec, no thread's own yet.
    pub fn accept(&self) -> io::Result<Option<(Socket, Peer)>> {
        match self.socket.accept() {
            Ok((socket, from)) => {
                let fd = OwnedFd::from(socket);
                Ok(Some(match &self.address {
                    Address::Tcp(_) => {
                        let peer = from.as_socket().map_or(Peer::Local, Peer::Remote);
                        (Socket::Tcp(fd.into()), peer)
                    }
                    Address::Unix(_) => (Socket::Unix(fd.into()), Peer::Local),
                }))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Ok(None),
                _ => Err(error),
            },
        }
    }
}

/// Who connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP, from this address.
    Remote(SocketAddr),
    /// Over a Unix socket.
    Local,
}

/// Removes the file of a Unix listening socket, once nobody accepts on it any more.
pub fn unlink(path: &PathBuf) {
    // Gone already is as good.
    let _ = std::fs::remove_file(path);
}
