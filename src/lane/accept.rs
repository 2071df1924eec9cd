//! Accepts connections and places each on the least loaded lane.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::inbox::Command;
use super::running::Lane;
use crate::base::ids::{Id, ListenerId};
use crate::base::limits::{ACCEPT_BURST_MAX, TICK};
use crate::net::listen::{Listener, Peer};
use crate::net::stream::Socket;

/// Accepts on one listener until the lane closes it; then empties its queue, so that no client that was told
/// "connected" is reset.
pub(super) async fn run(listener: Listener, id: ListenerId, lane: Rc<Lane>) {
    while !lane.closing.is_set() {
        if lane.is_full() {
            // Further clients wait in the backlog; a place freed on any lane is seen within a tick.
            pause(&lane).await;
            continue;
        }
        if ready(&listener, &lane).await.is_err() || accept_some(&listener, id, &lane).is_err() {
            // Out of descriptors or memory: clients wait in the backlog until some are given back.
            pause(&lane).await;
        }
    }
    // Who waited in the queue was told "connected" already: here no limit counts.
    while let Ok(true) = accept_one(&listener, id, &lane, usize::MAX) {}
}

/// Waits for a connection or for the end of accepting.
async fn ready(listener: &Listener, lane: &Lane) -> io::Result<()> {
    // Waiting for readiness takes nothing out of the socket, so this wait, unlike a read, may be dropped.
    let mut ready = pin!(listener.ready());
    poll_fn(|cx| match lane.closing.poll_set(cx) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => ready.as_mut().poll(cx),
    })
    .await
}

async fn pause(lane: &Lane) {
    let mut sleep = pin!(monoio::time::sleep(TICK));
    poll_fn(|cx| match lane.closing.poll_set(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => sleep.as_mut().poll(cx),
    })
    .await;
}

fn accept_some(listener: &Listener, id: ListenerId, lane: &Rc<Lane>) -> io::Result<()> {
    let max = lane.connections_max();
    for _ in 0..ACCEPT_BURST_MAX {
        if !accept_one(listener, id, lane, max)? {
            break;
        }
    }
    Ok(())
}

/// Accepts one connection if there is one and a place for it.
fn accept_one(listener: &Listener, id: ListenerId, lane: &Rc<Lane>, max: usize) -> io::Result<bool> {
    if !lane.loads.reserve(max) {
        return Ok(false);
    }
    match listener.accept() {
        Ok(Some((socket, peer))) => {
            place(socket, peer, id, lane);
            Ok(true)
        }
        nothing => {
            lane.loads.release();
            match nothing {
                // The client gave up while it waited; the next one has not.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(true),
                Err(error) => Err(error),
                Ok(_) => Ok(false),
            }
        }
    }
}

fn place(socket: Socket, peer: Peer, id: ListenerId, lane: &Rc<Lane>) {
    let own = lane.state.lane;
    let chosen = lane.loads.place(own);
    lane.state.plan().recorder.borrow_mut().lane.accepted += 1;
    if chosen == own {
        return lane.welcome(socket, peer, id);
    }
    match lane.lanes[chosen.position()].tell(Command::Take(socket, peer, id)) {
        Ok(()) => lane.state.plan().recorder.borrow_mut().lane.handed_over += 1,
        Err(Command::Take(socket, peer, id)) => {
            lane.loads.shift(chosen, own);
            lane.welcome(socket, peer, id);
        }
        Err(Command::Adopt(_) | Command::Collect(_) | Command::Drain | Command::Stop) => {
            unreachable!("a full inbox gives back the command it was given")
        }
    }
}

impl Lane {
    fn connections_max(&self) -> usize {
        self.state.plan().plan.limits.connections
    }

    fn is_full(&self) -> bool {
        self.loads.total() >= self.connections_max()
    }
}
