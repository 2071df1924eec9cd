//! The body of a request, from wherever it comes (the client, what is held of it, memory, nowhere), and the only thing
//! that pumps it: its size and its pace are judged here.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ear::Ear;
use super::held::{Held, Reached};
use super::listeners::{Listeners, Then};
use super::pace::Pace;
use super::passing::{Passing, Unsound};
use crate::base::fault::FaultKind;
use crate::base::limits::{BUFFERED_STEP_BYTES, PASSING_BYTES};
use crate::base::time::deadline;
use crate::board::buffered::Budget;
use crate::cluster::dispatch::AtHand;
use crate::codec::body_editor::BodyEditor;
use crate::codec::content::BodyScanner;
use crate::codec::error::CodecError;
use crate::codec::framing::Framing;
use crate::codec::json::Wanted;
use crate::codec::progress::Progress;
use crate::codec::reply::ErrorReply;
use crate::codec::request::RequestEvent;

/// Why a body ended before its end. That its client left is no such reason: then nobody is left to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// The client sent it too slowly.
    TooSlow,
    /// It is longer than allowed.
    TooLarge,
    /// The client's bytes break HTTP/1.1.
    Broken(CodecError),
    /// What was looked at as it passed is wrong in a way that [`Intake::take_refusal`] tells.
    Unsound,
}

impl BodyFault {
    /// As it is booked.
    pub(super) fn kind(&self) -> FaultKind {
        match self {
            Self::TooSlow => FaultKind::TooSlow,
            Self::TooLarge => FaultKind::BodyTooLarge,
            Self::Broken(_) | Self::Unsound => FaultKind::BadMessage,
        }
    }
}

/// Whether all of a body was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Read,
    Outstanding,
}

/// What the client may do while its body is waited for.
#[derive(Debug, Clone, Copy)]
enum Patience {
    /// It was not yet told to go on: then it may keep silent.
    Unasked,
    /// It must keep up an average.
    Rate(u64),
    /// It must not pause for longer.
    Pause(Option<Duration>),
}

/// What becomes of bytes that come from the client, besides being handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Whoever takes them sees to it.
    Taker,
    /// They are held too, up to this many of all.
    Up(u64),
    /// Nothing.
    Nothing,
}

pub(super) struct Intake<'c> {
    /// What is held of it from its first byte on, and handed out first.
    held: Option<Held>,
    keep: Keep,
    /// Bytes were handed out that are not held: it cannot be handed out again.
    is_spent: bool,
    /// Whatever it is answered with is the answer.
    is_answered_once: bool,
    /// Where the rest comes from.
    client: Option<&'c RefCell<Ear>>,
    /// Longest body.
    pub(super) max: u64,
    rate: u64,
    patience: Patience,
    pace: Pace,
    /// Those who listen to it, where there are some.
    pub(super) listeners: Option<Box<Listeners>>,
    /// Somebody looks at what comes ahead of whom it goes to: its end is none yet.
    is_ahead: bool,
    /// Who looks on at a body that decided before its end.
    passing: Option<Box<Passing>>,
    /// Bytes from the client so far.
    pub(super) received: u64,
    waiting_since: Option<Instant>,
    /// How long the client kept us waiting.
    pub(super) waited: Duration,
}

/// What a client must send its body at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    /// Slowest average, in bytes a second; zero for any.
    pub(super) rate: u64,
    /// It waits to be told before it sends (RFC 9110 §10.1.1).
    pub(super) expects: bool,
}

impl<'c> Intake<'c> {
    /// A body that comes from a client.
    pub(super) fn of_client(ear: &'c RefCell<Ear>, manners: Manners) -> Self {
        let mut intake = Self::of_bytes(Bytes::new());
        intake.client = Some(ear);
        intake.rate = manners.rate;
        intake.patience = if manners.expects { Patience::Unasked } else { Patience::Rate(manners.rate) };
        intake
    }

