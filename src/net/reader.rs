//! The receiving half of a connection: reads that can be left and taken up again without losing a byte.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, CancelHandle, CancelableAsyncReadRent, Canceller, OwnedReadHalf};
use monoio::net::{TcpStream, UnixStream};

use super::fd::LentFd;
use super::hangup::{Hangups, Sign, Watch};
use super::tls::{Opener, Session};
use crate::base::limits::{LISTEN_BYTES, READ_BYTES_FIRST, READ_ROOM_MIN, RELAY_BYTES, RELAY_BYTES_LARGE};

pub(super) enum ReadHalf {
    Tcp(OwnedReadHalf<TcpStream>),
    Unix(OwnedReadHalf<UnixStream>),
}

enum Order {
    Read(BytesMut, Option<CancelHandle>),
    /// Give the half back.
    Stop,
}

/// The mailbox between a reader and its pump. Each side takes what the other put.
#[derive(Default)]
struct Slot {
    order: Cell<Option<Order>>,
    done: Cell<Option<(io::Result<usize>, BytesMut)>>,
}

/// Performs one read after the other, as ordered. It owns the operation, so an unfinished read lives as long as the
/// connection, whoever polls it: one allocation a connection instead of one lost byte.
async fn pump(mut half: ReadHalf, slot: Rc<Slot>) -> ReadHalf {
    loop {
        let order = poll_fn(|_| slot.order.take().map_or(Poll::Pending, Poll::Ready)).await;
        let Order::Read(buffer, cancel) = order else { return half };
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
    /// Watches for a hang-up while reading pauses. It stands here, before the pump: the half that the pump holds keeps the
    /// watched descriptor open, and fields are dropped in this order.
    watch: Option<Watch>,
    pump: Pin<Box<dyn Future<Output = ReadHalf>>>,
    slot: Rc<Slot>,
    /// Cancels the read under way; none where that never happens, for each read that can be cancelled is registered.
    canceller: Option<Canceller>,
    armed: bool,
    step: usize,
    unread: BytesMut,
    /// The buffer of a read that was posted while bytes lay unread; kept for the next such read.
    beside: BytesMut,
    /// What is encrypted, with TLS.
    opener: Option<Box<Opener>>,
    fd: LentFd,
}

impl Reader {
    /// A reader whose first reads have room for `step` bytes; `half` keeps `fd` open.
    pub(super) fn new(half: ReadHalf, fd: LentFd, canceller: Option<Canceller>, step: usize) -> Self {
        let slot = Rc::new(Slot::default());
        Self {
            watch: None,
            pump: Box::pin(pump(half, Rc::clone(&slot))),
            slot,
            canceller,
            armed: false,
            step,
            unread: BytesMut::new(),
            beside: BytesMut::new(),
            opener: None,
            fd,
        }
    }

    /// The same with TLS.
    pub(super) fn with_session(self, session: Session) -> Self {
        Self { opener: Some(Box::new(Opener::new(session))), ..self }
    }

    /// Bytes received and not understood yet, whether or not a read is under way.
    pub fn unread(&mut self) -> &mut BytesMut {
        &mut self.unread
    }

    /// Whether a read is under way.
    #[cfg(test)]
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

    /// Ready once the peer hung up, as `sign` says, whatever lies unread before that: for one who reads no further for
    /// now. The next read ends the watching. A kernel without room for it tells
    /// nothing: it is the clocks that end such a connection then.
    pub fn poll_hung_up(&mut self, hangups: &Rc<Hangups>, sign: Sign, cx: &mut Context<'_>) -> Poll<()> {
        match &self.watch {
            Some(watch) if watch.sign == sign => watch.poll(cx),
            _ => {
                // The old one goes first: a descriptor is watched once.
                self.watch = None;
                self.watch = hangups.watch(self.fd, sign, cx).ok();
                Poll::Pending
            }
        }
    }

    fn poll_read(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.watch = None;
        if let Some(opener) = self.opener.take() {
            return self.poll_opened(opener, cx);
        }
        loop {
            if !self.armed {
                self.order_read(room);
            }
            match self.poll_armed(cx) {
                // Somebody began to disarm and left; whoever asks now wants to read.
                Poll::Ready(Err(error)) if is_cancelled(&error) => {}
                polled => return polled,
            }
        }
    }

    /// The same with TLS: what arrives is decrypted first.
    #[cold]
    fn poll_opened(&mut self, mut opener: Box<Opener>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let polled = loop {
            match opener.open(&mut self.unread) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                told => break Poll::Ready(told),
            }
            if !self.armed {
                self.arm(opener.take_buffer());
            }
            let Some((result, buffer)) = self.poll_done(cx) else { break Poll::Pending };
            if let Err(error) = result.and_then(|count| opener.take_in(count, buffer)) {
                break Poll::Ready(Err(error));
            }
        };
        self.opener = Some(opener);
        polled
    }

    fn order_read(&mut self, room: usize) {
        // What lies unread must stay within reach while the kernel owns the buffer of the read.
        let home = if self.unread.is_empty() { &mut self.unread } else { &mut self.beside };
        let mut buffer = std::mem::take(home);
        // What was read before was understood, and mostly nobody holds it any more: then this goes back to the front of
        // the same memory, whose first lines are warm, and whose rest was never touched.
        if !buffer.try_reclaim(room)
            && (buffer.capacity() - buffer.len() < READ_ROOM_MIN || room > RELAY_BYTES)
        {
            buffer.reserve(room);
        }
        self.arm(buffer);
    }

    /// Waits for the next bytes.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn arm(&mut self, buffer: BytesMut) {
        self.slot.order.set(Some(Order::Read(buffer, self.canceller.as_ref().map(Canceller::handle))));
        self.armed = true;
    }

    /// What the read under way brought, if it ended.
    #[inline(always)] // it hands on a buffer, at each read
    fn poll_done(&mut self, cx: &mut Context<'_>) -> Option<(io::Result<usize>, BytesMut)> {
        let polled = self.pump.as_mut().poll(cx);
        debug_assert!(polled.is_pending(), "it was not told to stop");
        let done = self.slot.done.take();
        self.armed &= done.is_none();
        done
    }

    fn poll_armed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.poll_done(cx) {
            Some((result, buffer)) => {
                // A read that filled its room announces more: fewer, larger steps from now on.
                if buffer.len() == buffer.capacity() && buffer.capacity() >= self.step {
                    let steps = [READ_BYTES_FIRST, RELAY_BYTES, RELAY_BYTES_LARGE];
                    self.step = *steps.iter().find(|step| **step > self.step).unwrap_or(&RELAY_BYTES_LARGE);
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

    /// Ends the read under way, so that the half can be given back. Bytes that came in the meantime lie unread; the end
    /// of the stream is told again by the next read. For accepted connections: the reads of others cannot be cancelled.
    pub async fn disarm(&mut self) -> io::Result<()> {
        if !self.armed {
            return Ok(());
        }
        let Some(canceller) = self.canceller.take() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        self.canceller = Some(canceller.cancel());
        match poll_fn(|cx| self.poll_armed(cx)).await {
            Err(error) if !is_cancelled(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The half itself; none while a read is under way or bytes lie unread.
    pub(super) fn into_half(mut self) -> Option<ReadHalf> {
        if self.armed || !self.unread.is_empty() || self.opener.is_some() {
            return None;
        }
        self.watch = None;
        self.slot.order.set(Some(Order::Stop));
        match self.pump.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(half) => Some(half),
            Poll::Pending => None,
        }
    }
}

fn is_cancelled(error: &io::Error) -> bool {
    const ECANCELED: i32 = 125;
    error.raw_os_error() == Some(ECANCELED)
}

#[cfg(test)]
mod tests;
