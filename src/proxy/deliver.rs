//! The one way out: framing, keep-alive, and the answer's head and body to the client, as they come and as it takes
//! them. What could not be finished ends visibly broken.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;

use super::answered::Answer;
use super::begun;
use super::boxed::boxed;
use super::ends::{End, connection, end, framing};
use super::finish::{finish, finish_cut};
use super::hold;
use super::intake::{BodyFault, Rest};
use super::mouth::Mouth;
use super::request::{Call, Request};
use super::retell;
use super::source::{Cut, Relayed};
use super::state::LaneState;
use super::streamed;
use super::tunnel;
use super::watch::Watch;
use crate::base::fault::{FaultKind, Sent, Stage};
use crate::base::limits::{RELAY_BYTES, WRITE_STALL};
use crate::base::summary::Ended;
use crate::base::time::earlier;
use crate::codec::chunked::{write_chunk, write_last_chunk, write_piece};
use crate::codec::encode::{DownstreamHead, OwnHead, Said, write_answer, write_reply};
use crate::codec::field::FieldName;
use crate::codec::framing::Framing;
use crate::codec::method::Method;
use crate::codec::progress::Progress;
use crate::codec::reply::LocalReply;
use crate::codec::usage_cut::UsageCut;
use crate::codec::write::ConnectionField;
use crate::net::writer::Wake;
use crate::plan::Action;

/// Delivers `answer` to its end. It stays where it is until then: moving it costs more than most steps of an exchange.
pub(super) async fn run(
    answer: &mut Answer,
    request: &Request,
    call: &mut Call<'_>,
    mouth: &RefCell<Mouth>,
    lane: &LaneState,
) -> End {
    if call.begun.is_some() {
        boxed(|| begun::settle(answer, request, call, lane)).await;
    }
    match answer {
        Answer::Own(reply) => own(reply, request, call, mouth, lane).await,
        Answer::OfRoute => match &request.route().1.action {
            Action::Respond(reply) => own(reply, request, call, mouth, lane).await,
            Action::Forward(_) | Action::Models | Action::Fanout(_) | Action::Multi(_) => {
                unreachable!("a route that forwards says nothing itself")
            }
        },
        Answer::Told(told) => boxed(|| retell::run(told, request, call, mouth, lane)).await,
        Answer::Lines(lines) => boxed(|| streamed::run(lines, request, call, mouth, lane)).await,
        Answer::Relayed(relayed) if relayed.head.status() == 101 => {
            // In a box: it is rare, and lives long.
            let closed = Box::pin(tunnel::run(relayed, request, call, mouth)).await;
            finish(taken(answer), closed.map_err(Cut::Upstream), request, call, lane);
            if closed.is_ok() { End::Close } else { End::Reset }
        }
        Answer::Relayed(relayed) => {
            if !relayed.upload.is_over() {
                call.body.be_answered(request.plan.plan.limits.idle_timeout);
            }
            let mut delivery = Delivery::new(relayed, request, call, mouth);
            let connection = delivery.head(lane);
            let Err(cut) = delivery.body().await else {
                finish(taken(answer), Ok(()), request, call, lane);
                return end(connection, call.body.skip(), request);
            };
            let untold = boxed(|| delivery.break_off(cut)).await;
            finish_cut(taken(answer), cut, request, call, lane);
            match untold {
                Ok(broken) => boxed(|| refuse(broken, request, call, mouth, lane)).await,
                // Without a length or a last chunk only a reset tells a cut answer from a whole one.
                Err(Framing::UntilClose) => End::Reset,
                Err(_) => End::Close,
            }
        }
    }
}

fn taken(answer: &mut Answer) -> Relayed {
    match std::mem::replace(answer, Answer::OfRoute) {
        Answer::Relayed(relayed) => relayed,
        _ => unreachable!("what was relayed so far is so still"),
    }
}

