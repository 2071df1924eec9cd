//! One attempt: a pooled or a new connection, the request sent, the response head awaited. Knows no client.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::decide::{switches, write_upstream};
use super::intake::BodyFault;
use super::pressed;
use super::request::{Call, Request};
use super::source::{Relayed, Silence, served};
use super::state::EndpointOnLane;
use super::unread::is_unread;
use super::untrusted;
use super::upload::Upload;
use super::upstream::{AnswerHead, Upstream};
use crate::base::fault::{Fault, FaultKind, Sent, Side, Stage};
use crate::base::ids::EndpointId;
use crate::base::limits::WRITE_STALL;
use crate::base::time::{deadline, earlier, whole_micros};
use crate::cluster::dispatch::{Connection, Failure, Heard};
use crate::cluster::{Outcome, Ticket};
use crate::codec::edit::Side as EditedSide;
use crate::codec::framing::Framing;
use crate::codec::head::ResponseHead;
use crate::net::connect::{Blame, blame, connect_any};
use crate::plan::Timeouts;

/// Why an attempt failed: what the cluster's rules judge, and what is told of a body that broke.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) body: Option<BodyFault>,
}

/// Tries the endpoint that was picked.
pub(super) async fn run(
    request: &Request,
    call: &mut Call<'_>,
    (id, mut ticket): (EndpointId, Ticket),
    wanted: Connection,
) -> Result<Relayed, Failed> {
    let endpoint = Rc::clone(&request.plan.endpoints[id]);
    let cluster = &request.plan.plan.clusters[ticket.cluster()];
    let timeouts = cluster.settings.timeouts;
    call.notes.endpoint = Some(id);
    // Nothing was waited for since the head was complete, unless the body was, a place, or another attempt.
    let is_first = call.notes.is_prompt() && !call.body.is_held();
    call.notes.attempts += 1;
    let begun = if is_first { call.notes.arrival.complete } else { Instant::now() };
    if let Some(tried) = &mut call.notes.tried {
        tried.begin(id, begun, &request.trace);
    }
    let (mut upstream, on, connected) = match take(request, &endpoint, id, wanted, begun) {
        Some(upstream) => (upstream, Connection::Pooled, begun),
        None => match connect(request, call, id, timeouts, begun).await {
            Ok((upstream, connected)) => (upstream, Connection::Fresh, connected),
            Err(fault) => {
                return Err(fail(request, call, ticket, fault, (Connection::Fresh, Heard::Nothing)));
            }
        },
    };
    if on == Connection::Pooled || call.may_move_on || cluster.repeats_answers() {
        let replay = cluster.settings.retry.replay;
        call.body.keep_for_repeat(replay, request.framing, &request.plan.plan.budget);
    } else {
        call.body.keep_nothing();
    }
    call.notes.reused = on == Connection::Pooled;
    call.notes.stage = Stage::Send;
    write_head(request, call, &mut upstream, id);
    call.body.rewind();
    let upload = Upload::new(request.framing);
    match converse(call, &mut upstream, upload, timeouts, connected).await {
        Ok(Answered { head, framing, upload }) => {
            let answered = call.notes.answered.unwrap_or(connected);
            ticket.answered(served(&head), answered);
            if let Some(tried) = &mut call.notes.tried {
                tried.answered(head.status());
            }
            pressed::hear(request, id, &head, answered);
            if !head.is_event_stream() {
                ticket.timed(head.status(), answered);
            }
            let silence = Silence::of(timeouts.between_bytes);
            Ok(Relayed { upstream, head, framing, ticket, endpoint, upload, silence })
        }
        Err((mut fault, body)) => {
            if on == Connection::Pooled && fault.kind == FaultKind::Reset && !upstream.heard {
                // It may have been closed as the request was sent. In a box: it is rare, and a timer is large.
                if Box::pin(is_unread(&mut upstream)).await {
                    fault.sent = Sent::Nothing;
                }
            }
            let heard = if upstream.heard { Heard::Something } else { Heard::Nothing };
            let mut failed = fail(request, call, ticket, fault, (on, heard));
            failed.body = body;
            Err(failed)
        }
    }
}

