//! Signals as something to wait for: each kind writes into a pipe that the loop reads.

use std::io;

use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::pipe;

/// The signals that mean something to the gateway.
pub(super) struct Signals {
    stop: UnixStream,
    reload: UnixStream,
    reopen: UnixStream,
    replace: UnixStream,
}

impl Signals {
    /// Takes them over from their default effect.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            stop: of(&[SIGTERM, SIGINT])?,
            reload: of(&[SIGHUP])?,
            reopen: of(&[SIGUSR1])?,
            replace: of(&[SIGUSR2])?,
        })
    }

    /// Streams, each with a byte for each request: to stop, to reload, to open log files anew, to replace the binary.
    pub(super) fn split(self) -> [Bytes; 4] {
        [self.stop, self.reload, self.reopen, self.replace].map(Bytes)
    }
}

fn of(signals: &[i32]) -> io::Result<UnixStream> {
    let (write, read) = std::os::unix::net::UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, write.try_clone()?)?;
    }
    UnixStream::from_std(read)
}

/// Signals of one kind.
pub(super) struct Bytes(UnixStream);

impl Bytes {
    /// Waits for the next one. One at a time: two that come together count as two.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        let (result, _) = self.0.read(vec![0; 1]).await;
        match result? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
