//! Scenes over real socket pairs, on both drivers and both kinds of sockets; the peer is a plain blocking socket.

use std::future::Future;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::time::Duration;

use socket2::Socket as RawSocket;

use super::driver::{block_on, choose};
use super::stream::{Socket, Stream, Whole};
use crate::base::choice::IoDriver;

/// Past this a scene hangs.
const HANGS: Duration = Duration::from_secs(30);

/// What a scene runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Unix,
}

/// Runs a scene on both drivers and both kinds of sockets.
pub(super) fn everywhere<'s>(scene: impl Fn(Kind) -> Pin<Box<dyn Future<Output = ()> + 's>>) {
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
pub(super) fn pair(kind: Kind) -> (Stream, Peer) {
    let (whole, peer) = whole(kind);
    (whole.split(), peer)
}

/// The same with nothing going on.
pub(super) fn whole(kind: Kind) -> (Whole, Peer) {
    let (ours, theirs) = match kind {
        Kind::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            theirs.set_nodelay(true).unwrap();
            (Socket::Tcp(listener.accept().unwrap().0), theirs.into())
        }
        Kind::Unix => {
            let (ours, theirs) = UnixStream::pair().unwrap();
            (Socket::Unix(ours), theirs.into())
        }
    };
    (Whole::adopt(ours).unwrap(), Peer(theirs))
}

/// The other end.
pub(super) struct Peer(pub(super) RawSocket);

impl Peer {
    pub(super) fn send(&self, bytes: &[u8]) {
        std::io::Write::write_all(&mut &self.0, bytes).unwrap();
    }

    /// Closes the sending side.
    pub(super) fn finish(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// Breaks the connection: a reset on TCP. A Unix socket has none; what shows there is the close.
    pub(super) fn reset(self) {
        self.0.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Bytes that are nowhere the same for long.
pub(super) fn bytes(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|at| (at % 251) as u8 ^ (at / 251) as u8).collect()
}
