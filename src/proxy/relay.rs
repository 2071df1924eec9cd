//! The answer's way back: head and first bytes in one write, then one read, one write, until the end.

use std::future::poll_fn;
use std::time::Instant;

use bytes::Bytes;

use super::attempt::{Answer, Upload};
use super::downstream::{Client, End};
use super::ear::Interrupt;
use super::exchange::Exchange;
use super::state::LaneState;
use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::limits::{RELAY_BYTES, WRITE_STALL};
use crate::base::summary::Ended;
use crate::base::time::{deadline, earlier, micros};
use crate::codec::chunked::{write_chunk, write_last_chunk};
use crate::codec::encode::{DownstreamHead, write_response};
use crate::codec::framing::Framing;
use crate::codec::progress::Progress;
use crate::codec::response::ResponseEvent;
use crate::codec::sse::EventCounter;
use crate::codec::version::{Reuse, Version};
use crate::codec::write::Connection;

/// Relays an answer to its end. What could not be finished ends visibly broken.
pub(super) async fn run(
    answer: Answer,
    exchange: &mut Exchange,
    client: &mut Client,
    lane: &LaneState,
) -> End {
    let mut relay = Relay::new(answer, exchange);
    let connection = relay.connection(exchange, client, lane);
    let date = lane.date.get();
    let said = DownstreamHead {
        framing: relay.framing,
        connection,
        date: (!relay.answer.head.is_dated()).then_some(&date[..]),
        signature: exchange.signature(),
    };
    write_response(&mut client.out, &relay.answer.head, &said);
    exchange.tally.status = relay.answer.head.status();
    let delivered = relay.body(exchange, client).await;
    relay.finish(delivered, connection, exchange, lane)
}

struct Relay {
    answer: Answer,
    /// How the body is delimited towards the client.
    framing: Framing,
    watch: Watch,
    /// Token-bearing events in what is about to be written.
    fresh_tokens: u64,
    last_token: Option<Instant>,
    /// When the bytes at hand arrived.
    turn: Instant,
}

/// What is looked for in the body.
enum Watch {
    /// Token-bearing events.
    Events(EventCounter),
    /// The first byte of a stream of another kind.
    FirstByte,
    /// Nothing: an answer of known length is no stream.
    Nothing,
}

/// Why the body's relay was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    UpstreamBroke,
    ClientLeft,
}

fn not_delivered(why: Interrupt) -> Cut {
    match why {
        Interrupt::ClientLeft => Cut::ClientLeft,
        Interrupt::Expired => Cut::UpstreamBroke,
    }
}

/// What a wait for the upstream ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    MoreBytes,
    EndOfBody,
}

/// What one look at the upstream's bytes gave.
enum Taken {
    /// All that has arrived is in the client's buffer.
    Some,
    /// A large piece that is written as it is, after the client's buffer.
    Piece(Bytes),
    /// The body is complete.
    End,
    /// The answer breaks its framing.
    Broken,
}

impl Relay {
    fn new(answer: Answer, exchange: &Exchange) -> Self {
        let http10 = exchange.head.head().version() == Version::Http10;
        let framing = match answer.framing {
            Framing::Empty => Framing::Empty,
            Framing::Length(length) => Framing::Length(length),
            Framing::Chunked | Framing::UntilClose if http10 => Framing::UntilClose,
            Framing::Chunked | Framing::UntilClose => Framing::Chunked,
        };
        let watch = match answer.framing {
            Framing::Empty => Watch::Nothing,
            _ if answer.head.is_event_stream() => Watch::Events(EventCounter::new()),
            Framing::Length(_) => Watch::Nothing,
            Framing::Chunked | Framing::UntilClose => Watch::FirstByte,
        };
        let turn = exchange.tally.answered.unwrap_or_else(Instant::now);
        Self { answer, framing, watch, fresh_tokens: 0, last_token: None, turn }
    }

    fn connection(&self, exchange: &Exchange, client: &Client, lane: &LaneState) -> Connection {
        let head = exchange.head.head();
        let ends = self.answer.request == Upload::CutShort
            || self.framing == Framing::UntilClose
            || client.ear.half_closed
            || lane.draining.get();
        match (ends, head.reuse(), head.version()) {
            (true, _, _) | (false, Reuse::Close, _) => Connection::Close,
            (false, Reuse::KeepAlive, Version::Http10) => Connection::KeepAlive,
            (false, Reuse::KeepAlive, Version::Http11) => Connection::Implied,
        }
    }

    async fn body(&mut self, exchange: &mut Exchange, client: &mut Client) -> Result<(), Cut> {
        loop {
            // The cluster's clocks do not run while we wait for the client, but for the one of the whole exchange.
            client.ear.wait_until(exchange.deadline);
            // A client that has not taken the last piece holds up the next: so it holds up the upstream too.
            client.written().await.map_err(not_delivered)?;
            let taken = self.take(exchange, &mut client.out);
            // One write for whatever one read brought: the head too, if it was not sent yet.
            client.send().await.map_err(not_delivered)?;
            match taken {
                Taken::End => {
                    if self.fresh_tokens > 0 {
                        self.note_tokens(exchange);
                    }
                    return Ok(());
                }
                Taken::Broken => return Err(Cut::UpstreamBroke),
                Taken::Piece(piece) => client.write(piece).await.map_err(not_delivered)?,
                Taken::Some => {
                    let handed_over = self.note_tokens(exchange);
                    if self.wait(exchange, client, handed_over).await? == Waited::EndOfBody {
                        return self.end_of_body(client).await;
                    }
                }
            }
        }
    }

