//! Reads and holds a body that the route depends on, as far as the decision needs it.

use std::rc::Rc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::decide;
use super::downstream::Client;
use super::ear::Interrupt;
use super::exchange::{Exchange, Stop};
use super::reply;
use super::state::LaneState;
use crate::base::fault::Sent;
use crate::base::ids::RouteId;
use crate::base::limits::{BUFFERED_STEP_BYTES, BUFFERED_WAIT, HELD_PIECE_BYTES};
use crate::board::buffered::Reservation;
use crate::codec::framing::Framing;
use crate::codec::progress::Progress;
use crate::codec::request::RequestEvent;
use crate::route::body::{BodyRules, BodyScanner, BodySeen, Kind, kind};

/// A whole body, held; its room is given back with it.
pub(super) struct Held {
    pieces: Vec<Bytes>,
    open: BytesMut,
    length: u64,
    /// How many pieces the attempt at hand has sent.
    sent: usize,
    room: Reservation,
}

impl Held {
    /// Starts from the beginning, for another attempt.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The next piece to send.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let piece = self.pieces.get(self.sent).cloned();
        self.sent += 1;
        piece
    }

    /// Copies into pieces of our own: what arrived may be a few bytes of a large read buffer each.
    fn push(&mut self, mut data: &[u8]) {
        self.length += data.len() as u64;
        while !data.is_empty() {
            if self.open.capacity() == 0 {
                self.open.reserve(data.len().clamp(1024, HELD_PIECE_BYTES));
            }
            let (fits, rest) = data.split_at(data.len().min(self.open.capacity() - self.open.len()));
            self.open.extend_from_slice(fits);
            data = rest;
            if self.open.len() == self.open.capacity() {
                self.close_piece();
            }
        }
    }

    fn close_piece(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push(std::mem::take(&mut self.open).freeze());
        }
    }
}

/// Reads the body of a request whose route depends on it, and decides. A body that was read is then held in the
/// exchange; one that cannot be looked into is left where it is.
pub(super) async fn decide(
    exchange: &mut Exchange,
    client: &mut Client,
    lane: &LaneState,
    rules: BodyRules,
) -> Result<RouteId, Stop> {
    let plan = Rc::clone(&exchange.plan);
    let plan = &plan.plan;
    if kind(&exchange.head) != Kind::Plain {
        return Ok(decide::by_body(plan, rules, &exchange.head, BodySeen::Nothing)?);
    }
    exchange.body_max = decide::body_max(plan, rules, &exchange.head);
    let need = match exchange.head.framing() {
        Framing::Length(length) if length > exchange.body_max => {
            return Err(reply::body_too_large().into());
        }
        Framing::Length(length) => length,
        Framing::Chunked | Framing::Empty | Framing::UntilClose => {
            BUFFERED_STEP_BYTES.min(plan.limits.buffered)
        }
    };
    let room = reserve(exchange, client, need).await?;
    if exchange.head.expects_continue() && client.ear.reader.unread().is_empty() {
        // Nobody else can: no endpoint is chosen yet (RFC 9110 §10.1.1).
        client.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        client.bound_answer(lane);
        client.flush().await.map_err(|_| Stop::ClientLeft)?;
    }
    let mut held = Held { pieces: Vec::new(), open: BytesMut::new(), length: 0, sent: 0, room };
    let mut scanner = BodyScanner::new(&exchange.head, plan.table.wanted());
    read(exchange, client, &mut held, &mut scanner).await?;
    held.close_piece();
    let seen = scanner.finish().map_err(|fault| reply::of_json(fault, plan.table.wanted()))?;
    let route = decide::by_body(plan, rules, &exchange.head, seen)?;
    exchange.held = Some(held);
    Ok(route)
}

/// Waits for its turn to hold `need` bytes. Granted turns are seen on the lane's tick.
async fn reserve(exchange: &Exchange, client: &mut Client, need: u64) -> Result<Reservation, Stop> {
    let plan = &exchange.plan.plan;
    let mut turn = plan.budget.reserve(need);
    let until = Instant::now() + BUFFERED_WAIT;
    loop {
        let place = match turn {
            Ok(room) => return Ok(room),
            Err(place) => place,
        };
        let now = Instant::now();
        if now >= until {
            return Err(reply::buffers_full().into());
        }
        client.ear.wait_until(Some(now));
        match client.ear.during(std::future::pending::<()>()).await {
            Err(Interrupt::ClientLeft) => return Err(Stop::ClientLeft),
            Err(Interrupt::Expired) | Ok(()) => turn = place.claim(),
        }
    }
}

async fn read(
    exchange: &mut Exchange,
    client: &mut Client,
    held: &mut Held,
    scanner: &mut BodyScanner,
) -> Result<(), Stop> {
    loop {
        match client.ear.requests.next(client.ear.reader.unread()) {
            Ok(Progress::Ready(RequestEvent::Data(data))) => {
                exchange.tally.bytes_in += data.len() as u64;
                let length = held.length + data.len() as u64;
                if length > exchange.body_max {
                    return Err(reply::body_too_large().into());
                }
                if length > held.room.bytes() && !held.room.grow(length.max(2 * held.room.bytes())) {
                    return Err(reply::buffers_full().into());
                }
                scanner
                    .feed(&data)
                    .map_err(|fault| reply::of_json(fault, exchange.plan.plan.table.wanted()))?;
                held.push(&data);
            }
            Ok(Progress::Ready(RequestEvent::End)) => return Ok(()),
            Ok(Progress::Ready(RequestEvent::Head(_))) => {
                unreachable!("a reader yields no second head before the end of the first request")
            }
            Ok(Progress::NeedMore) => more(exchange, client).await?,
            Err(broken) => return Err(reply::of_codec(broken).into()),
        }
    }
}

async fn more(exchange: &mut Exchange, client: &mut Client) -> Result<(), Stop> {
    if std::mem::take(&mut client.ear.arrived) {
        return Ok(());
    }
    let since = Instant::now();
    let rate = exchange.plan.plan.limits.body_rate;
    client.ear.wait_until(exchange.pace.deadline(rate, exchange.tally.bytes_in, since));
    let filled = client.ear.fill().await;
    exchange.waited_for_body(since.elapsed());
    match filled {
        Ok(Ok(1..)) => Ok(()),
        // The end of the stream inside a request: the client left.
        Ok(Ok(0) | Err(_)) | Err(Interrupt::ClientLeft) => Err(Stop::ClientLeft),
        Err(Interrupt::Expired) => Err(reply::too_slow(Sent::Nothing).into()),
    }
}