/// An answer of our own. The connection lives on if the request was read to its end without waiting for more of it.
async fn own(
    reply: &LocalReply,
    request: &Request,
    call: &mut Call<'_>,
    mouth: &RefCell<Mouth>,
    lane: &LaneState,
) -> End {
    if let Some(begun) = call.begun.take() {
        return boxed(|| begun::refuse(begun, reply, call)).await;
    }
    let rest = call.body.skip();
    let ends = rest == Rest::Outstanding || request.head.method() == Method::Connect;
    let connection = connection(request, call, ends, lane);
    let own = OwnHead { connection, date: &lane.date.get(), signature: Some(request.signature(call)) };
    let length = write_reply(&mut mouth.borrow_mut().out, reply, request.head.method(), own);
    call.notes.status = reply.status;
    call.notes.bytes_out += length;
    call.notes.ended = if reply.status < 500 { Ended::Well } else { Ended::Badly };
    call.notes.stage = Stage::Relay;
    poll_fn(|cx| mouth.borrow_mut().poll_send(cx)).await;
    end(connection, rest, request)
}

/// Nothing was told of an answer whose request broke off: that is told in its place.
async fn refuse(
    broken: BodyFault,
    request: &Request,
    call: &mut Call<'_>,
    mouth: &RefCell<Mouth>,
    lane: &LaneState,
) -> End {
    let refusal = hold::of_body(broken, Sent::Partly, call);
    call.notes.code = Some(refusal.code);
    (call.notes.bytes_out, call.notes.looks_whole) = (0, false);
    own(&refusal.into_reply(request.id.as_str()), request, call, mouth, lane).await
}

struct Delivery<'d, 'c> {
    answer: &'d mut Relayed,
    request: &'d Request,
    call: &'d mut Call<'c>,
    mouth: &'d RefCell<Mouth>,
    /// How the body is delimited towards the client.
    framing: Framing,
    watch: Watch,
    /// Where the answer's head stands in the client's buffer, while nothing of it left; then beyond any place.
    untold: usize,
    /// Takes out of it what only we asked for.
    cut: Option<Box<UsageCut>>,
    /// When the bytes at hand arrived.
    turn: Instant,
}

/// What one read of the endpoint's bytes gave.
enum Gathered {
    /// All of it is in the client's buffer.
    All,
    /// A large piece that is written as it is, behind the client's buffer.
    Piece(Bytes),
    /// The body is complete.
    End,
    /// It broke off behind what is in the buffer.
    Cut(Cut),
}

impl<'d, 'c> Delivery<'d, 'c> {
    fn new(
        answer: &'d mut Relayed,
        request: &'d Request,
        call: &'d mut Call<'c>,
        mouth: &'d RefCell<Mouth>,
    ) -> Self {
        let head = &answer.head;
        call.notes.usage = request.usage_reader(head, call.notes.tried.is_some());
        let is_cut = request.hides_usage(head);
        let framing = framing(request, answer.framing, is_cut);
        let watch = Watch::new(&answer.head, answer.framing);
        let turn = call.notes.answered.unwrap_or_else(Instant::now);
        let habits = || answer.endpoint.habits.get();
        let cut = is_cut.then(|| Box::new(UsageCut::new(habits())));
        Self { answer, request, call, mouth, framing, watch, untold: usize::MAX, cut, turn }
    }

    /// Writes the head into the client's buffer.
    fn head(&mut self, lane: &LaneState) -> ConnectionField {
        if let Some(begun) = &self.call.begun {
            self.framing = begun.framing;
            self.call.notes.stage = Stage::Relay;
            return begun.connection;
        }
        let status = self.answer.head.status();
        // An endpoint that refuses a request before it has all of it will mostly not take the rest.
        let is_refusal = status >= 400 && !self.answer.upload.is_over();
        let ends = (is_refusal && self.call.body.rest() == Rest::Outstanding)
            || (self.answer.upload.is_refused() && self.call.body.rest() == Rest::Outstanding)
            || self.framing == Framing::UntilClose;
        let connection = connection(self.request, self.call, ends, lane);
        let date = lane.date.get();
        let said = DownstreamHead {
            framing: self.framing,
            connection,
            date: (!self.answer.head.is_dated()).then_some(&date[..]),
            signature: Some(self.request.signature(self.call)),
        };
        let out = &mut self.mouth.borrow_mut().out;
        self.untold = out.len();
        write_answer(out, Said::Relayed(&self.answer.head), &said);
        let notes = &mut self.call.notes;
        notes.status = status;
        notes.stage = Stage::Relay;
        notes.looks_whole = self.framing == Framing::UntilClose;
        if self.request.plan.plan.observe.access_log.is_some() {
            notes.upstream_id = self.answer.head.head().value(FieldName::XRequestId).map(Into::into);
        }
        connection
    }

