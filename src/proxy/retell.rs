//! The way out of an answer that others are told too: framed for this client, read for its own limits.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::ends::{End, connection, end, framing};
use super::mouth::Mouth;
use super::request::{Call, Request};
use super::source::Cut;
use super::state::LaneState;
use super::told::Told;
use super::watch::Watch;
use crate::base::fault::{Fault, FaultKind, Sent, Side, Stage};
use crate::base::summary::Ended;
use crate::codec::chunked::{write_last_chunk, write_piece};
use crate::codec::encode::{DownstreamHead, Said, write_answer};
use crate::codec::framing::Framing;
use crate::codec::usage_cut::{Habits, UsageCut};

/// Delivers `told` to its end.
pub(super) async fn run(
    told: &mut Told,
    request: &Request,
    call: &mut Call<'_>,
    mouth: &RefCell<Mouth>,
    lane: &LaneState,
) -> End {
    let shared = Arc::clone(&told.head);
    let head = &shared.head;
    let is_cut = request.hides_usage(head);
    let framing = match framing(request, shared.framing, is_cut) {
        // Its own length stayed behind: that there is nothing must be said.
        Framing::Empty if !matches!(head.status(), 204 | 304) => Framing::Length(0),
        framing => framing,
    };
    call.notes.usage = request.usage_reader(head, call.notes.tried.is_some());
    let connection = connection(request, call, framing == Framing::UntilClose, lane);
    let (date, signature) = (lane.date.get(), Some(request.signature(call)));
    let date = (!head.is_dated()).then_some(&date[..]);
    let said = DownstreamHead { framing, connection, date, signature };
    write_answer(&mut mouth.borrow_mut().out, Said::Relayed(head), &said);
    let notes = &mut call.notes;
    (notes.status, notes.stage, notes.is_told) = (head.status(), Stage::Relay, true);
    notes.looks_whole = framing == Framing::UntilClose;
    let mut retelling = Retelling {
        framing,
        watch: Watch::new(head, shared.framing),
        cut: is_cut.then(|| UsageCut::new(Habits::default())),
    };
    let delivered = retelling.run(told, call, mouth, lane).await;
    let notes = &mut call.notes;
    notes.over = Some(Instant::now());
    match delivered {
        Ok(()) => {
            notes.ended = if head.status() < 500 { Ended::Well } else { Ended::Badly };
            end(connection, call.body.skip(), request)
        }
        Err(cut) => {
            let side = if matches!(cut, Cut::Upstream(_)) { Side::Upstream } else { Side::Downstream };
            let kind = if let Cut::Upstream(kind) = cut { kind } else { FaultKind::ClientSlow };
            notes.fault = Some(Fault { side, stage: Stage::Relay, kind, sent: Sent::Wholly });
            notes.ended = if side == Side::Upstream { Ended::Badly } else { Ended::ClientLeft };
            if framing == Framing::UntilClose { End::Reset } else { End::Close }
        }
    }
}

struct Retelling {
    framing: Framing,
    watch: Watch,
    /// Takes out of it what only we asked for.
    cut: Option<UsageCut>,
}

impl Retelling {
    async fn run(
        &mut self,
        told: &mut Told,
        call: &mut Call<'_>,
        mouth: &RefCell<Mouth>,
        lane: &LaneState,
    ) -> Result<(), Cut> {
        loop {
            let since = Instant::now();
            let next = told.next(lane).await;
            call.notes.waited += since.elapsed();
            match next {
                Ok(Some(piece)) => self.write(piece, call, mouth),
                Ok(None) => break,
                Err(cut) => {
                    self.let_go(mouth);
                    poll_fn(|cx| mouth.borrow_mut().poll_send(cx)).await;
                    return Err(cut);
                }
            }
            let begun = Instant::now();
            poll_fn(|cx| mouth.borrow_mut().poll_send(cx)).await;
            self.handed_over(call);
            poll_fn(|cx| mouth.borrow_mut().poll_written(cx)).await;
            call.notes.written(begun.elapsed());
        }
        self.let_go(mouth);
        if self.framing == Framing::Chunked {
            write_last_chunk(&mut mouth.borrow_mut().out);
        }
        poll_fn(|cx| mouth.borrow_mut().poll_send(cx)).await;
        Ok(())
    }

    fn write(&mut self, piece: Bytes, call: &mut Call<'_>, mouth: &RefCell<Mouth>) {
        self.watch.feed(&piece);
        if let Some(usage) = &mut call.notes.usage {
            usage.feed(&piece, self.watch.says_more());
        }
        let (framing, out) = (self.framing, &mut mouth.borrow_mut().out);
        let mut write = |piece: Bytes| {
            call.notes.bytes_out += piece.len() as u64;
            write_piece(&piece, framing, out);
        };
        match &mut self.cut {
            Some(cut) => cut.feed(piece, write),
            None => write(piece),
        }
    }

    /// What was held back of it is told.
    fn let_go(&mut self, mouth: &RefCell<Mouth>) {
        let left = self.cut.as_mut().map_or_else(Bytes::new, UsageCut::end);
        if !left.is_empty() {
            write_piece(&left, self.framing, &mut mouth.borrow_mut().out);
        }
    }

    /// Tokens were handed to the kernel.
    fn handed_over(&mut self, call: &mut Call<'_>) {
        let now = Instant::now();
        if let Some(events) = self.watch.take(now) {
            call.notes.first_token.get_or_insert(now);
            call.notes.tokens += events.tokens;
        }
    }
}
