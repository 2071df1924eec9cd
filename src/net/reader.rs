//! The receiving half of a connection: reads that can be left and taken up again without losing a byte.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, CancelHandle, CancelableAsyncReadRent, Canceller, OwnedReadHalf};
use monoio::net::{TcpStream, UnixStream};

use crate::base::limits::{LISTEN_BYTES, READ_BYTES_FIRST, READ_ROOM_MIN, RELAY_BYTES, RELAY_BYTES_LARGE};

/// Room of the read that a cool connection keeps posted: enough to notice that something came.
const COOL_READ_BYTES: usize = 64;

pub(super) enum ReadHalf {
    Tcp(OwnedReadHalf<TcpStream>),
    Unix(OwnedReadHalf<UnixStream>),
}

/// The mailbox between a reader and its pump. Each side takes what the other put.
#[derive(Default)]
struct Slot {
    order: Cell<Option<(BytesMut, Option<CancelHandle>)>>,
    done: Cell<Option<(io::Result<usize>, BytesMut)>>,
}

/// Performs one read after the other, as ordered. It owns the operation, so an unfinished read lives as long as the
/// connection, whoever polls it: one allocation a connection instead of one lost byte.
async fn pump(mut half: ReadHalf, slot: Rc<Slot>) -> Infallible {
    loop {
        let (buffer, cancel) = poll_fn(|_| slot.order.take().map_or(Poll::Pending, Poll::Ready)).await;
        let room = buffer.len()..buffer.capacity();
        let window = buffer.slice_mut(room);
        let (result, window) = match (&mut half, cancel) {
            (ReadHalf::Tcp(half), Some(cancel)) => half.cancelable_read(window, cancel).await,
            (ReadHalf::Unix(half), Some(cancel)) => half.cancelable_read(window, cancel).await,
            (ReadHalf::Tcp(half), None) => half.read(window).await,
            (ReadHalf::Unix(half), None) => half.read(window).await,
        };
        slot.done.set(Some((result, window.into_inner())));
    }
}

/// The receiving half. At most one read is under way; it can be polled by one task, left, and polled by another.
pub struct Reader {
    pump: Pin<Box<dyn Future<Output = Infallible>>>,
    slot: Rc<Slot>,
    /// Cancels the read under way; none where that never happens, for each read that can be cancelled is registered.
    canceller: Option<Canceller>,
    armed: bool,
    step: usize,
    unread: BytesMut,
    /// The buffer of a read that was posted while bytes lay unread; kept for the next such read.
    beside: BytesMut,
}

impl Reader {
    pub(super) fn new(half: ReadHalf, canceller: Option<Canceller>) -> Self {
        let slot = Rc::new(Slot::default());
        Self {
            pump: Box::pin(pump(half, Rc::clone(&slot))),
            slot,
            canceller,
            armed: false,
            step: READ_BYTES_FIRST,
            unread: BytesMut::new(),
            beside: BytesMut::new(),
        }
    }

    /// Bytes received and not understood yet, whether or not a read is under way.
    pub fn unread(&mut self) -> &mut BytesMut {
        &mut self.unread
    }

    /// Whether a read is under way.
    pub fn is_armed(&self) -> bool {
        self.armed
    }

    /// Starts a read if none is under way and polls it: bytes appended to [`Self::unread`], zero at the end of the
    /// stream. Pending keeps the read under way; nothing is lost if nobody asks again for a while.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_read(self.step, cx)
    }

    /// Like [`Self::poll_fill`], for one who has bytes to go on with and wants to know whether the peer is still there.
    pub fn poll_listen(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = if self.unread.is_empty() { self.step } else { LISTEN_BYTES };
        self.poll_read(room, cx)
    }

    fn poll_read(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.armed {
            // What lies unread must stay within reach while the kernel owns the buffer of the read.
            let home = if self.unread.is_empty() { &mut self.unread } else { &mut self.beside };
            let mut buffer = std::mem::take(home);
            // What was read before was understood, and mostly nobody holds it any more: then this goes back to the
            // front of the same memory, whose first lines are warm, and whose rest was never touched.
            if !buffer.try_reclaim(room)
                && (buffer.capacity() - buffer.len() < READ_ROOM_MIN || room > RELAY_BYTES)
            {
                buffer.reserve(room);
            }
            self.arm(buffer);
        }
        self.poll_armed(cx)
    }

    /// Waits for the next bytes.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn arm(&mut self, buffer: BytesMut) {
        self.slot.order.set(Some((buffer, self.canceller.as_ref().map(Canceller::handle))));
        self.armed = true;
    }

    fn poll_armed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Poll::Pending = self.pump.as_mut().poll(cx);
        match self.slot.done.take() {
            Some((result, buffer)) => {
                self.armed = false;
                // A read that filled its room announces more: fewer, larger steps from now on.
                if buffer.len() == buffer.capacity() && buffer.capacity() >= self.step {
                    self.step = if self.step < RELAY_BYTES { RELAY_BYTES } else { RELAY_BYTES_LARGE };
                }
                if self.unread.is_empty() {
                    self.unread = buffer;
                } else {
                    self.unread.extend_from_slice(&buffer);
                    self.beside = buffer;
                    self.beside.clear();
                }
                Poll::Ready(result)
            }
            None => Poll::Pending,
        }
    }

    /// A message ended: the next one starts with smaller steps again, and a large buffer is let go.
    pub fn settle(&mut self) {
        if self.step > RELAY_BYTES {
            self.step = RELAY_BYTES;
            if !self.armed && self.unread.is_empty() {
                self.unread = BytesMut::new();
            }
        }
        self.beside = BytesMut::new();
    }

    /// Gives the buffer of an idle connection back: the read under way is cancelled, awaited, and posted again with
    /// hardly any room. Bytes that came in the meantime are kept; then the connection is not idle. For accepted
    /// connections; others stay as they are.
    pub async fn cool(&mut self) -> io::Result<()> {
        let Some(canceller) = self.canceller.take() else { return Ok(()) };
        self.canceller = Some(if self.armed { canceller.cancel() } else { canceller });
        if self.armed {
            match poll_fn(|cx| self.poll_armed(cx)).await {
                Err(error) if is_cancelled(&error) => {}
                // The end of the stream will be read again; an error is the connection's end.
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
            self.arm(BytesMut::with_capacity(COOL_READ_BYTES));
        }
        Ok(())
    }
}

fn is_cancelled(error: &io::Error) -> bool {
    const ECANCELED: i32 = 125;
    error.raw_os_error() == Some(ECANCELED)
}