    /// The answer broke off. What of its request broke, where that is why and nothing of the answer left for the client: then
    /// it is taken back; else how it is delimited, once what was held back of it is sent.
    async fn break_off(mut self, cut: Cut) -> Result<BodyFault, Framing> {
        match cut {
            Cut::Body(broken) if self.take_back() => Ok(broken),
            Cut::Body(_) | Cut::Upstream(_) | Cut::Unheld => {
                self.let_go().await;
                Err(self.framing)
            }
        }
    }

    /// Takes the head back, if nothing of it left.
    fn take_back(&mut self) -> bool {
        let out = &mut self.mouth.borrow_mut().out;
        // What is being written is no longer in the buffer.
        let is_untold = out.len() > self.untold;
        out.truncate(self.untold);
        is_untold
    }

    /// Sends what was held back of a stream that broke off.
    async fn let_go(&mut self) {
        let left = self.cut.as_mut().map_or_else(Bytes::new, |cut| cut.end());
        if !left.is_empty() {
            write_piece(&left, self.framing, &mut self.mouth.borrow_mut().out);
            let _ = self.mouthful(Mouth::poll_send).await;
        }
    }

    async fn body(&mut self) -> Result<(), Cut> {
        loop {
            // A client that has not taken the last piece holds up the next: so it holds up the endpoint too.
            self.mouthful(Mouth::poll_written).await?;
            let gathered = self.gather();
            // One write for whatever one read brought: the head too, if it was not sent yet.
            self.mouthful(Mouth::poll_send).await?;
            self.untold = usize::MAX;
            match gathered {
                Gathered::All => {
                    let handed_over = self.handed_over();
                    if !self.wait(handed_over).await? {
                        write_end(self.cut.as_mut(), self.framing, &mut self.mouth.borrow_mut().out);
                        self.mouthful(Mouth::poll_send).await?;
                        break;
                    }
                }
                Gathered::Piece(piece) => {
                    let mut piece = Some(piece);
                    self.mouthful(|mouth, cx| {
                        ready!(mouth.poll_written(cx));
                        if let Some(piece) = piece.take() {
                            mouth.start(piece, cx);
                        }
                        Poll::Ready(())
                    })
                    .await?;
                }
                Gathered::End => {
                    if self.watch.has_fresh() {
                        self.handed_over();
                    }
                    break;
                }
                Gathered::Cut(cut) => return Err(cut),
            }
        }
        self.learn();
        self.finish_upload().await;
        Ok(())
    }

    /// A stream was whole: what it showed of how its endpoint tells its usage holds for the next one.
    fn learn(&self) {
        if let Some(habits) = self.cut.as_ref().and_then(|cut| cut.shown()) {
            self.answer.endpoint.habits.set(habits);
        }
    }

    /// Moves what was read into the client's buffer, framed for the client.
    fn gather(&mut self) -> Gathered {
        let out = &mut self.mouth.borrow_mut().out;
        loop {
            let piece = match self.answer.next_piece() {
                Err(cut) => return Gathered::Cut(cut),
                Ok(Progress::NeedMore) => return Gathered::All,
                Ok(Progress::Ready(Some(piece))) => piece,
                Ok(Progress::Ready(None)) => {
                    write_end(self.cut.as_mut(), self.framing, out);
                    return Gathered::End;
                }
            };
            self.watch.feed(&piece);
            if let Some(usage) = &mut self.call.notes.usage {
                usage.feed(&piece, self.watch.says_more());
            }
            if let Some(cut) = &mut self.cut {
                let notes = &mut self.call.notes;
                cut.feed(piece, |piece| {
                    notes.bytes_out += piece.len() as u64;
                    write_piece(&piece, self.framing, out);
                });
                continue;
            }
            self.call.notes.bytes_out += piece.len() as u64;
            match self.framing {
                Framing::Chunked => write_chunk(out, &piece),
                // Copying a small piece is cheaper than a second write; a large one goes as it is.
                _ if piece.len() > RELAY_BYTES => return Gathered::Piece(piece),
                Framing::Length(_) | Framing::UntilClose | Framing::Empty => out.extend_from_slice(&piece),
            }
        }
    }

