//! Runs one generation: queue, prefill, tokens at their pace; cancelled the moment its client leaves.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::fault::{Broken, Faults};
use super::openai::Generation;
use super::peer::{Over, Peer, response_head};
use super::reply::{Reply, refuse};
use super::state::State;
use crate::codec::head::RequestHead;
use crate::codec::version::Version;

/// Counts a generation out, however it ends.
struct Counted {
    state: Rc<State>,
    running: bool,
    finished: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.state.counts.borrow_mut();
        counts.running -= u64::from(self.running);
        if self.finished {
            counts.finished += 1;
        } else {
            counts.cancelled += 1;
        }
    }
}

/// Generates and sends the answer.
pub(super) async fn run(
    peer: &mut Peer,
    state: &Rc<State>,
    head: &RequestHead,
    generation: &Generation,
    faults: Faults,
    last: bool,
) -> Result<(), Over> {
    let Some(ticket) = state.slots.enter() else {
        let reply = refuse(503, "overloaded", "too many generations wait");
        return peer.reply(head, &reply, Faults::default(), last).await;
    };
    state.counts.borrow_mut().started += 1;
    let mut counted = Counted { state: Rc::clone(state), running: false, finished: false };
    peer.during(poll_fn(|cx| ticket.poll_granted(cx))).await?;
    counted.running = true;
    {
        let mut counts = state.counts.borrow_mut();
        counts.running += 1;
        counts.prompt_tokens += generation.prompt_tokens as u64;
    }
    peer.pause(prefill(state, generation)).await?;
    if generation.stream {
        stream(peer, state, head, generation, faults, last).await?;
    } else {
        for _ in 1..generation.steps() {
            peer.pause(state.options.itl).await?;
        }
        state.counts.borrow_mut().generation_tokens += generation.completion_tokens() as u64;
        counted.finished = faults.broken == Broken::No;
        return peer.reply(head, &Reply::json(generation.whole()), faults, last).await;
    }
    counted.finished = true;
    if last || head.head().version() == Version::Http10 { Err(Over) } else { Ok(()) }
}

fn prefill(state: &State, generation: &Generation) -> Duration {
    let tokens = generation.prompt_tokens.saturating_sub(generation.cached_tokens);
    let rate = state.options.prefill_rate.unwrap_or(f64::INFINITY);
    state.options.ttft + Duration::try_from_secs_f64(tokens as f64 / rate).unwrap_or_default()
}

async fn stream(
    peer: &mut Peer,
    state: &State,
    head: &RequestHead,
    generation: &Generation,
    Faults { broken, pauses, .. }: Faults,
    last: bool,
) -> Result<(), Over> {
    // HTTP/1.0 knows no chunks: its stream ends with the connection.
    let chunked = head.head().version() == Version::Http11;
    let mut bytes = response_head(head, 200, "text/event-stream; charset=utf-8", last || !chunked);
    bytes.extend_from_slice(if chunked { b"transfer-encoding: chunked\r\n\r\n" } else { b"\r\n" });
    if let Some(opening) = generation.opening() {
        bytes.extend(framed(&opening, chunked));
    }
    peer.write(bytes).await?;
    peer.pause(pauses.first).await?;
    let steps: Vec<usize> = (0..generation.steps()).collect();
    for burst in steps.chunks(state.options.burst.max(1) as usize) {
        if burst[0] > 0 {
            peer.pause(state.options.itl * burst.len() as u32).await?;
            if broken != Broken::No {
                break;
            }
            if burst.last() == steps.last() {
                peer.pause(pauses.token).await?;
            }
        }
        let mut events = state.options.stamp.then(stamp).unwrap_or_default();
        events.extend(burst.iter().map(|step| generation.step(*step)));
        state.counts.borrow_mut().generation_tokens += (generation.choices.len() * burst.len()) as u64;
        peer.write(framed(&events, chunked)).await?;
    }
    peer.pause(pauses.body).await?;
    if broken != Broken::No {
        return Err(peer.break_off(broken).await);
    }
    let mut bytes = framed(&generation.closing(), chunked);
    if chunked {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    peer.write(bytes).await
}

/// A comment that tells the time: nanoseconds since 1970.
fn stamp() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!(": sent {}\n", now.as_nanos())
}

fn framed(text: &str, chunked: bool) -> Vec<u8> {
    if chunked { format!("{:x}\r\n{text}\r\n", text.len()).into_bytes() } else { text.as_bytes().to_vec() }
}