/// Settles the ticket of an attempt that failed.
fn fail(
    request: &Request,
    call: &mut Call<'_>,
    ticket: Ticket,
    fault: Fault,
    (on, heard): (Connection, Heard),
) -> Failed {
    let position = ticket.position();
    if let Some(tried) = &mut call.notes.tried {
        tried.failed(&fault, Instant::now());
    }
    // A connection that was closed while it lay idle is nobody's fault.
    let is_stale = on == Connection::Pooled && fault.sent == Sent::Nothing;
    if fault.side == Side::Upstream && !is_stale {
        request.settle(ticket, Outcome::Failed(fault), Instant::now());
    }
    let (repeat, at_hand) = (request.repeat(), call.body.at_hand());
    Failed { failure: Failure { position, fault, on, heard, repeat, at_hand }, body: None }
}

fn take(
    request: &Request,
    endpoint: &EndpointOnLane,
    id: EndpointId,
    wanted: Connection,
    now: Instant,
) -> Option<Box<Upstream>> {
    let upstream = match wanted {
        Connection::Pooled => endpoint.checkout(now),
        Connection::Fresh => None,
    };
    let counts = &mut request.plan.recorder.borrow_mut().endpoints[id];
    match upstream {
        Some(_) => counts.reused += 1,
        None => counts.connects += 1,
    }
    upstream
}

async fn connect(
    request: &Request,
    call: &mut Call<'_>,
    id: EndpointId,
    timeouts: Timeouts,
    begun: Instant,
) -> Result<(Box<Upstream>, Instant), Fault> {
    (call.notes.stage, call.notes.since) = (Stage::Connect, Some(begun));
    let due = earlier(deadline(begun, Some(timeouts.connect)), call.deadline);
    let connected = {
        let endpoint = &request.plan.plan.endpoints[id];
        let mut connecting = pin!(connect_any(&endpoint.addresses, endpoint.tls.as_ref()));
        call.clock.within(due, |cx| connecting.as_mut().poll(cx)).await
    };
    let now = Instant::now();
    call.notes.waited += now - begun;
    call.notes.phases.connect += now - begun;
    let fault = |kind| Fault::upstream(Stage::Connect, kind, Sent::Nothing);
    match connected {
        Some(Ok(stream)) => {
            // Whoever was away may serve something else now.
            request.plan.plan.endpoints[id].served.want();
            let took = whole_micros(now - begun);
            request.plan.recorder.borrow_mut().endpoints[id].connect.record(took);
            Ok((Upstream::new(stream), now))
        }
        Some(Err(error)) => Err(match blame(&error) {
            Blame::Theirs => fault(FaultKind::Refused),
            Blame::Untrusted => {
                untrusted::tell(&request.plan.plan.endpoints[id], &error);
                fault(FaultKind::Untrusted)
            }
            // Each endpoint would show the same: it is told as ours, and none is blamed.
            Blame::Ours => Fault { side: Side::Proxy, ..fault(FaultKind::NoDescriptors) },
        }),
        None => Err(fault(FaultKind::Timeout)),
    }
}

fn write_head(request: &Request, call: &Call<'_>, upstream: &mut Upstream, id: EndpointId) {
    let edits = request.edits(EditedSide::Request);
    let is_read = call.body.is_held() || call.body.is_watched();
    let mut identity = request.identity(&edits, is_read, call.body.client().is_some());
    let trace = call.notes.tried.as_ref().map(|tried| tried.context(&request.trace));
    identity.trace = trace.as_ref().unwrap_or(identity.trace);
    let (plan, route) = (&request.plan.plan, request.route().0);
    let out = match identity.can_switch && switches(plan, route, &request.head) {
        true => upstream.expect_switch(),
        false => upstream.expect(request.head.method()),
    };
    write_upstream(out, plan, (route, id), &request.head, &identity);
}