    /// Waits for the client to take what it is given; the request goes on beside. The cluster's clocks do not run, but
    /// for the one of the whole exchange, and if that ends it is the client's doing.
    async fn mouthful(
        &mut self,
        mut poll: impl FnMut(&mut Mouth, &mut Context<'_>) -> Poll<()>,
    ) -> Result<(), Cut> {
        let Self { answer, call, mouth, .. } = self;
        let (clock, total) = (call.clock, call.deadline);
        let taken = clock.within(total, |cx| match answer.poll_upload(&mut call.body, cx) {
            Ok(()) => poll(&mut mouth.borrow_mut(), cx).map(Ok),
            Err(cut) => Poll::Ready(Err(cut)),
        });
        match taken.await {
            Some(taken) => taken,
            None => {
                self.mouth.borrow_mut().give_up();
                pending().await
            }
        }
    }

    /// Waits for more of the endpoint's answer, beside the clocks; false at its end.
    async fn wait(&mut self, since: Instant) -> Result<bool, Cut> {
        let Self { answer, call, .. } = self;
        call.notes.since = Some(since);
        // What `poll_wait` does, written out: each token waits here, and handing it on cost forty instructions.
        let came = poll_fn(|cx| {
            loop {
                if let Poll::Ready(more) = answer.poll_more(&mut call.body, cx) {
                    return Poll::Ready(more);
                }
                let due = earlier(answer.due(since), call.deadline);
                ready!(call.clock.poll_due(due, cx));
                if answer.is_late(since, call.deadline, Instant::now()) {
                    return Poll::Ready(Err(Cut::Upstream(FaultKind::Timeout)));
                }
            }
        })
        .await;
        self.turn = Instant::now();
        self.call.notes.waited += self.turn - since;
        came
    }

    /// The answer was delivered before all of the request was: that goes on until the endpoint has it, takes no more,
    /// or closes. A refusal ends it.
    async fn finish_upload(&mut self) {
        let Self { answer, call, .. } = self;
        if answer.head.status() >= 400 {
            answer.upload.give_up();
        }
        // Mostly there is nothing to wait for.
        let mut begun = None;
        poll_fn(|cx| {
            loop {
                if answer.poll_upload(&mut call.body, cx).is_err() {
                    return Poll::Ready(());
                }
                // Its last bytes may still be on their way.
                let mut is_leaving = || answer.upstream.writer.go_on(Wake::Surely, cx);
                if answer.upload.is_refused() || (answer.upload.is_over() && !is_leaving()) {
                    return Poll::Ready(());
                }
                if answer.poll_over(cx).is_ready() {
                    return Poll::Ready(());
                }
                let since = *begun.get_or_insert_with(Instant::now);
                let due = earlier(answer.due(since), call.deadline);
                ready!(call.clock.poll_due(due, cx));
                if answer.is_late(since, call.deadline, Instant::now()) {
                    return Poll::Ready(());
                }
            }
        })
        .await;
        answer.upload.give_up();
        if let Some(since) = begun {
            call.notes.waited += since.elapsed();
        }
    }

    /// The bytes were handed to the kernel: notes TTFT and ITL of the events among them, and tells the time.
    fn handed_over(&mut self) -> Instant {
        let now = Instant::now();
        let notes = &mut self.call.notes;
        if now - self.turn > WRITE_STALL {
            notes.waited_client += now - self.turn;
        }
        if let Some(events) = self.watch.take(now) {
            if notes.first_token.is_none() {
                notes.first_token = Some(now);
                self.answer.ticket.timed(notes.status, now);
            }
            notes.tokens += events.tokens;
            if let (Some(route), Some(endpoint), true) = (self.request.route, notes.endpoint, events.gaps > 0)
            {
                let gap = events.gap_us;
                if self.request.plan.plan.observe.tells_exchanges() {
                    notes.gaps.get_or_insert_default().record(gap, events.gaps);
                }
                self.request.plan.recorder.borrow_mut().record_gap(route, endpoint, gap, events.gaps);
            }
        }
        now
    }
}

/// Writes the end of a body, with what was held back of it.
fn write_end(cut: Option<&mut Box<UsageCut>>, framing: Framing, out: &mut Vec<u8>) {
    let left = cut.map_or_else(Bytes::new, |cut| cut.end());
    if !left.is_empty() {
        write_piece(&left, framing, out);
    }
    if framing == Framing::Chunked {
        write_last_chunk(out);
    }
}
