//! A connected socket and its two halves.

use std::io;

use monoio::io::{Canceller, Splitable};
use monoio::net::{TcpStream, UnixStream};

use super::fd::{LentFd, QuietHalf};
use super::reader::{ReadHalf, Reader};
use super::writer::{WriteHalf, Writer};

/// A connected socket that is not owned by an event loop yet, so that it may change threads.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix.
    Unix(std::os::unix::net::UnixStream),
}

/// The two halves of a connection on this thread's event loop.
pub struct Stream {
    /// What the peer sends.
    pub reader: Reader,
    /// What is sent to the peer.
    pub writer: Writer,
}

impl Stream {
    /// Makes an accepted socket this event loop's own.
    pub fn adopt(socket: Socket) -> io::Result<Self> {
        let canceller = Some(Canceller::new());
        let is_legacy = monoio::utils::is_legacy();
        Ok(match socket {
            Socket::Tcp(socket) => {
                // io_uring waits by itself and would return at once on a non-blocking socket; epoll needs one. An accepted
                // socket is a blocking one (accept(2)).
                if is_legacy {
                    socket.set_nonblocking(true)?;
                }
                Self::of_tcp(TcpStream::from_std(socket)?, canceller)
            }
            Socket::Unix(socket) => {
                if is_legacy {
                    socket.set_nonblocking(true)?;
                }
                Self::of_unix(UnixStream::from_std(socket)?, canceller)
            }
        })
    }

    pub(super) fn of_tcp(socket: TcpStream, canceller: Option<Canceller>) -> Self {
        let fd = LentFd::of(&socket);
        let (read, write) = socket.into_split();
        Self {
            reader: Reader::new(ReadHalf::Tcp(read), canceller),
            writer: Writer::new(WriteHalf::Tcp(QuietHalf::new(write)), fd),
        }
    }

    pub(super) fn of_unix(socket: UnixStream, canceller: Option<Canceller>) -> Self {
        let fd = LentFd::of(&socket);
        let (read, write) = socket.into_split();
        Self {
            reader: Reader::new(ReadHalf::Unix(read), canceller),
            writer: Writer::new(WriteHalf::Unix(QuietHalf::new(write)), fd),
        }
    }
}
