//! Tells that a peer hung up while bytes of it lie unread in the kernel and nobody reads.
//!
//! A posted read tells of the end of a stream only behind all bytes before it, so a connection whose reading pauses, with
//! its bytes left in the kernel so that the peer slows down, would never learn that the peer is gone. epoll tells of it
//! beside the bytes (EPOLLRDHUP), and of nothing else if it is asked for nothing else. monoio cannot be asked for it, so
//! each event loop has one small epoll instance, whose own descriptor the loop waits for, on both drivers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::net::UnixStream;
use rustix::event::{Timespec, epoll};

use super::fd::LentFd;
use crate::base::limits::HANGUP_BURST_MAX;

/// What is watched of one event loop. [`Hangups::run`] must run on it, as a task of its own.
pub struct Hangups {
    epoll: OwnedFd,
    /// A second descriptor of the same instance, known to the loop, that only ever waits for readiness.
    readiness: UnixStream,
    watched: RefCell<HashMap<u64, (Watched, Sign)>>,
    /// Ids are never used twice, so that a late event cannot meet a newcomer.
    next: Cell<u64>,
}

/// What counts as a hang-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The peer closed its sending side, or more.
    Close,
    /// Nothing passes in either direction any more: a reset, for the most part.
    Break,
    /// A reset, where both sides have closed their sending sides, which looks like a break by itself.
    Reset,
}

enum Watched {
    Connected(Waker),
    HungUp,
}

impl Hangups {
    /// Watches nothing yet. Must be called on the event loop.
    pub fn new() -> io::Result<Rc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // monoio waits for readiness of what it takes for a socket; it neither reads from this one nor shuts it down.
        let readiness = UnixStream::from_std(StdUnixStream::from(epoll.try_clone()?))?;
        Ok(Rc::new(Self { epoll, readiness, watched: RefCell::default(), next: Cell::new(0) }))
    }

    /// Wakes whom a hang-up concerns, for the life of the loop. Ends only with an error: then none is told any more.
    pub async fn run(&self) -> io::Result<()> {
        loop {
            // Not relaxed: on epoll the word of monoio alone may be an old one, and this would turn for nothing.
            self.readiness.readable(false).await?;
            self.wake()?;
        }
    }

    /// Takes what the kernel has to tell, up to a bound; what is left makes the descriptor ready again. Each descriptor
    /// tells once (EPOLLONESHOT), or once a change (EPOLLET), so this cannot go on by itself.
    fn wake(&self) -> io::Result<()> {
        let mut room = [MaybeUninit::uninit(); HANGUP_BURST_MAX];
        let (events, _) = match epoll::wait(&self.epoll, &mut room, Some(&Timespec::default())) {
            Ok(events) => events,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut watched = self.watched.borrow_mut();
        for event in events {
            let Some((state, sign)) = watched.get_mut(&event.data.u64()) else { continue };
            let flags = event.flags;
            if *sign == Sign::Reset && !flags.contains(epoll::EventFlags::ERR) {
                continue;
            }
            if let Watched::Connected(waker) = std::mem::replace(state, Watched::HungUp) {
                waker.wake();
            }
        }
        Ok(())
    }

    /// Begins to watch the connection of `fd`; an error if the kernel has no room for it.
    pub(super) fn watch(self: &Rc<Self>, fd: LentFd, sign: Sign, cx: &Context<'_>) -> io::Result<Watch> {
        let id = self.next.get();
        self.next.set(id + 1);
        // HUP and ERR are told unasked.
        let flags = match sign {
            Sign::Close => epoll::EventFlags::RDHUP | epoll::EventFlags::ONESHOT,
            Sign::Break => epoll::EventFlags::ONESHOT,
            // Told at each change, so that the hang-up which is there already is told once, and the reset after it too.
            Sign::Reset => epoll::EventFlags::ET,
        };
        epoll::add(&self.epoll, fd.borrow(), epoll::EventData::new_u64(id), flags)?;
        self.watched.borrow_mut().insert(id, (Watched::Connected(cx.waker().clone()), sign));
        Ok(Watch { hangups: Rc::clone(self), id, fd, sign })
    }
}

/// One watched connection; dropping it ends the watching.
///
/// Invariant: it lives inside the [`Reader`](super::reader::Reader) of the connection and goes before the half that keeps
/// the descriptor open, so the descriptor that is taken out of the epoll instance is the one that was put in.
pub(super) struct Watch {
    hangups: Rc<Hangups>,
    id: u64,
    fd: LentFd,
    /// What it watches for.
    pub(super) sign: Sign,
}

impl Watch {
    /// Ready, and from then on always, once the peer closed its sending side, closed all, or reset the connection.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        match self.hangups.watched.borrow_mut().get_mut(&self.id) {
            Some((Watched::Connected(waker), _)) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            Some((Watched::HungUp, _)) | None => Poll::Ready(()),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hangups.watched.borrow_mut().remove(&self.id);
        // By the invariant it is in there; without it there is nothing to take out.
        let _ = epoll::delete(&self.hangups.epoll, self.fd.borrow());
    }
}

#[cfg(test)]
mod tests;
