//! Wakes another thread's event loop: a socket pair of which the loop reads one end.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;

/// The end that other threads ring. Ringing twice before the loop woke costs one write.
#[derive(Debug)]
pub struct Doorbell {
    socket: std::os::unix::net::UnixStream,
    rung: AtomicBool,
}

/// The end the loop waits at, before it is made the loop's own.
#[derive(Debug)]
pub struct BellSocket(std::os::unix::net::UnixStream);

/// A doorbell and its other end.
pub fn doorbell() -> io::Result<(Doorbell, BellSocket)> {
    let (ringing, hearing) = std::os::unix::net::UnixStream::pair()?;
    ringing.set_nonblocking(true)?;
    Ok((Doorbell { socket: ringing, rung: AtomicBool::new(false) }, BellSocket(hearing)))
}

impl Doorbell {
    /// Wakes the loop. What was sent through a channel before this call is seen after the wake.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A full socket means that a ring is waiting already; a closed one that nobody listens any more.
            let _ = (&self.socket).write(&[1]);
        }
    }

    /// The loop woke and looks at its channel next: from now on a ring wakes it again.
    pub fn heard(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

/// The end the loop waits at.
pub struct Bell {
    socket: UnixStream,
    buffer: Vec<u8>,
}

impl Bell {
    /// Makes the socket this event loop's own.
    pub fn adopt(socket: BellSocket) -> io::Result<Self> {
        socket.0.set_nonblocking(monoio::utils::is_legacy())?;
        Ok(Self { socket: UnixStream::from_std(socket.0)?, buffer: vec![0; 64] })
    }

    /// Waits for a ring; an error means that nobody can ring any more. Never dropped half-way: one task waits here
    /// for the life of the loop.
    pub async fn wait(&mut self) -> io::Result<()> {
        let (result, buffer) = self.socket.read(std::mem::take(&mut self.buffer)).await;
        self.buffer = buffer;
        match result? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
