//! The one page with unsafe code: borrows a raw descriptor where monoio offers no way to set a socket option.
#![allow(unsafe_code)] // the reason is the sentence above; everything else in the crate is denied it

use std::os::fd::{BorrowedFd, RawFd};

use socket2::{SockAddr, SockAddrStorage, SockRef};

/// A descriptor number that the socket it was read from keeps open.
///
/// Invariant: it lives inside the struct that owns that socket (`Writer`), so it never outlives it.
#[derive(Debug)]
pub(super) struct LentFd(RawFd);

impl LentFd {
    pub(super) fn of(socket: &impl std::os::fd::AsRawFd) -> Self {
        Self(socket.as_raw_fd())
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
        // SAFETY: by the invariant the descriptor is open for the length of this call.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.0) };
        // A socket that is not connected any more is as broken as it can be.
        let _ = SockRef::from(&borrowed).connect(&nowhere);
    }

    /// Closes the sending side of the connection.
    pub(super) fn shutdown(&self) -> std::io::Result<()> {
        // SAFETY: by the invariant the descriptor is open for the length of this call.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.0) };
        SockRef::from(&borrowed).shutdown(std::net::Shutdown::Write)
    }
}
