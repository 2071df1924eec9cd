//! Chooses the I/O driver of the event loops, and says why one cannot run.

use std::future::Future;
use std::io;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::base::choice::IoDriver;

/// Entries of each submission ring. A turn of the loop rarely queues more than a few hundred operations.
const RING_ENTRIES: u32 = 1024;

/// io_uring where kernel and container allow it, else epoll. Plain io_uring without cooperative task running is not a
/// choice: it was measured to cost more than epoll.
pub fn choose() -> IoDriver {
    match probe_io_uring() {
        Ok(()) => IoDriver::IoUring,
        Err(_) => IoDriver::Epoll,
    }
}

/// Whether `driver` can run here; the error is the kernel's.
pub fn probe(driver: IoDriver) -> io::Result<()> {
    match driver {
        IoDriver::IoUring => probe_io_uring(),
        IoDriver::Epoll => Ok(()),
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