    /// A body in memory, or none.
    #[inline(always)] // each exchange begins with one, and it is large to hand on
    pub(super) fn of_bytes(body: Bytes) -> Self {
        Self {
            held: (!body.is_empty()).then(|| Held::of(body)),
            keep: Keep::Taker,
            is_spent: false,
            is_answered_once: false,
            client: None,
            max: u64::MAX,
            rate: 0,
            patience: Patience::Rate(0),
            pace: Pace::default(),
            listeners: None,
            is_ahead: false,
            passing: None,
            received: 0,
            waiting_since: None,
            waited: Duration::ZERO,
        }
    }

    /// A whole body in memory, in pieces that somebody else keeps room for.
    pub(super) fn of_pieces(pieces: Vec<Bytes>) -> Self {
        Self { held: (!pieces.is_empty()).then(|| Held::of_pieces(pieces)), ..Self::of_bytes(Bytes::new()) }
    }

    /// What is held of it, which is all, in one piece.
    pub(super) fn join(&mut self) -> Bytes {
        self.held.as_mut().map_or_else(Bytes::new, Held::join)
    }

    /// Shows `look` all of a body of that framing, where it came with its head, is no longer than `most`, and nothing of it was
    /// handed out yet.
    pub(super) fn glance<T>(
        &self,
        (framing, most): (Framing, u64),
        look: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let is_untouched = self.held.is_none() && self.passing.is_none() && self.received == 0;
        let Framing::Length(length) = framing else { return None };
        if length > most || !is_untouched {
            return None;
        }
        let mut ear = self.client?.borrow_mut();
        ear.reader.unread().get(..usize::try_from(length).ok()?).map(look)
    }

    /// Whether a body in memory is longer than allowed; one from a client is judged as it comes.
    pub(super) fn is_too_large(&self) -> bool {
        self.client.is_none() && self.held.as_ref().is_some_and(|held| held.length() > self.max)
    }

    /// How far what is held of it was handed out, where any is.
    pub(super) fn reached(&self) -> Option<Reached> {
        self.held.as_ref().map(Held::reached)
    }

    /// The same body was handed out so far elsewhere: it goes on from there.
    pub(super) fn go_on_from(&mut self, reached: Option<Reached>) {
        if let (Some(held), Some(reached)) = (&mut self.held, reached) {
            held.go_on_from(reached);
        }
    }

