//! Accepts connections and places each on the least loaded lane.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::inbox::{Command, Queue};
use super::running::Lane;
use crate::base::ids::{Id, ListenerId};
use crate::base::limits::{ACCEPT_BURST_MAX, ROOM_PAUSE, TICK};
use crate::net::listen::{Listener, Peer};
use crate::net::stream::Socket;

/// Accepts on one listener until the lane closes it; then empties its queue, so that no client that was told
/// "connected" is reset, unless somebody else does.
pub(super) async fn run(listener: Listener, id: ListenerId, lane: Rc<Lane>) {
    while !lane.closing.is_set() {
        if ready(&listener, &lane).await.is_err() || accept_some(&listener, id, &lane).await.is_err() {
            // Out of descriptors or memory: who rests may have some to give back.
            rest(&lane).await;
        }
    }
    while lane.queue.get() == Queue::Emptied
        && let Ok(Some((socket, peer))) = next(&listener)
    {
        let reserved = lane.loads.reserve(usize::MAX);
        debug_assert!(reserved, "here no limit counts");
        place(socket, peer, id, &lane);
    }
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

async fn accept_some(listener: &Listener, id: ListenerId, lane: &Rc<Lane>) -> io::Result<()> {
    for _ in 0..ACCEPT_BURST_MAX {
        let Some((socket, peer)) = next(listener)? else { break };
        // Whoever finds no place waits here, and those behind it in the backlog.
        while !lane.loads.reserve(most(lane)) {
            rest(lane).await;
        }
        place(socket, peer, id, lane);
    }
    Ok(())
}

/// The next client that waits in the queue.
fn next(listener: &Listener) -> io::Result<Option<(Socket, Peer)>> {
    for _ in 0..ACCEPT_BURST_MAX {
        match listener.accept() {
            // It gave up while it waited; the next one has not.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            accepted => return accepted,
        }
    }
    Ok(None)
}

/// How many places there are. Who was told "connected" before accepting ended has one whatever the limit.
fn most(lane: &Lane) -> usize {
    if lane.closing.is_set() { usize::MAX } else { lane.connections_max() }
}

/// Waits until there may be more room, or accepting ends.
async fn rest(lane: &Lane) {
    let pause: Duration = if lane.make_room(Instant::now()) { ROOM_PAUSE } else { TICK };
    let mut sleep = pin!(monoio::time::sleep(pause));
    poll_fn(|cx| match lane.closing.poll_set(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => sleep.as_mut().poll(cx),
    })
    .await;
}

/// Places a connection, for which a place is reserved.
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
        Err(
            Command::MakeRoom | Command::Adopt(_) | Command::Collect(_) | Command::Drain(_) | Command::Stop,
        ) => unreachable!("a full inbox gives back the command it was given"),
    }
}
