//! An answer that begins before anybody gave one: its head and comments while its request waits, and what becomes of it in the
//! end. What is no event stream then is told as an error in the one that has begun, which ends visibly broken.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;

use super::allowance::Allowance;
use super::answered::Answer;
use super::collect::collect;
use super::early::{Begun, Early};
use super::ends::{End, connection};
use super::intake::Rest;
use super::reply;
use super::request::{Call, Request};
use super::source::Relayed;
use super::state::LaneState;
use crate::base::limits::REFUSAL_BYTES_MAX;
use crate::base::summary::Ended;
use crate::codec::chunked::write_piece;
use crate::codec::content::is_encoded;
use crate::codec::encode::{DownstreamHead, Said, Signature, write_answer};
use crate::codec::framing::Framing;
use crate::codec::reply::LocalReply;
use crate::codec::version::Version;

/// Readers of event streams pass over it.
const COMMENT: &[u8] = b": waiting\n\n";

/// Tells the client that it waits, since `since`; the first time the head leaves too. One that has not taken the last comment is not told
/// again.
pub(super) async fn comment(request: &Request, call: &mut Call<'_>, since: Instant) {
    let is_first = call.begun.is_none();
    if is_first {
        // The head tells where the time went: since then it waited, which is noted once that is over.
        let waited = since.elapsed();
        call.notes.phases.queue += waited;
        begin(request, call);
        call.notes.phases.queue -= waited;
    }
    let Some(begun) = &call.begun else { return };
    let mouth = begun.way.mouth;
    if is_first || mouth.borrow().out.is_empty() {
        write_piece(COMMENT, begun.framing, &mut mouth.borrow_mut().out);
        call.notes.bytes_out += COMMENT.len() as u64;
    }
    poll_fn(|cx| {
        // Its write goes on beside the wait.
        let _ = mouth.borrow_mut().poll_send(cx);
        Poll::Ready(())
    })
    .await;
}

fn begin(request: &Request, call: &mut Call<'_>) {
    let Some(way) = call.early.way() else { return };
    let is_old = way.version == Version::Http10;
    let framing = if is_old { Framing::UntilClose } else { Framing::Chunked };
    let connection = connection(request, call, is_old, way.lane);
    let reply = LocalReply {
        status: 200,
        content_type: Bytes::from_static(b"text/event-stream"),
        fields: vec![("cache-control", "no-cache".to_owned())],
        body: Bytes::new(),
    };
    let dress = request.dressed();
    let signature = Signature { dress: dress.as_ref(), ..request.signature(call) };
    let date = way.lane.date.get();
    let head = DownstreamHead { framing, connection, date: Some(&date[..]), signature: Some(signature) };
    write_answer(&mut way.mouth.borrow_mut().out, Said::Own(&reply), &head);
    (call.notes.status, call.notes.looks_whole) = (200, is_old);
    call.begun = Some(Box::new(Begun { way, framing, connection }));
    // An interim answer would stand inside it.
    call.early = Early::nobody();
}

/// What cannot follow a head that left takes the form of an error.
pub(super) async fn settle(answer: &mut Answer, request: &Request, call: &mut Call<'_>, lane: &LaneState) {
    let Answer::Relayed(relayed) = answer else { return };
    if relayed.head.status() == 200 && relayed.head.is_event_stream() && !is_encoded(relayed.head.head()) {
        return;
    }
    let Answer::Relayed(relayed) = std::mem::replace(answer, Answer::OfRoute) else { return };
    *answer = Answer::Own(refusal(relayed, request, call, lane).await);
}

async fn refusal(relayed: Relayed, request: &Request, call: &mut Call<'_>, lane: &LaneState) -> LocalReply {
    let status = relayed.head.status();
    let refusal = match status {
        // Its body has no end.
        101 => reply::no_stream(),
        _ => match collect(relayed, request, call, (lane, Allowance::of(REFUSAL_BYTES_MAX))).await {
            Ok(_) if status < 300 => reply::no_stream(),
            Ok(answer) => match reply::own_error(&answer.body) {
                Some(body) => {
                    let content_type = Bytes::from_static(b"application/json");
                    return LocalReply { status, content_type, fields: Vec::new(), body };
                }
                None => reply::of_answer(status, &answer.body),
            },
            Err(refusal) => refusal,
        },
    };
    call.notes.code = Some(refusal.code);
    refusal.into_reply(request.id.as_str())
}

/// An error is told where a head of 200 left, and the connection ends inside the stream.
pub(super) async fn refuse(begun: Box<Begun<'_>>, reply: &LocalReply, call: &mut Call<'_>) -> End {
    let event = [b"data: ", &reply.body[..], b"\n\n"].concat();
    write_piece(&event, begun.framing, &mut begun.way.mouth.borrow_mut().out);
    call.notes.bytes_out += event.len() as u64;
    call.notes.ended = if reply.status < 500 { Ended::Well } else { Ended::Badly };
    // Whatever its endpoint said.
    call.notes.status = 200;
    let rest = call.body.skip();
    poll_fn(|cx| begun.way.mouth.borrow_mut().poll_send(cx)).await;
    match (begun.framing, rest) {
        // Only a reset tells it from one that is whole.
        (Framing::UntilClose, _) => End::Reset,
        (_, Rest::Outstanding) => End::Linger,
        (_, Rest::Read) => End::Close,
    }
}
