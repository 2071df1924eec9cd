//! Whether an endpoint that closed its connection read anything of a request: what the kernel can prove.
//!
//! A pooled connection may be closed by its endpoint at the very moment at which a request is sent on it. The request
//! may be sent again, whatever its method, if the endpoint read no byte of it. Measured on Linux 6.18, both drivers:
//!
//! | the endpoint | we read | unacknowledged of 2,000 | error kept | proof |
//! |---|---|--:|---|---|
//! | TCP: closed before the request came | end | 2,000 | EPIPE | yes |
//! | TCP: closed with the request unread | ECONNRESET | 0 | | no |
//! | TCP: read all of it, closed or reset | end, ECONNRESET | 0 | | no |
//! | TCP: closed its sending side, read all of it, reset | end | 0 | EPIPE | no |
//! | TCP: read the first half, closed, then the second came | end | 1,000 | EPIPE | no |
//! | Unix: closed before the request came | end; the write fails, 0 handed over | | | yes |
//! | Unix: closed later, read or not | end, ECONNRESET | 0 | | no |
//!
//! So there is proof where nothing was handed to the kernel, and where the end of the stream came first, none of the
//! request's bytes was acknowledged, and the connection was then reset: the FIN acknowledges whatever came before it,
//! and what comes after it to a closed socket is refused. A reset that comes first acknowledges nothing and proves
//! nothing.

use std::io::ErrorKind;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::upstream::Upstream;
use crate::base::limits::STALE_PROOF_WAIT;

/// First pause before the reset is looked for again; each is twice the last.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// No byte of it was read.
    Unread,
    /// It may have been read.
    Unknown,
    /// The refusal may still be on its way.
    NotYet,
}

/// Whether the endpoint read no byte of the request at hand; its answer ended before it began.
pub(super) async fn is_unread(upstream: &mut Upstream) -> bool {
    let until = Instant::now() + STALE_PROOF_WAIT;
    let mut pause = PAUSE;
    loop {
        match look(upstream) {
            Shown::Unread => return true,
            Shown::Unknown => return false,
            Shown::NotYet if Instant::now() >= until => return false,
            Shown::NotYet => monoio::time::sleep(pause).await,
        }
        pause *= 2;
    }
}

fn look(upstream: &mut Upstream) -> Shown {
    // How much was handed over is known once the write has ended; it may have been told what the kernel kept.
    match upstream.writer.poll_idle(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => return Shown::NotYet,
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(error)) => {
            upstream.write_error.get_or_insert(error.kind());
        }
    }
    let handed = upstream.handed();
    if handed == 0 {
        return Shown::Unread;
    }
    let is_unacknowledged = upstream.writer.queued().is_ok_and(|queued| queued as u64 == handed);
    match upstream.write_error {
        _ if !upstream.hung_up || !is_unacknowledged => Shown::Unknown,
        // The error that the kernel kept was told to a write.
        Some(ErrorKind::BrokenPipe) => Shown::Unread,
        Some(_) => Shown::Unknown,
        None if upstream.writer.was_refused() => Shown::Unread,
        None => Shown::NotYet,
    }
}

#[cfg(test)]
mod tests;
