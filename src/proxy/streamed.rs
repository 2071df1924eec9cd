//! The way out of an answer that is made as it goes: what elements are told of is written as they finish.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

use super::ends::{End, connection, end};
use super::lines::{Lines, Order};
use super::mouth::Mouth;
use super::request::{Call, Request};
use super::source::Cut;
use super::state::LaneState;
use crate::base::fault::{Fault, FaultKind, Sent, Side, Stage};
use crate::base::summary::Ended;
use crate::codec::chunked::{write_last_chunk, write_piece};
use crate::codec::encode::{DownstreamHead, Said, write_answer};
use crate::codec::framing::Framing;
use crate::codec::reply::LocalReply;
use crate::codec::version::Version;

/// Delivers `lines` to their end.
pub(super) async fn run(
    lines: &mut Lines,
    request: &Request,
    call: &mut Call<'_>,
    mouth: &RefCell<Mouth>,
    lane: &LaneState,
) -> End {
    // From here on the client may be as slow with its lines as they are answered.
    call.body.be_answered(request.plan.plan.limits.idle_timeout);
    let is_old = request.head.head().version() == Version::Http10;
    let framing = if is_old { Framing::UntilClose } else { Framing::Chunked };
    let connection = connection(request, call, is_old, lane);
    let reply = LocalReply {
        status: 200,
        content_type: lines.content_type.into(),
        fields: Vec::new(),
        body: bytes::Bytes::new(),
    };
    let (date, signature) = (lane.date.get(), Some(request.signature(call)));
    let head = DownstreamHead { framing, connection, date: Some(&date[..]), signature };
    write_answer(&mut mouth.borrow_mut().out, Said::Own(&reply), &head);
    let notes = &mut call.notes;
    (notes.status, notes.stage, notes.looks_whole) = (200, Stage::Relay, is_old);
    // It is written as its elements are answered.
    notes.answered = Some(Instant::now());
    match tell(lines, framing, call, mouth).await {
        Ok(()) => {
            call.notes.ended = Ended::Well;
            end(connection, call.body.skip(), request)
        }
        Err(cut) => {
            let notes = &mut call.notes;
            let (side, kind) = match cut {
                Cut::Unheld => (Side::Proxy, FaultKind::BodyTooLarge),
                Cut::Body(_) | Cut::Upstream(_) => (Side::Downstream, FaultKind::BadMessage),
            };
            notes.fault = Some(Fault { side, stage: Stage::Relay, kind, sent: Sent::Partly });
            notes.ended = if side == Side::Proxy { Ended::Badly } else { Ended::ClientLeft };
            if is_old { End::Reset } else { End::Close }
        }
    }
}

async fn tell(
    lines: &mut Lines,
    framing: Framing,
    call: &mut Call<'_>,
    mouth: &RefCell<Mouth>,
) -> Result<(), Cut> {
    let is_array = lines.order == Order::Array;
    let say = |call: &mut Call<'_>, piece: &[u8]| {
        call.notes.bytes_out += piece.len() as u64;
        write_piece(piece, framing, &mut mouth.borrow_mut().out);
    };
    if is_array {
        say(call, b"[");
    }
    for number in 0.. {
        // While the client takes what it was told, the others work on.
        beside(lines, call, mouth, Mouth::poll_send).await?;
        let since = Instant::now();
        call.notes.since = Some(since);
        let next = poll_fn(|cx| lines.poll_next(&mut call.body, cx)).await;
        call.notes.waited += since.elapsed();
        call.notes.since = None;
        let Some(finished) = next? else { break };
        beside(lines, call, mouth, Mouth::poll_written).await?;
        let mut told = finished.told;
        match is_array {
            true if number > 0 => told.insert(0, b','),
            true => {}
            false => told.push(b'\n'),
        }
        say(call, &told);
    }
    if is_array {
        say(call, b"]");
    }
    if let Some(line) = lines.beyond() {
        say(call, &line);
    }
    if framing == Framing::Chunked {
        write_last_chunk(&mut mouth.borrow_mut().out);
    }
    poll_fn(|cx| mouth.borrow_mut().poll_send(cx)).await;
    Ok(())
}

/// Waits for the client's side while elements work on.
async fn beside(
    lines: &mut Lines,
    call: &mut Call<'_>,
    mouth: &RefCell<Mouth>,
    poll: fn(&mut Mouth, &mut Context<'_>) -> Poll<()>,
) -> Result<(), Cut> {
    let begun = Instant::now();
    let taken = poll_fn(|cx| match lines.drive(&mut call.body, cx) {
        Ok(()) => poll(&mut mouth.borrow_mut(), cx).map(Ok),
        Err(cut) => Poll::Ready(Err(cut)),
    });
    let taken = taken.await;
    call.notes.written(begun.elapsed());
    taken
}
