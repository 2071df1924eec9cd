//! The one page with unsafe code: borrows a raw descriptor where monoio offers no way to set a socket option.
#![allow(unsafe_code)] // the reason is the sentence above; everything else in the crate is denied it

use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use socket2::SockRef;

/// A descriptor number that the socket it was read from keeps open.
///
/// Invariant: it lives inside the struct that owns that socket (`Writer`), so it never outlives it.
#[derive(Debug)]
pub(super) struct LentFd(RawFd);

impl LentFd {
    pub(super) fn of(socket: &impl std::os::fd::AsRawFd) -> Self {
        Self(socket.as_raw_fd())
    }

    /// Makes the coming close a reset: an answer that broke off must not look complete (RFC 9112 §8).
    pub(super) fn reset_on_close(&self) {
        // SAFETY: by the invariant the descriptor is open for the length of this call.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.0) };
        // A socket that cannot take the option is closed already, which looks broken enough.
        let _ = SockRef::from(&borrowed).set_linger(Some(Duration::ZERO));
    }
}
