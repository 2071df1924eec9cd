//! The request's way to its endpoint: head and body, as the body comes and as the endpoint takes it.
//!
//! It is driven by whoever waits for the answer, before and after that begins: both directions go on at once.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::intake::{BodyFault, Intake, Rest};
use super::stall::{Stall, Taken};
use super::upstream::Upstream;
use crate::base::limits::RELAY_BYTES;
use crate::codec::chunked::{write_chunk, write_last_chunk};
use crate::codec::framing::Framing;
use crate::net::writer::Wake;

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Its body is still to come.
    Coming,
    /// All of it is in the connection's buffer, or being written.
    Read,
    /// All of it is written.
    Sent,
    /// The endpoint takes no more of it.
    Refused,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Upload {
    framing: Framing,
    step: Step,
    /// A large piece that goes as it is, behind the connection's buffer.
    piece: Option<Bytes>,
    /// One large step is being written: nothing more is read until the endpoint has taken it, so that no more is held.
    is_large: bool,
    stall: Stall,
    /// When all of it was written.
    pub(super) sent: Option<Instant>,
}

impl Upload {
    /// A request whose head is in the connection's buffer, and whose body is delimited like this.
    pub(super) fn new(framing: Framing) -> Self {
        let (piece, is_large) = (None, false);
        Self { framing, step: Step::Coming, piece, is_large, stall: Stall::default(), sent: None }
    }

    /// Whether nothing more will be sent.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.step, Step::Sent | Step::Refused)
    }

    /// Whether the endpoint has, or may have, all of it.
    pub(super) fn rest(&self) -> Rest {
        if self.step == Step::Sent { Rest::Read } else { Rest::Outstanding }
    }

    /// Whether the endpoint takes no more.
    pub(super) fn is_refused(&self) -> bool {
        self.step == Step::Refused
    }

    /// Nothing more is sent: the answer does without.
    pub(super) fn give_up(&mut self) {
        if self.step != Step::Sent {
            self.step = Step::Refused;
        }
    }

    /// Sends on as far as it goes.
    pub(super) fn poll(
        &mut self,
        body: &mut Intake<'_>,
        upstream: &mut Upstream,
        cx: &mut Context<'_>,
    ) -> Result<(), BodyFault> {
        self.see_off(upstream, cx);
        while !self.is_over() {
            self.fill(body, upstream, cx)?;
            if self.write(upstream, cx).is_pending() {
                break;
            }
        }
        Ok(())
    }

    /// Moves what has come of the body into the connection's buffer, up to one step. Copying a small piece is cheaper than a
    /// second write; a large one goes as it is.
    fn fill(
        &mut self,
        body: &mut Intake<'_>,
        upstream: &mut Upstream,
        cx: &mut Context<'_>,
    ) -> Result<(), BodyFault> {
        let out = &mut upstream.out;
        while self.step == Step::Coming && out.len() < RELAY_BYTES && self.piece.is_none() && !self.is_large {
            match (body.poll_piece(cx), self.framing) {
                (Poll::Pending, _) => break,
                (Poll::Ready(piece), Framing::Chunked) => match piece? {
                    Some(data) => write_chunk(out, &data),
                    None => {
                        write_last_chunk(out);
                        self.step = Step::Read;
                    }
                },
                (Poll::Ready(piece), Framing::Empty | Framing::Length(_) | Framing::UntilClose) => {
                    match piece? {
                        Some(data) if data.len() > RELAY_BYTES => self.piece = Some(data),
                        Some(data) => out.extend_from_slice(&data),
                        None => self.step = Step::Read,
                    }
                }
            }
        }
        Ok(())
    }

    /// Starts to write what is in the buffer. Ready when that changed something.
    fn write(&mut self, upstream: &mut Upstream, cx: &mut Context<'_>) -> Poll<()> {
        let outcome = match upstream.writer.poll_idle(cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                // The clock of an endpoint that takes nothing begins.
                self.stall.begin(Instant::now);
                return Poll::Pending;
            }
        };
        self.stall.clear();
        let was_large = std::mem::take(&mut self.is_large);
        if let Err(error) = outcome {
            upstream.write_error = Some(error.kind());
            // It may have answered before it closed.
            self.step = Step::Refused;
            return Poll::Ready(());
        }
        if upstream.out.is_empty() {
            upstream.take_buffer();
            match (self.piece.take(), self.step) {
                (Some(piece), _) => {
                    self.is_large = true;
                    upstream.writer.start(piece, cx);
                }
                (None, Step::Read) => self.is_sent(),
                // It was not asked whether more has come.
                (None, _) if was_large => {}
                (None, _) => return Poll::Pending,
            }
            return Poll::Ready(());
        }
        // A small request is taken at once: its answer is what is waited for.
        let goes_alone = self.step == Step::Read && upstream.out.len() <= RELAY_BYTES;
        self.is_large = upstream.out.len() > RELAY_BYTES;
        upstream.writer.start(std::mem::take(&mut upstream.out), cx);
        if goes_alone && upstream.writer.is_under_way() {
            self.is_sent();
        }
        Poll::Ready(())
    }

    fn is_sent(&mut self) {
        self.step = Step::Sent;
        self.sent = Some(Instant::now());
    }

    /// A small request is taken for sent before it is written. It mostly is at once, and nobody is woken for that; one
    /// that is not by the next tick is waited for.
    fn see_off(&mut self, upstream: &mut Upstream, cx: &mut Context<'_>) {
        let Some(sent) = self.sent.filter(|_| upstream.writer.is_under_way()) else { return };
        let wake = if self.stall.was_seen() { Wake::Surely } else { Wake::IfNeeded };
        match upstream.writer.go_on(wake, cx) {
            true => self.stall.begin(|| sent),
            false => self.stall.clear(),
        }
    }

    /// When it must be looked at whether the endpoint takes anything; none while it does.
    pub(super) fn due(&self, limit: Option<Duration>) -> Option<Instant> {
        self.stall.due(limit)
    }

    /// That time came: whether the endpoint took nothing for as long as `limit`.
    pub(super) fn is_stalled(&mut self, limit: Option<Duration>, upstream: &Upstream) -> bool {
        let taken = Taken::from(&upstream.writer);
        self.stall.is_running() && self.stall.is_over(taken, limit, Instant::now())
    }
}
