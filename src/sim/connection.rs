//! One connection: requests in turn, each with the fault it asks for.

use std::rc::Rc;

use super::api::Answer;
use super::fault::{Broken, Faults};
use super::generate;
use super::peer::{Over, Peer};
use super::reply::refuse;
use super::state::State;
use crate::codec::version::Reuse;
use crate::net::stream::{Socket, Whole};

/// Serves one connection to its end.
pub(super) async fn run(socket: Socket, state: Rc<State>) {
    let Ok(stream) = Whole::adopt(socket).map(Whole::split) else { return };
    state.counts.borrow_mut().connections += 1;
    let mut peer = Peer::new(stream);
    while exchange(&mut peer, &state).await.is_ok() {}
}

async fn exchange(peer: &mut Peer, state: &Rc<State>) -> Result<(), Over> {
    let (head, body) = peer.request(state.options.keep_alive).await?;
    state.counts.borrow_mut().requests += 1;
    let last = head.head().reuse() == Reuse::Close;
    let Some(body) = body else {
        let reply = refuse(413, "body_too_large", "the body is too long");
        peer.reply(&head, &reply, Faults::default(), true).await?;
        return Err(Over);
    };
    let faults = match Faults::of(&head) {
        Ok(faults) => faults,
        Err(message) => {
            let reply = refuse(400, "bad_fault", &message);
            return peer.reply(&head, &reply, Faults::default(), last).await;
        }
    };
    if let Some(delay) = faults.delay {
        peer.during(monoio::time::sleep(delay)).await?;
    }
    if faults.broken == Broken::ResetHead {
        return Err(peer.reset());
    }
    if let Some(status) = faults.status {
        let mut reply = refuse(status, "simulated", "a fault that was asked for");
        reply.fields.extend(faults.retry_after.map(|seconds| ("retry-after", seconds.to_string())));
        return peer.reply(&head, &reply, faults, last).await;
    }
    match state.answer(&head, &body) {
        Answer::Reply(reply) => peer.reply(&head, &reply, faults, last).await,
        Answer::Generation(generation) => generate::run(peer, state, &head, &generation, faults, last).await,
    }
}