struct Answered {
    head: ResponseHead,
    framing: Framing,
    upload: Upload,
}

/// Sends the request as its body comes and reads until the final head of its answer, which may come before the body's
/// end; interim heads are passed on.
async fn converse(
    call: &mut Call<'_>,
    upstream: &mut Upstream,
    upload: Upload,
    timeouts: Timeouts,
    connected: Instant,
) -> Result<Answered, (Fault, Option<BodyFault>)> {
    let kept_waiting = call.body.waited;
    call.notes.since = Some(connected);
    let mut talk = Talk { call, upstream, upload, timeouts, begun: connected };
    let outcome = poll_fn(|cx| talk.poll(cx)).await;
    let upload = talk.upload;
    let now = Instant::now();
    let sent = upload.sent.unwrap_or(now);
    let (sending, waiting) = (sent - connected, now - sent);
    let notes = &mut call.notes;
    notes.since = None;
    notes.phases.send += sending;
    let writing = sending.saturating_sub(call.body.waited - kept_waiting);
    if writing > WRITE_STALL {
        notes.waited += writing;
    }
    notes.waited += waiting;
    notes.phases.wait += waiting;
    let (head, framing) = outcome?;
    notes.answered = Some(now);
    Ok(Answered { head, framing, upload })
}

struct Talk<'t, 'c> {
    call: &'t mut Call<'c>,
    upstream: &'t mut Upstream,
    upload: Upload,
    timeouts: Timeouts,
    begun: Instant,
}

type Head = (ResponseHead, Framing);

impl Talk<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, (Fault, Option<BodyFault>)>> {
        loop {
            if let Err(broken) = self.upload.poll(&mut self.call.body, self.upstream, cx) {
                return Poll::Ready(Err((of_body(broken), Some(broken))));
            }
            // What is passed on while an earlier answer is still being written is pushed from here.
            let _ = self.call.early.poll_sent(cx);
            match self.upstream.poll_head(cx) {
                Poll::Ready(Ok(AnswerHead::Final(head, framing))) => return Poll::Ready(Ok((head, framing))),
                Poll::Ready(Ok(AnswerHead::Interim(head))) => {
                    if head.status() == 100 {
                        self.call.body.go_on();
                    }
                    self.call.early.pass_on(&head);
                }
                Poll::Ready(Err(kind)) => return Poll::Ready(Err((self.fault(kind), None))),
                Poll::Pending => {
                    let due = self.due();
                    ready!(self.call.clock.poll_due(due, cx));
                    let between = self.timeouts.between_bytes;
                    let is_over = self.first_byte().is_some_and(|due| due <= Instant::now())
                        || self.call.deadline.is_some_and(|due| due <= Instant::now());
                    if is_over || self.upload.is_stalled(between, self.upstream) {
                        return Poll::Ready(Err((self.fault(FaultKind::Timeout), None)));
                    }
                }
            }
        }
    }

    /// When something must have happened.
    fn due(&self) -> Option<Instant> {
        let stall = self.upload.due(self.timeouts.between_bytes);
        earlier(earlier(self.first_byte(), stall), self.call.deadline)
    }

    /// When the answer must have begun: it is waited for from the end of the request on, or from the end of its head
    /// where the client waits to be told to send the rest.
    fn first_byte(&self) -> Option<Instant> {
        let since = match self.upload.sent {
            None if self.call.body.is_unasked() => Some(self.begun),
            sent => sent,
        };
        since.and_then(|since| deadline(since, self.timeouts.first_byte))
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        let is_sent = self.upload.sent.is_some();
        let stage = if is_sent { Stage::Wait } else { Stage::Send };
        Fault::upstream(stage, kind, if is_sent { Sent::Wholly } else { Sent::Partly })
    }
}

fn of_body(fault: BodyFault) -> Fault {
    Fault { side: Side::Downstream, stage: Stage::Send, kind: fault.kind(), sent: Sent::Partly }
}
