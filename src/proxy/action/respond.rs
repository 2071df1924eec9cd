//! Answers of our own: fixed ones of routes, and refusals.

use crate::base::summary::Ended;
use crate::codec::method::Method;
use crate::codec::progress::Progress;
use crate::codec::reply::{ErrorReply, LocalReply, SendBody, Sending, write_reply};
use crate::codec::request::RequestEvent;
use crate::codec::version::{Reuse, Version};
use crate::codec::write::Connection;
use crate::proxy::downstream::{Client, End};
use crate::proxy::ear::Ear;
use crate::proxy::exchange::Exchange;
use crate::proxy::state::LaneState;

/// Answers with an error in the shape that OpenAI clients parse.
pub(in crate::proxy) async fn refuse(
    refusal: ErrorReply,
    exchange: &mut Exchange,
    client: &mut Client,
    lane: &LaneState,
) -> End {
    exchange.tally.code = Some(refusal.code);
    let reply = refusal.into_reply(exchange.request_id.as_str());
    answer(&reply, exchange, client, lane).await
}

/// Sends `reply`. The connection lives on if the request was read to its end without waiting for more of it.
pub(in crate::proxy) async fn answer(
    reply: &LocalReply,
    exchange: &mut Exchange,
    client: &mut Client,
    lane: &LaneState,
) -> End {
    let head = exchange.head.head();
    let rest = skip_rest(&mut client.ear);
    let ends = rest == Rest::Outstanding || client.ear.half_closed || lane.draining.get();
    let connection = match (ends, head.reuse(), head.version()) {
        (true, _, _) | (false, Reuse::Close, _) => Connection::Close,
        (false, Reuse::KeepAlive, Version::Http10) => Connection::KeepAlive,
        (false, Reuse::KeepAlive, Version::Http11) => Connection::Implied,
    };
    let send = match exchange.head.method() {
        Method::Head => SendBody::HeadOnly,
        _ => SendBody::Whole,
    };
    let sending =
        Sending { connection, body: send, date: &lane.date.get(), signature: Some(exchange.signature()) };
    write_reply(&mut client.out, reply, &sending);
    exchange.tally.status = reply.status;
    if send == SendBody::Whole {
        exchange.tally.bytes_out += reply.body.len() as u64;
    }
    exchange.ended = if reply.status < 500 { Ended::Well } else { Ended::Badly };
    client.bound_answer(lane);
    if client.send().await.is_err() {
        exchange.ended = Ended::ClientLeft;
        return End::Close;
    }
    match (rest, connection.reuse()) {
        (Rest::Outstanding, _) => End::Linger,
        (Rest::Read, Reuse::KeepAlive) => End::KeepAlive,
        (Rest::Read, Reuse::Close) => End::Close,
    }
}

/// Whether the request's body is read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Read,
    Outstanding,
}

/// Drops what has arrived of the request's body.
fn skip_rest(ear: &mut Ear) -> Rest {
    if ear.requests.is_between() {
        return Rest::Read;
    }
    loop {
        match ear.requests.next(ear.reader.unread()) {
            Ok(Progress::Ready(RequestEvent::Data(_))) => {}
            Ok(Progress::Ready(RequestEvent::End)) => return Rest::Read,
            Ok(Progress::Ready(RequestEvent::Head(_)) | Progress::NeedMore) | Err(_) => {
                return Rest::Outstanding;
            }
        }
    }
}
