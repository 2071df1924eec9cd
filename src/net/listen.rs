//! Listening sockets: one per lane for TCP, one shared for a Unix path; accepted sockets may change threads.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use monoio::net::UnixStream;
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

use super::stream::Socket;
use crate::base::address::Address;
use crate::base::limits::{BACKLOG, LISTEN_PAUSE, LISTEN_TRIES};

/// A bound and listening socket that no event loop owns yet.
#[derive(Debug)]
pub struct ListenSocket {
    socket: RawSocket,
    address: Address,
    file: Option<SocketFile>,
}

/// At least one listening socket for each of `lanes`, who take them in turns; port 0 takes one free port for all of them.
///
/// Those that were `handed` over are all there are, where there are any: each is accepted from, for clients wait in its
/// queue, and its file is not ours.
///
/// TCP lanes share the port by SO_REUSEPORT. A Unix path has one socket, which all lanes poll; the stale socket of a
/// process that died is replaced, anything else that lies there is an error.
///
/// An address that is in use is tried again for a while: the kernel holds the listener of a killed process until its
/// ring is taken down. Blocks meanwhile.
pub fn listen(address: &Address, lanes: usize, handed: Vec<RawSocket>) -> io::Result<Vec<ListenSocket>> {
    if !handed.is_empty() {
        return take_over(handed, address, lanes);
    }
    for _ in 1..LISTEN_TRIES {
        match listen_now(address, lanes) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => thread::sleep(LISTEN_PAUSE),
            done => return done,
        }
    }
    listen_now(address, lanes)
}

fn listen_now(address: &Address, lanes: usize) -> io::Result<Vec<ListenSocket>> {
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
                let socket = first.socket.try_clone()?;
                all.push(ListenSocket { socket, address: address.clone(), file: first.file.clone() });
            }
            all.push(first);
            Ok(all)
        }
    }
}

fn take_over(handed: Vec<RawSocket>, address: &Address, lanes: usize) -> io::Result<Vec<ListenSocket>> {
    let mut all = Vec::new();
    for socket in handed {
        socket.set_nonblocking(true)?;
        let address = match address {
            Address::Tcp(configured) => {
                socket.set_tcp_nodelay(true)?;
                Address::Tcp(socket.local_addr()?.as_socket().unwrap_or(*configured))
            }
            Address::Unix(_) => address.clone(),
        };
        all.push(ListenSocket { socket, address, file: None });
    }
    for at in 0..lanes.saturating_sub(all.len()) {
        let twin = ListenSocket {
            socket: all[at].socket.try_clone()?,
            address: all[at].address.clone(),
            file: None,
        };
        all.push(twin);
    }
    Ok(all)
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
    Ok(ListenSocket { socket, address: Address::Tcp(bound), file: None })
}

fn listen_unix(path: &Path) -> io::Result<ListenSocket> {
    let name = SockAddr::unix(path)?;
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.bind(&name) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            make_way(path, &name)?;
            socket.bind(&name)?;
        }
        bound => bound?,
    }
    socket.listen(BACKLOG)?;
    let file = SocketFile::of(path).ok();
    Ok(ListenSocket { socket, address: Address::Unix(path.to_path_buf()), file })
}

/// Removes the socket of a process that died: one at which a connection is refused. Anything else is somebody's.
fn make_way(path: &Path, name: &SockAddr) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let taken = |what: &str| Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    if !found.file_type().is_socket() {
        return taken("something else than a socket lies there");
    }
    let caller = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener whose backlog is full would be waited for.
    caller.set_nonblocking(true)?;
    match caller.connect(name) {
        Ok(()) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                SocketFile::known(path, &found).unlink();
                Ok(())
            }
            io::ErrorKind::NotFound => Ok(()),
            io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
            _ => taken(&format!("a socket lies there that is not known to be left behind ({error})")),
        },
    }
}

/// The file of a Unix listening socket, as it was when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds. File systems give the number of a removed file to the next one that is made.
    made: (i64, i64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::known(path, &std::fs::symlink_metadata(path)?))
    }

    fn known(path: &Path, found: &std::fs::Metadata) -> Self {
        Self {
            path: path.to_path_buf(),
            device: found.dev(),
            inode: found.ino(),
            made: (found.mtime(), found.mtime_nsec()),
        }
    }

    /// Removes it, unless another one lies there by now: a successor's.
    pub fn unlink(&self) {
        if Self::of(&self.path).is_ok_and(|found| found == *self) {
            // Gone already is as good.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl ListenSocket {
    /// The address that is really listened on.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A second descriptor of it, to be handed over.
    pub fn twin(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone().map(OwnedFd::from)
    }

    /// The file that this process made for it, if it is a Unix socket: to be removed before accepting stops.
    pub fn file(&self) -> Option<&SocketFile> {
        self.file.as_ref()
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
