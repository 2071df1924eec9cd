//! The sending half of a connection: writes that go on while something else is waited for.
//!
//! A completed write tells nothing that must be known at once: whether the peer is still there shows on the receiving
//! half. So a write is started, and its end is looked at before the next one. That saves a task its waking for each
//! write, on io_uring; on epoll the kernel mostly takes the bytes at the start.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use monoio::buf::IoBuf;
use monoio::io::AsyncWriteRent;
use monoio::net::{TcpStream, UnixStream};

use super::fd::{LentFd, QuietHalf};
use super::tls::{self, Session};

pub(super) enum WriteHalf {
    Tcp(QuietHalf<TcpStream>),
    Unix(QuietHalf<UnixStream>),
}

/// What is written.
pub enum Outgoing {
    /// A buffer, which comes back empty.
    Buffer(Vec<u8>),
    /// A piece that others may hold too.
    Piece(Bytes),
}

impl Outgoing {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Piece(piece) => piece,
        }
    }
}

impl From<Vec<u8>> for Outgoing {
    fn from(buffer: Vec<u8>) -> Self {
        Self::Buffer(buffer)
    }
}

impl From<Bytes> for Outgoing {
    fn from(piece: Bytes) -> Self {
        Self::Piece(piece)
    }
}

enum Order {
    Write(Outgoing),
    /// Give the half back.
    Stop,
}

/// Who is woken for a write that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Whoever asks, where the write goes on only then: on epoll. On io_uring the kernel goes on by itself, and nobody
    /// is woken; it may stop half-way though, where the peer is slow, so somebody must ask again after a while.
    IfNeeded,
    /// Whoever asks.
    Surely,
}

/// The mailbox between a writer and its pump. Each side takes what the other put.
struct Slot {
    order: Cell<Option<Order>>,
    ended: Cell<bool>,
    /// Bytes handed to the kernel so far, over all writes.
    progress: Cell<u64>,
    outcome: Cell<io::Result<()>>,
    /// The buffer of the last write, empty.
    spare: Cell<Vec<u8>>,
}

impl Slot {
    /// Orders a write with TLS; what cannot be encrypted ends at once.
    #[cold]
    fn order_sealed(&self, session: &Session, what: &Outgoing) {
        match tls::seal(session, what.bytes()) {
            Ok(sealed) => self.order.set(Some(Order::Write(Outgoing::Buffer(sealed)))),
            Err(error) => {
                self.outcome.set(Err(error));
                self.ended.set(true);
            }
        }
    }
}

/// Performs one write after the other, as ordered. It owns the operation, so that one which is under way goes on,
/// whoever waits for it.
async fn pump(mut half: WriteHalf, slot: Rc<Slot>) -> WriteHalf {
    loop {
        let order = poll_fn(|_| slot.order.take().map_or(Poll::Pending, Poll::Ready)).await;
        slot.outcome.set(match order {
            Order::Stop => return half,
            Order::Write(Outgoing::Buffer(buffer)) => {
                let (outcome, mut buffer) = write_all(&mut half, buffer, &slot.progress).await;
                buffer.clear();
                slot.spare.set(buffer);
                outcome
            }
            Order::Write(Outgoing::Piece(piece)) => write_all(&mut half, piece, &slot.progress).await.0,
        });
        slot.ended.set(true);
    }
}

async fn write_all<B: IoBuf>(half: &mut WriteHalf, buffer: B, progress: &Cell<u64>) -> (io::Result<()>, B) {
    let length = buffer.bytes_init();
    let (mut written, mut buffer) = write_some(half, buffer).await;
    let mut done = 0;
    loop {
        match written {
            Ok(0) if done < length => return (Err(io::ErrorKind::WriteZero.into()), buffer),
            Ok(count) => {
                done += count;
                progress.set(progress.get() + count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), buffer),
        }
        if done >= length {
            return (Ok(()), buffer);
        }
        let (result, rest) = write_some(half, buffer.slice(done..)).await;
        (written, buffer) = (result, rest.into_inner());
    }
}

async fn write_some<B: IoBuf>(half: &mut WriteHalf, buffer: B) -> (io::Result<usize>, B) {
    match half {
        WriteHalf::Tcp(half) => half.get().write(buffer).await,
        WriteHalf::Unix(half) => half.get().write(buffer).await,
    }
}

/// The sending half. At most one write is under way.
pub struct Writer {
    // The descriptor is lent by the half that the pump holds, beside it.
    pump: Pin<Box<dyn Future<Output = WriteHalf>>>,
    slot: Rc<Slot>,
    /// A write was started, and its outcome was not told yet.
    untold: bool,
    /// A write goes on only when it is polled: epoll.
    is_driven: bool,
    /// What is agreed on with the peer, with TLS.
    session: Option<Session>,
    fd: LentFd,
}