    /// Moves what has arrived into the client's buffer, framed for the client.
    fn take(&mut self, exchange: &mut Exchange, out: &mut Vec<u8>) -> Taken {
        let upstream = &mut self.answer.upstream;
        loop {
            match upstream.responses.next(upstream.reader.unread()) {
                Ok(Progress::Ready(ResponseEvent::Data(data))) => {
                    exchange.tally.bytes_out += data.len() as u64;
                    match &mut self.watch {
                        Watch::Events(counter) => self.fresh_tokens += counter.feed(&data),
                        Watch::FirstByte => {
                            self.fresh_tokens = 1;
                            self.watch = Watch::Nothing;
                        }
                        Watch::Nothing => {}
                    }
                    match self.framing {
                        Framing::Chunked => write_chunk(out, &data),
                        // Copying a small piece is cheaper than a second write; a large one goes as it is.
                        _ if data.len() > RELAY_BYTES => return Taken::Piece(data),
                        Framing::Length(_) | Framing::UntilClose | Framing::Empty => {
                            out.extend_from_slice(&data)
                        }
                    }
                }
                Ok(Progress::Ready(ResponseEvent::End)) => {
                    if self.framing == Framing::Chunked {
                        write_last_chunk(out);
                    }
                    return Taken::End;
                }
                Ok(Progress::NeedMore) => return Taken::Some,
                Ok(Progress::Ready(ResponseEvent::Head(..) | ResponseEvent::Interim(_))) | Err(_) => {
                    return Taken::Broken;
                }
            }
        }
    }

    /// Waits for the upstream's next bytes, beside the client's leaving and the clocks.
    async fn wait(
        &mut self,
        exchange: &mut Exchange,
        client: &mut Client,
        since: Instant,
    ) -> Result<Waited, Cut> {
        client
            .ear
            .wait_until(earlier(deadline(since, self.answer.timeouts.between_bytes), exchange.deadline));
        let upstream = &mut self.answer.upstream;
        let filled = client.ear.during(poll_fn(|cx| upstream.reader.poll_fill(cx))).await;
        self.turn = Instant::now();
        exchange.tally.waited += self.turn - since;
        match filled {
            Ok(Ok(0)) => {
                upstream.responses.finish().map(|()| Waited::EndOfBody).map_err(|_| Cut::UpstreamBroke)
            }
            Ok(Ok(_)) => Ok(Waited::MoreBytes),
            Ok(Err(_)) => Err(Cut::UpstreamBroke),
            Err(why) => Err(not_delivered(why)),
        }
    }

    /// The upstream's close ended a body that runs until close.
    async fn end_of_body(&self, client: &mut Client) -> Result<(), Cut> {
        if self.framing == Framing::Chunked {
            write_last_chunk(&mut client.out);
            client.send().await.map_err(not_delivered)?;
        }
        Ok(())
    }

    /// The bytes were handed to the kernel: notes TTFT and ITL of the events among them, and tells the time.
    fn note_tokens(&mut self, exchange: &mut Exchange) -> Instant {
        let now = Instant::now();
        if now - self.turn > WRITE_STALL {
            exchange.tally.waited_client += now - self.turn;
        }
        let events = std::mem::take(&mut self.fresh_tokens);
        if events == 0 {
            return now;
        }
        let gap = self.last_token.replace(now).map(|last| micros(last, now));
        if gap.is_none() {
            exchange.tally.first_token = Some(now);
        }
        if matches!(self.watch, Watch::Events(_)) {
            exchange.tally.tokens += events;
            // The first event has no gap before it; those that left with it have gaps of zero.
            let gaps = if gap.is_some() { events } else { events - 1 };
            if let (Some(route), Some(endpoint), true) =
                (exchange.tally.route, exchange.tally.endpoint, gaps > 0)
            {
                exchange.plan.recorder.borrow_mut().record_gap(route, endpoint, gap.unwrap_or(0), gaps);
            }
        }
        now
    }

    fn finish(
        self,
        delivered: Result<(), Cut>,
        connection: Connection,
        exchange: &mut Exchange,
        lane: &LaneState,
    ) -> End {
        let Answer { mut upstream, head, in_flight, request, .. } = self.answer;
        let failed = delivered == Err(Cut::UpstreamBroke) || head.status() >= 500;
        exchange.tally.upstream_fault = failed;
        exchange.tally.fault = match delivered {
            Ok(()) => None,
            Err(Cut::UpstreamBroke) => {
                Some(Fault::upstream(Stage::Relay, FaultKind::Truncated, Sent::Wholly))
            }
            Err(Cut::ClientLeft) => Some(Fault::client_left(Stage::Relay, Sent::Wholly)),
        };
        exchange.ended = match (delivered, failed) {
            (Err(Cut::ClientLeft), _) => Ended::ClientLeft,
            (_, true) => Ended::Badly,
            (_, false) => Ended::Well,
        };
        let now = Instant::now();
        exchange.over = Some(now);
        if delivered.is_ok()
            && request == Upload::Complete
            && upstream.responses.reuse() == Reuse::KeepAlive
            && upstream.reader.unread().is_empty()
        {
            upstream.responses.recycle(head);
            lane.give_back(in_flight.endpoint(), upstream, now);
        }
        match (delivered, request, connection.reuse()) {
            (Ok(()), Upload::CutShort, _) => End::Linger,
            (Ok(()), Upload::Complete, Reuse::KeepAlive) => End::KeepAlive,
            (Ok(()), Upload::Complete, Reuse::Close) => End::Close,
            // Without a length or a last chunk only a reset tells a cut answer from a whole one.
            (Err(Cut::UpstreamBroke), _, _) if self.framing == Framing::UntilClose => End::Reset,
            (Err(Cut::UpstreamBroke | Cut::ClientLeft), _, _) => End::Close,
        }
    }
}
