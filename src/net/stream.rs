//! A connected socket: whole while nothing is going on, in two halves while bytes pass.

use std::io;
use std::rc::Rc;

use bytes::BytesMut;
use monoio::io::{Canceller, Splitable};
use monoio::net::{TcpStream, UnixStream};

use super::fd::{LentFd, QuietHalf, receive};
use super::reader::{ReadHalf, Reader};
use super::tls::Session;
use super::writer::{WriteHalf, Writer};
use crate::base::limits::READ_BYTES_AWAKE;

/// A connected socket that is not owned by an event loop yet, so that it may change threads.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix.
    Unix(std::os::unix::net::UnixStream),
}

/// An accepted connection on this thread's event loop on which nothing is going on: a descriptor, and hardly any memory.
#[derive(Debug)]
pub enum Whole {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Whole {
    /// Makes an accepted socket this event loop's own.
    pub fn adopt(socket: Socket) -> io::Result<Self> {
        // io_uring waits by itself and would return at once on a non-blocking socket; epoll needs one. An accepted
        // socket is a blocking one (accept(2)).
        let is_legacy = monoio::utils::is_legacy();
        Ok(match socket {
            Socket::Tcp(socket) => {
                if is_legacy {
                    socket.set_nonblocking(true)?;
                }
                Self::Tcp(TcpStream::from_std(socket)?)
            }
            Socket::Unix(socket) => {
                if is_legacy {
                    socket.set_nonblocking(true)?;
                }
                Self::Unix(UnixStream::from_std(socket)?)
            }
        })
    }

    /// Appends what has arrived, up to the room that is there, without waiting: zero at the end of the stream,
    /// [`io::ErrorKind::WouldBlock`] if nothing has arrived.
    pub fn receive(&self, into: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => receive(socket, into),
            Self::Unix(socket) => receive(socket, into),
        }
    }

    /// Waits until something arrived: bytes, the end of the stream or an error. May be dropped. Where `surely` is not
    /// set, it may have been received already.
    pub async fn arrival(&self, surely: bool) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.readable(!surely).await,
            Self::Unix(socket) => socket.readable(!surely).await,
        }
    }

    /// Its two halves.
    pub fn split(self) -> Stream {
        let canceller = Some(Canceller::new());
        match self {
            Self::Tcp(socket) => Stream::of_tcp(socket, canceller, READ_BYTES_AWAKE),
            Self::Unix(socket) => Stream::of_unix(socket, canceller, READ_BYTES_AWAKE),
        }
    }
}

/// The two halves of a connection on this thread's event loop.
pub struct Stream {
    /// What the peer sends.
    pub reader: Reader,
    /// What is sent to the peer.
    pub writer: Writer,
}

impl Stream {
    pub(super) fn of_tcp(socket: TcpStream, canceller: Option<Canceller>, step: usize) -> Self {
        let fd = LentFd::of(&socket);
        let (read, write) = socket.into_split();
        Self {
            reader: Reader::new(ReadHalf::Tcp(read), fd, canceller, step),
            writer: Writer::new(WriteHalf::Tcp(QuietHalf::new(write)), fd),
        }
    }

    /// A connection on which hands were shaken.
    pub(super) fn of_tls(socket: TcpStream, session: Session, step: usize) -> Self {
        let Self { reader, writer } = Self::of_tcp(socket, None, step);
        Self { reader: reader.with_session(Rc::clone(&session)), writer: writer.with_session(session) }
    }

    pub(super) fn of_unix(socket: UnixStream, canceller: Option<Canceller>, step: usize) -> Self {
        let fd = LentFd::of(&socket);
        let (read, write) = socket.into_split();
        Self {
            reader: Reader::new(ReadHalf::Unix(read), fd, canceller, step),
            writer: Writer::new(WriteHalf::Unix(QuietHalf::new(write)), fd),
        }
    }

    /// The two halves as one again; none, and the connection is over, unless nothing is under way and nothing unread.
    pub fn join(self) -> Option<Whole> {
        match (self.reader.into_half()?, self.writer.into_half()?) {
            (ReadHalf::Tcp(read), WriteHalf::Tcp(write)) => {
                read.reunite(write.into_inner()).ok().map(Whole::Tcp)
            }
            (ReadHalf::Unix(read), WriteHalf::Unix(write)) => {
                read.reunite(write.into_inner()).ok().map(Whole::Unix)
            }
            _ => None,
        }
    }
}
