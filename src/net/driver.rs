//! Chooses the I/O driver of the event loops, and says why one cannot run.

use std::future::Future;
use std::io;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

/// Entries of each submission ring. A turn of the loop rarely queues more than a few hundred operations.
const RING_ENTRIES: u32 = 1024;

/// What moves bytes between the kernel and an event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoDriver {
    /// io_uring with cooperative task running.
    IoUring,
    /// epoll.
    Epoll,
}

impl IoDriver {
    /// The name used in arguments, start lines and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }

    /// io_uring where kernel and container allow it, else epoll. Plain io_uring without cooperative task running is
    /// not a choice: it was measured to cost more than epoll.
    pub fn choose() -> Self {
        match probe_io_uring() {
            Ok(()) => Self::IoUring,
            Err(_) => Self::Epoll,
        }
    }

    /// Whether this driver can run here; the error is the kernel's.
    pub fn probe(self) -> io::Result<()> {
        match self {
            Self::IoUring => probe_io_uring(),
            Self::Epoll => Ok(()),
        }
    }
}

fn ring() -> io_uring::Builder {
    let mut ring = io_uring::IoUring::builder();
    ring.setup_coop_taskrun();
    ring
}

/// Builds a ring with exactly the flags that lanes use; containers often forbid the call, old kernels the flag.
fn probe_io_uring() -> io::Result<()> {
    ring().build(RING_ENTRIES).map(drop)
}

/// Runs `future` on a new event loop of this thread, until it ends.
pub fn block_on<F: Future>(driver: IoDriver, future: F) -> io::Result<F::Output> {
    Ok(match driver {
        IoDriver::IoUring => RuntimeBuilder::<TimeDriver<IoUringDriver>>::new()
            .uring_builder(ring())
            .with_entries(RING_ENTRIES)
            .build()?
            .block_on(future),
        IoDriver::Epoll => RuntimeBuilder::<TimeDriver<LegacyDriver>>::new().build()?.block_on(future),
    })
}