    /// The next piece, none at the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        if let Some(piece) = self.held.as_mut().and_then(Held::next) {
            return Poll::Ready(Ok(Some(piece)));
        }
        let Some(ear) = self.client else { return self.end() };
        if self.passing.is_some() {
            return self.poll_passing(ear, cx);
        }
        if ear.borrow().requests.is_between() {
            return self.end();
        }
        match ready!(self.poll_client(ear, cx)) {
            Ok(Some(data)) => Poll::Ready(Ok(Some(self.hand_out(data)))),
            Ok(None) => self.end(),
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }

    /// The next piece, none at the end, for whoever keeps it and hands nothing on.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        self.is_ahead = true;
        let polled = self.poll_piece(cx);
        self.is_ahead = false;
        polled
    }

    /// The next piece of a body that is looked at as it passes: its last byte comes once all of it was found sound.
    #[cold]
    fn poll_passing(
        &mut self,
        ear: &RefCell<Ear>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, BodyFault>> {
        while let Some(mut passing) = self.passing.take() {
            let piece = passing.next();
            if piece.is_none() && passing.is_over() {
                break;
            }
            let came = if piece.is_none() { Some(self.poll_client(ear, cx)) } else { None };
            let passed = match came {
                None => Ok(()),
                Some(Poll::Ready(Ok(Some(data)))) => passing.pass(data),
                Some(Poll::Ready(Ok(None))) => passing.pass_end(),
                Some(Poll::Ready(Err(fault))) => {
                    self.passing = Some(passing);
                    return Poll::Ready(Err(fault));
                }
                Some(Poll::Pending) => {
                    self.passing = Some(passing);
                    return Poll::Pending;
                }
            };
            self.passing = Some(passing);
            match (piece, passed) {
                (Some(piece), _) => return Poll::Ready(Ok(Some(self.hand_out(piece)))),
                (None, Err(Unsound)) => return Poll::Ready(Err(BodyFault::Unsound)),
                (None, Ok(())) => {}
            }
        }
        self.end()
    }

    /// A piece goes on, for the first time.
    #[inline(always)] // as below
    fn hand_out(&mut self, piece: Bytes) -> Bytes {
        if let Some(listeners) = &mut self.listeners {
            listeners.passes(&piece);
        }
        self.remember(&piece);
        piece
    }

    /// The next bytes from the client.
    fn poll_client(
        &mut self,
        ear: &RefCell<Ear>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, BodyFault>> {
        let mut ear = ear.borrow_mut();
        loop {
            // A request that is complete stays so: pipelined bytes of the next one are left where they are.
            if ear.requests.is_between() {
                return Poll::Ready(Ok(None));
            }
            let Ear { reader, requests, left, .. } = &mut *ear;
            let came = match requests.next(reader.unread()) {
                Ok(Progress::Ready(RequestEvent::Data(data))) => {
                    self.received += data.len() as u64;
                    if self.received > self.max { Err(BodyFault::TooLarge) } else { Ok(Some(data)) }
                }
                Ok(Progress::Ready(RequestEvent::End)) => Ok(None),
                Ok(Progress::Ready(RequestEvent::Head(_))) => {
                    unreachable!("a reader yields no second head before the end of the first request")
                }
                Err(broken) => Err(BodyFault::Broken(broken)),
                Ok(Progress::NeedMore) => match reader.poll_fill(cx) {
                    Poll::Ready(Ok(1..)) => continue,
                    Poll::Ready(Ok(0) | Err(_)) => {
                        *left = true;
                        return Poll::Pending;
                    }
                    Poll::Pending => match self.poll_too_slow(&mut ear, cx) {
                        Poll::Ready(()) => Err(BodyFault::TooSlow),
                        Poll::Pending => return Poll::Pending,
                    },
                },
            };
            self.stop_waiting(&ear);
            if let (Ok(Some(data)), Some(listeners)) = (&came, &mut self.listeners) {
                listeners.comes(data);
            }
            return Poll::Ready(came);
        }
    }

    /// All of it was handed out.
    #[inline(always)] // each exchange comes here
    fn end(&mut self) -> Poll<Result<Option<Bytes>, BodyFault>> {
        if self.listeners.is_some() && !self.is_ahead {
            self.tell_end();
        }
        Poll::Ready(Ok(None))
    }

    #[cold]
    fn tell_end(&mut self) {
        let told = self.listeners.as_mut().map(|listeners| listeners.end());
        if told == Some(Then::LetGo) {
            self.held = None;
            self.is_spent = true;
        }
    }

    fn poll_too_slow(&mut self, ear: &mut Ear, cx: &Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            self.waiting_since = Some(now);
            ear.wait_until(match self.patience {
                Patience::Unasked if self.received == 0 => None,
                Patience::Unasked => self.pace.deadline(self.rate, self.received, now),
                Patience::Rate(rate) => self.pace.deadline(rate, self.received, now),
                Patience::Pause(limit) => deadline(now, limit),
            });
        }
        match ear.clock.is_ended() {
            // The drain is over; that is not the client's doing.
            true => Poll::Pending,
            false => ear.clock.poll_fired(cx),
        }
    }

    fn stop_waiting(&mut self, ear: &Ear) {
        if let Some(since) = self.waiting_since.take() {
            let time = since.elapsed();
            if !matches!(self.patience, Patience::Unasked) {
                self.pace.waited(time);
            }
            self.waited += time;
            ear.wait_until(None);
        }
    }

    /// It is given up at `now`, while it is waited for perhaps.
    pub(super) fn give_up(&mut self, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    fn be_patient(&mut self, patience: Patience) {
        // What was waited so far was waited in the old way: a client that waited to be told kept nobody waiting.
        if let (Some(ear), Some(_)) = (self.client, self.waiting_since) {
            self.stop_waiting(&ear.borrow());
        }
        self.patience = patience;
    }

    /// The client was told to go on with its body.
    pub(super) fn go_on(&mut self) {
        if matches!(self.patience, Patience::Unasked) {
            self.be_patient(Patience::Rate(self.rate));
        }
    }

    /// Its answer has begun: from here on the client may be as slow as it likes, but for a pause of `limit`.
    pub(super) fn be_answered(&mut self, limit: Option<Duration>) {
        self.be_patient(Patience::Pause(limit));
    }

    /// Whether the client waits to be told before it sends.
    pub(super) fn is_unasked(&self) -> bool {
        let sent_anyway = || self.client.is_some_and(|ear| !ear.borrow_mut().reader.unread().is_empty());
        matches!(self.patience, Patience::Unasked) && self.received == 0 && !sent_anyway()
    }

    /// What comes from here on is held too, by whoever takes it: see [`Self::keep`].
    pub(super) fn hold(&mut self, held: Held) {
        self.held = Some(held);
    }

    /// Holds a piece that was taken. False where there is no room.
    pub(super) fn keep(&mut self, piece: &[u8]) -> bool {
        self.held.as_mut().is_none_or(|held| held.push(piece))
    }

    /// Holds the piece that decided, past the room too: it is no more than a relay has at hand.
    pub(super) fn keep_last(&mut self, piece: &[u8]) {
        if let Some(held) = &mut self.held {
            held.push_past(piece);
        }
    }

    /// What is held, which is all of it, takes this form: its new length, none where there is no room.
    pub(super) fn rewrite(&mut self, pieces: Vec<Bytes>) -> Option<u64> {
        let held = self.held.as_mut()?;
        held.rewrite(pieces).then(|| held.length())
    }

    /// It is looked at on, as it comes, by this scan of what came so far.
    pub(super) fn scan(&mut self, scanner: Box<BodyScanner>, wanted: &Arc<Wanted>) -> Result<(), ErrorReply> {
        self.passing.get_or_insert_default().scan(scanner, wanted)
    }

    /// What comes of it is changed as what came of it was.
    pub(super) fn edit(&mut self, editor: BodyEditor, budget: &Arc<Budget>) -> Result<(), ErrorReply> {
        self.passing.get_or_insert_default().edit(editor, budget)
    }

    /// Whether it is.
    pub(super) fn is_watched(&self) -> bool {
        self.passing.is_some()
    }

    /// What was decided by it is sent on, while more of it comes: room that will not be needed is given back.
    pub(super) fn send_on(&mut self) {
        let Some(passing) = &mut self.passing else { return };
        if let Some(held) = &mut self.held {
            passing.keep_back(|| held.take_last_byte());
            held.shrink(PASSING_BYTES);
        }
    }

    /// What is told of a body in which something was found wrong as it passed.
    pub(super) fn take_refusal(&mut self) -> Option<ErrorReply> {
        self.passing.as_mut().and_then(|passing| passing.take_refusal())
    }

    /// What is held of it so far.
    pub(super) fn held(&self) -> &[Bytes] {
        self.held.as_ref().map_or(&[], Held::pieces)
    }

    /// Room reserved and used by what is held, in bytes.
    pub(super) fn room(&self) -> (u64, u64) {
        self.held.as_ref().map_or((0, 0), Held::room)
    }

    /// No more of it is held for now: where all of it came, room that is left over is given back.
    pub(super) fn stop_holding(&mut self) {
        match (self.rest(), &mut self.held) {
            (Rest::Outstanding, Some(held)) => held.close_piece(),
            (Rest::Read, _) => self.close_held(),
            (Rest::Outstanding, None) => {}
        }
    }

    /// No more of it is held; where nobody looks on at what comes, it is sent on from here, and needs no more room.
    pub(super) fn settle_held(&mut self) {
        if self.passing.is_none() {
            self.close_held();
        }
    }

    /// Whether all of it came, and some of that waits to be handed on.
    pub(super) fn has_come(&self) -> bool {
        self.passing.as_ref().is_some_and(|passing| passing.is_over())
    }

    /// No more of it is held: room that is left over is given back.
    fn close_held(&mut self) {
        if let Some(held) = &mut self.held {
            held.close();
        }
    }

    /// What comes from here on is held too, so that it can be handed out again: up to `max` bytes, and if there is room
    /// for it at once.
    pub(super) fn keep_for_repeat(&mut self, max: u64, framing: Framing, budget: &Arc<Budget>) {
        if self.rest() == Rest::Read {
            return;
        }
        self.keep = Keep::Nothing;
        let need = match framing {
            Framing::Length(length) => length,
            Framing::Chunked | Framing::Empty | Framing::UntilClose => BUFFERED_STEP_BYTES.min(max),
        };
        if self.held.is_none() && !self.is_spent && need <= max {
            self.held = budget.reserve_now(need).map(Held::within);
        }
        if self.held.is_some() {
            self.keep = Keep::Up(max);
        }
    }

    /// What comes from here on is handed out once.
    pub(super) fn keep_nothing(&mut self) {
        self.keep = Keep::Nothing;
    }

    fn remember(&mut self, data: &[u8]) {
        let is_kept = match self.keep {
            Keep::Taker => return,
            Keep::Up(max) => self
                .held
                .as_mut()
                .is_some_and(|held| held.length() + data.len() as u64 <= max && held.push(data)),
            Keep::Nothing => false,
        };
        if !is_kept {
            self.keep = Keep::Nothing;
            self.is_spent = true;
            // All of it was handed out before the first byte from the client was.
            self.held = None;
        }
    }

    /// Whether it can be handed out from its first byte on once more.
    pub(super) fn at_hand(&self) -> AtHand {
        if self.is_spent { AtHand::Spent } else { AtHand::Whole }
    }

    /// Nobody else is asked in the place of an endpoint that answered, whatever that said.
    pub(super) fn be_answered_once(&mut self) {
        self.is_answered_once = true;
    }

    /// Whether it can be handed out once more behind an answer.
    pub(super) fn at_hand_behind_answer(&self) -> AtHand {
        if self.is_answered_once { AtHand::Spent } else { self.at_hand() }
    }

    /// Nobody will ask for it again: what was handed out is let go.
    pub(super) fn let_go(&mut self) {
        if self.client.is_some() {
            self.keep = Keep::Nothing;
            self.held.take_if(|held| held.is_handed_out());
        }
    }

    /// Whether any of it is held.
    pub(super) fn is_held(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.length() > 0)
    }

    /// Starts from the beginning, for another attempt.
    pub(super) fn rewind(&mut self) {
        if let Some(held) = &mut self.held {
            held.rewind();
        }
    }

    /// Whether all of it came, as far as anybody looked.
    pub(super) fn rest(&self) -> Rest {
        match self.client {
            Some(_) if self.passing.is_some() => Rest::Outstanding,
            Some(ear) if !ear.borrow().requests.is_between() => Rest::Outstanding,
            _ => Rest::Read,
        }
    }

    /// Drops what has arrived.
    pub(super) fn skip(&self) -> Rest {
        let Some(ear) = self.client else { return Rest::Read };
        let Ear { reader, requests, .. } = &mut *ear.borrow_mut();
        while !requests.is_between() {
            match requests.next(reader.unread()) {
                Ok(Progress::Ready(RequestEvent::Data(_) | RequestEvent::End)) => {}
                Ok(Progress::Ready(RequestEvent::Head(_)) | Progress::NeedMore) | Err(_) => {
                    return Rest::Outstanding;
                }
            }
        }
        Rest::Read
    }

    /// The client that sends it, if it is one.
    pub(super) fn client(&self) -> Option<&'c RefCell<Ear>> {
        self.client
    }

    /// Whether its client sends no further request.
    pub(super) fn is_last(&self) -> bool {
        self.client.is_some_and(|ear| ear.borrow_mut().is_at_end())
    }
}