impl Writer {
    pub(super) fn new(half: WriteHalf, fd: LentFd) -> Self {
        let slot = Rc::new(Slot {
            order: Cell::new(None),
            ended: Cell::new(false),
            progress: Cell::new(0),
            outcome: Cell::new(Ok(())),
            spare: Cell::default(),
        });
        let pump = Box::pin(pump(half, Rc::clone(&slot)));
        Self { pump, slot, untold: false, is_driven: monoio::utils::is_legacy(), session: None, fd }
    }

    /// The same with TLS.
    pub(super) fn with_session(self, session: Session) -> Self {
        Self { session: Some(session), ..self }
    }

    /// Starts a write; the outcome of the last one was told. See [`Self::go_on`] for who is woken.
    pub fn start(&mut self, what: impl Into<Outgoing>, cx: &mut Context<'_>) {
        debug_assert!(!self.untold, "one write at a time");
        self.untold = true;
        match &self.session {
            None => self.slot.order.set(Some(Order::Write(what.into()))),
            Some(session) => self.slot.order_sealed(session, &what.into()),
        }
        self.go_on(Wake::IfNeeded, cx);
    }

    fn push(&mut self, cx: &mut Context<'_>) {
        let polled = self.pump.as_mut().poll(cx);
        debug_assert!(polled.is_pending(), "it was not told to stop");
    }

    /// Whether no write was started since the last outcome was told.
    pub fn is_idle(&self) -> bool {
        !self.untold
    }

    /// Whether a write was under way when its pump was last polled.
    pub fn is_under_way(&self) -> bool {
        self.untold && !self.slot.ended.get()
    }

    /// Goes on with what is under way, and tells whether it still is; `cx` is woken when it can go on, as `wake` says.
    pub fn go_on(&mut self, wake: Wake, cx: &mut Context<'_>) -> bool {
        if self.is_under_way() {
            match wake == Wake::Surely || self.is_driven {
                true => self.push(cx),
                false => self.push(&mut Context::from_waker(Waker::noop())),
            }
        }
        self.is_under_way()
    }

    /// Bytes that all writes so far have handed to the kernel, as of when the write under way was last polled
    /// ([`Self::go_on`]): with [`Self::queued`] it tells a peer that takes bytes slowly from one that takes none.
    pub fn progress(&self) -> u64 {
        self.slot.progress.get()
    }

    /// What lies in the kernel's send queue and the peer has not taken: bytes on TCP, somewhat more on a Unix socket.
    /// It falls while the peer takes bytes; it can only rise by writes. On TCP the peer's kernel takes bytes before the
    /// peer does, up to its receive buffer.
    pub fn queued(&self) -> io::Result<usize> {
        self.fd.queued()
    }

    /// Whether the peer reset the connection after it had closed its sending side: it was gone when our bytes came
    /// (EPIPE in the state CLOSE_WAIT; a reset that comes first shows as ECONNRESET). Told once.
    pub fn was_refused(&self) -> bool {
        self.fd.error().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Ready once no write is under way, with the outcome of the last one if it was not told yet.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_under_way() {
            self.push(cx);
            if self.is_under_way() {
                return Poll::Pending;
            }
        }
        Poll::Ready(self.outcome())
    }

    /// The outcome of the last write, which has ended, if it was not told yet.
    pub fn outcome(&mut self) -> io::Result<()> {
        debug_assert!(!self.is_under_way(), "nobody knows yet");
        self.untold = false;
        self.slot.ended.set(false);
        self.slot.outcome.replace(Ok(()))
    }

    /// The buffer that was written last, empty, with its memory.
    pub fn take_spare(&self) -> Vec<u8> {
        self.slot.spare.take()
    }

    /// Writes all of `what`, after what is under way.
    pub async fn write(&mut self, what: impl Into<Outgoing>) -> io::Result<()> {
        poll_fn(|cx| self.poll_idle(cx)).await?;
        let mut what = Some(what.into());
        poll_fn(|cx| {
            if let Some(what) = what.take() {
                self.start(what, cx);
            }
            self.poll_idle(cx)
        })
        .await
    }

    /// The half itself; none while a write is under way, and with TLS, which is of both halves.
    pub(super) fn into_half(mut self) -> Option<WriteHalf> {
        if self.is_under_way() || self.session.is_some() {
            return None;
        }
        self.slot.order.set(Some(Order::Stop));
        match self.pump.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(half) => Some(half),
            Poll::Pending => None,
        }
    }

    /// Closes the sending side; the peer sees the end of the stream.
    pub fn shutdown(&self) -> io::Result<()> {
        if let Some(session) = &self.session
            && !self.is_under_way()
        {
            // Where there is no room for these few bytes the end shows as a break, which is the safe side.
            let _ = self.fd.send_now(&tls::end(session)?);
        }
        self.fd.shutdown()
    }

    /// Breaks the connection so that the peer can tell: a reset on TCP.
    pub fn reset(&self) {
        self.fd.reset();
    }
}

#[cfg(test)]
mod tests;
