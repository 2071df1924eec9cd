//! The one page with unsafe code: borrows a raw descriptor where monoio offers no way to set a socket option or to look
//! without waiting, and gives its write half up without a word.
#![allow(unsafe_code)] // the reasons are in the sentence above; everything else in the crate is denied it

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use bytes::BytesMut;
use monoio::io::{AsyncWriteRent, OwnedWriteHalf};
use socket2::{SockAddr, SockAddrStorage, SockRef};

/// Without waiting, on a blocking socket too (send(2), recv(2)).
const MSG_DONTWAIT: i32 = 0x40;

/// A write half that does not shut its connection down when it is dropped, as monoio's own does: the close that follows
/// at once says the same, and one system call a connection is saved.
pub(super) struct QuietHalf<T: AsyncWriteRent>(ManuallyDrop<OwnedWriteHalf<T>>);

impl<T: AsyncWriteRent> QuietHalf<T> {
    pub(super) fn new(half: OwnedWriteHalf<T>) -> Self {
        Self(ManuallyDrop::new(half))
    }

    pub(super) fn get(&mut self) -> &mut OwnedWriteHalf<T> {
        &mut self.0
    }

    /// The half as monoio knows it.
    pub(super) fn into_inner(self) -> OwnedWriteHalf<T> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither used nor dropped after this, so the half is taken once.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T: AsyncWriteRent> Drop for QuietHalf<T> {
    fn drop(&mut self) {
        let half: &OwnedWriteHalf<T> = &self.0;
        // SAFETY: the half is neither used nor dropped after this, so its count of the socket is ours to give back.
        drop(unsafe { std::ptr::read(&half.0) });
    }
}

/// A descriptor number that the socket it was read from keeps open.
///
/// Invariant: it lives inside a struct that owns a half of that socket (`Reader`, `Writer`) and is not used once that half
/// was given away, so it never outlives the descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct LentFd(RawFd);

impl LentFd {
    pub(super) fn of(socket: &impl AsRawFd) -> Self {
        Self(socket.as_raw_fd())
    }

    /// The descriptor itself.
    pub(super) fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: by the invariant the descriptor is open as long as `self` is used.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }

    /// Resets a TCP connection now: an answer that broke off must not look complete (RFC 9112 §8).
    ///
    /// Connecting to no address dissolves the association with a reset (connect(2), AF_UNSPEC). Lingering for no time
    /// would not do: monoio's write half shuts the connection down when it is dropped, so a FIN would go out first.
    /// A Unix socket has no reset; there the end of the stream is all that can be shown.
    pub(super) fn reset(&self) {
        let nowhere = SockAddrStorage::zeroed();
        let length = nowhere.size_of();
        // SAFETY: zeroed storage is an address of family AF_UNSPEC, for which any length up to its size is valid.
        let nowhere = unsafe { SockAddr::new(nowhere, length) };
        // A socket that is not connected any more is as broken as it can be.
        let _ = SockRef::from(&self.borrow()).connect(&nowhere);
    }

    /// Closes the sending side of the connection.
    pub(super) fn shutdown(&self) -> io::Result<()> {
        SockRef::from(&self.borrow()).shutdown(std::net::Shutdown::Write)
    }

    /// Sends what there is room for now (send(2), MSG_DONTWAIT).
    pub(super) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(&self.borrow()).send_with_flags(bytes, MSG_DONTWAIT)
    }

    /// What lies in the kernel's send queue (SIOCOUTQ): on TCP the bytes that the peer's kernel has not acknowledged
    /// (tcp(7)); on a Unix socket the memory of the messages that the peer has not read to their end, which is somewhat
    /// more than their bytes. Either way it falls while the peer takes bytes, and is zero once it took all.
    pub(super) fn queued(&self) -> io::Result<usize> {
        const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
        // SAFETY: this call writes one C int, on every kind of socket.
        let count =
            unsafe { rustix::ioctl::ioctl(self.borrow(), rustix::ioctl::Getter::<SIOCOUTQ, i32>::new())? };
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// The error that the kernel keeps for the socket (SO_ERROR, socket(7)), which it tells once.
    pub(super) fn error(&self) -> Option<io::Error> {
        SockRef::from(&self.borrow()).take_error().unwrap_or_else(Some)
    }
}

/// Appends what has arrived on `socket`, up to the room that is there, without waiting: zero at the end of the stream,
/// [`io::ErrorKind::WouldBlock`] if nothing has arrived, on a blocking socket too (recv(2), MSG_DONTWAIT).
pub(super) fn receive(socket: &impl AsRawFd, into: &mut BytesMut) -> io::Result<usize> {
    // SAFETY: the socket is borrowed for the length of this call, and keeps its descriptor open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    let count = SockRef::from(&borrowed).recv_with_flags(into.spare_capacity_mut(), MSG_DONTWAIT)?;
    // SAFETY: so many bytes of the room were written.
    unsafe { into.set_len(into.len() + count) };
    Ok(count)
}
