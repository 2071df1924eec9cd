//! Scenes over real socket pairs, on both drivers and both kinds of sockets; the peer is a plain blocking socket.
#![allow(clippy::print_stderr, reason = "a test tells its row where it fails")]

use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::time::Duration;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use socket2::Socket as RawSocket;

use super::driver::{block_on, choose};
use super::stream::{Socket, Stream, Whole};
use crate::base::choice::IoDriver;

/// Past this a scene hangs.
const HANGS: Duration = Duration::from_secs(20);
/// Buffers of a narrow connection; the kernel doubles it. Several segments of the loopback (64 KiB) must fit, or its flow
/// control goes by timers.
const NARROW: usize = 128 * 1024;

/// What a scene runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Unix,
}

/// Runs a scene on both drivers and both kinds of sockets.
pub(crate) fn everywhere(scene: impl Fn(Kind) -> Pin<Box<dyn Future<Output = ()>>>) {
    for driver in [IoDriver::Epoll, choose()] {
        for kind in [Kind::Tcp, Kind::Unix] {
            eprintln!("{driver:?}, {kind:?}");
            block_on(driver, async { monoio::time::timeout(HANGS, scene(kind)).await })
                .unwrap()
                .expect("it hangs");
        }
    }
}

/// An accepted connection of this loop, and who connected.
pub(crate) fn pair(kind: Kind) -> (Stream, Peer) {
    let (ours, theirs) = connected(kind);
    (adopted(kind, ours).split(), Peer::new(theirs))
}

/// A pair between which little fits.
pub(super) fn narrow_pair(kind: Kind) -> (Stream, Peer) {
    let (ours, theirs) = connected(kind);
    ours.set_send_buffer_size(NARROW).unwrap();
    theirs.set_recv_buffer_size(NARROW).unwrap();
    (adopted(kind, ours).split(), Peer::new(theirs))
}

fn connected(kind: Kind) -> (RawSocket, RawSocket) {
    match kind {
        Kind::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            theirs.set_nodelay(true).unwrap();
            (listener.accept().unwrap().0.into(), theirs.into())
        }
        Kind::Unix => {
            let (ours, theirs) = UnixStream::pair().unwrap();
            (ours.into(), theirs.into())
        }
    }
}

fn adopted(kind: Kind, socket: RawSocket) -> Whole {
    Whole::adopt(match kind {
        Kind::Tcp => Socket::Tcp(socket.into()),
        Kind::Unix => Socket::Unix(socket.into()),
    })
    .unwrap()
}

/// The other end.
pub(crate) struct Peer(RawSocket);

impl Peer {
    fn new(socket: RawSocket) -> Self {
        socket.set_read_timeout(Some(HANGS)).unwrap();
        socket.set_write_timeout(Some(HANGS)).unwrap();
        Self(socket)
    }

    pub(super) fn send(&self, bytes: &[u8]) {
        (&self.0).write_all(bytes).unwrap();
    }

    /// Takes the next `count` bytes.
    pub(crate) fn take(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        (&self.0).read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Takes all up to the end of the stream.
    pub(super) fn take_all(&self) -> Vec<u8> {
        let mut bytes = vec![];
        (&self.0).read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Closes the sending side.
    pub(crate) fn finish(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// Breaks the connection: a reset on TCP. A Unix socket has none; what shows there is the close.
    pub(crate) fn reset(self) {
        self.0.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Turns of the event loop: what the kernel has to tell is told.
pub(super) struct Turns(monoio::net::UnixStream, monoio::net::UnixStream);

impl Turns {
    pub(super) fn new() -> Self {
        let (one, other) = monoio::net::UnixStream::pair().unwrap();
        Self(one, other)
    }

    pub(super) async fn one(&mut self) {
        self.0.write_all(vec![1]).await.0.unwrap();
        self.1.read(vec![0; 8]).await.0.unwrap();
    }
}

/// Bytes that are nowhere the same for long.
pub(super) fn bytes(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|at| (at % 251) as u8 ^ (at / 251) as u8).collect()
}
