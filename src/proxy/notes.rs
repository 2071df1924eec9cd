//! What is noted of an exchange while it runs, and the summary made of it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::guard::Guard;
use super::spans::Attempts;
use crate::base::fault::{Fault, Stage};
use crate::base::ids::{EndpointId, RouteId};
use crate::base::limits::TOKENS_USED_MAX;
use crate::base::summary::{Ended, Summary};
use crate::base::time::{micros, whole_micros};
use crate::codec::encode::Timing;
use crate::codec::usage::{Usage, UsageReader};
use crate::metrics::gaps::Gaps;
use crate::metrics::record::Record;

/// When a request head was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Its first byte.
    pub(super) began: Instant,
    /// Its last one.
    pub(super) complete: Instant,
}

impl Arrival {
    /// All of it at once, for it was in memory.
    pub(super) fn at(now: Instant) -> Self {
        Self { began: now, complete: now }
    }
}

/// Notes of one exchange.
#[derive(Debug)]
pub(super) struct Notes {
    /// When the request head was read.
    pub(super) arrival: Arrival,
    pub(super) endpoint: Option<EndpointId>,
    /// The id that the endpoint gave the answer, where a line of the log tells it.
    pub(super) upstream_id: Option<Box<[u8]>>,
    /// Status sent downstream; zero while none was.
    pub(super) status: u16,
    pub(super) bytes_out: u64,
    pub(super) tokens: u64,
    /// Reads what the answer says of its tokens.
    pub(super) usage: Option<UsageReader>,
    /// It was told an answer that others were told too, and pays as if it were its own.
    pub(super) is_told: bool,
    /// What is known of its batch, where its cluster has some.
    pub(super) batch: Option<Box<Batched>>,
    /// Tokens that its legs used together.
    pub(super) used_by_legs: u64,
    /// Times between tokens, where exchanges are told of.
    pub(super) gaps: Option<Box<Gaps>>,
    /// When that began which is waited for, if anything is: it is counted when it is over, or given up.
    pub(super) since: Option<Instant>,
    /// Time spent waiting for the upstream, and for the client.
    pub(super) waited: Duration,
    pub(super) waited_client: Duration,
    pub(super) first_token: Option<Instant>,
    /// Attempts made, and whether the last one found a pooled connection.
    pub(super) attempts: u32,
    pub(super) reused: bool,
    pub(super) phases: Phases,
    /// When the head of the answer was read.
    pub(super) answered: Option<Instant>,
    /// How far it is.
    pub(super) stage: Stage,
    /// What was sent of the answer would look whole if the connection were closed now (RFC 9112 §8).
    pub(super) looks_whole: bool,
    pub(super) ended: Ended,
    /// When the client was told that its connection goes on in another protocol: what is measured of the exchange ends
    /// there, for how long people talk is no measure of anybody.
    pub(super) switched: Option<Instant>,
    /// Its attempts, where it is traced.
    pub(super) tried: Option<Box<Attempts>>,
    /// The model that it asks for, by its place among those that the plan names, where its route depends on that.
    pub(super) model: Option<u32>,
    /// Its client left, and it was ended so long after that was noticed.
    pub(super) cancelled: Option<Duration>,
    /// When it was over, if its last step looked at the clock.
    pub(super) over: Option<Instant>,
    /// What went wrong, and the code of an answer of our own.
    pub(super) fault: Option<Fault>,
    pub(super) code: Option<&'static str>,
}

/// A request of a cluster that batches.
#[derive(Debug, Default)]
pub(super) struct Batched {
    /// The id of the call that carried it with others, and how many they were.
    pub(super) carried: Option<(Bytes, usize)>,
    /// Its place, which it leaves when the exchange is over.
    pub(super) _place: Option<Guard>,
}

/// How long each phase before the answer took, over all attempts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Phases {
    pub(super) hold: Duration,
    /// In the queue of a full cluster.
    pub(super) queue: Duration,
    pub(super) connect: Duration,
    pub(super) send: Duration,
    pub(super) wait: Duration,
}

impl Notes {
    /// Whether nothing was waited for since the head was complete, as far as an attempt goes: the clock need not be asked.
    #[inline(always)] // each attempt asks
    pub(super) fn is_prompt(&self) -> bool {
        self.attempts == 0 && self.phases.queue.is_zero() && self.phases.hold.is_zero()
    }

    pub(super) fn new(arrival: Arrival) -> Self {
        Self {
            arrival,
            endpoint: None,
            upstream_id: None,
            status: 0,
            bytes_out: 0,
            tokens: 0,
            usage: None,
            is_told: false,
            batch: None,
            used_by_legs: 0,
            gaps: None,
            since: None,
            waited: Duration::ZERO,
            // Most heads come at once: then there is nothing to subtract.
            waited_client: match arrival.complete == arrival.began {
                true => Duration::ZERO,
                false => arrival.complete - arrival.began,
            },
            first_token: None,
            attempts: 0,
            reused: false,
            phases: Phases::default(),
            answered: None,
            stage: Stage::Route,
            looks_whole: false,
            ended: Ended::Well,
            switched: None,
            tried: None,
            model: None,
            cancelled: None,
            over: None,
            fault: None,
            code: None,
        }
    }

    /// Where the time went until `now`, when the head of the answer leaves; the client kept us waiting `for_body` for its
    /// body.
    pub(super) fn timing(&self, for_body: Duration, now: Instant) -> Timing {
        let total = now.saturating_duration_since(self.arrival.began);
        let Phases { queue, connect, wait: head, .. } = self.phases;
        Timing { queue, gateway: self.own(for_body, total), upstream: self.waited, connect, head }
    }

    /// Tokens that a request used of whose prompt so many were estimated: what the answer says, else what was delivered.
    pub(super) fn tokens_used(&self, prompt: u64) -> u64 {
        if self.used_by_legs > 0 {
            return self.used_by_legs.min(TOKENS_USED_MAX);
        }
        let is_refused = (self.endpoint.is_none() && !self.is_told) || self.status >= 400;
        // It was sent, and nobody waited for what came of it.
        let is_left = self.status == 0 && self.ended == Ended::ClientLeft;
        if is_refused || (self.status == 0 && !is_left) {
            return 0;
        }
        let (reader, told) = (self.usage.as_ref(), self.told());
        let events = self.tokens.max(reader.map_or(0, |reader| reader.lines_of_documents()));
        let used = match (self.ended, told.total) {
            // What it said of its output before it was cut was said of a beginning.
            (Ended::ClientLeft | Ended::Badly, None) => {
                told.input.unwrap_or(prompt).saturating_add(told.output.unwrap_or(0).max(events))
            }
            _ => told.all().unwrap_or(prompt.saturating_add(events)),
        };
        used.min(TOKENS_USED_MAX)
    }

    /// The gateway's own share of `total`.
    fn own(&self, for_body: Duration, total: Duration) -> Duration {
        total.saturating_sub(self.waited + self.waited_client + self.phases.queue + for_body)
    }

    /// What the answer told of its tokens, as far as it was read.
    pub(super) fn told(&self) -> Usage {
        self.usage.as_ref().map(|reader| reader.usage()).unwrap_or_default()
    }

    #[inline(always)] // each exchange ends here
    pub(super) fn summary(
        &self,
        route: Option<RouteId>,
        (body, usage): (BodyNotes, &Usage),
        now: Instant,
    ) -> Summary {
        let total = now.saturating_duration_since(self.arrival.began);
        Summary {
            route,
            endpoint: self.endpoint,
            ended: self.ended,
            // Whatever had been sent: a client that left is counted as that, apart from failures.
            status: if self.ended == Ended::ClientLeft || self.status == 0 { 499 } else { self.status },
            total_us: whole_micros(total),
            overhead_us: whole_micros(self.own(body.waited, total)),
            queue_us: whole_micros(self.phases.queue),
            ttft_us: self.first_token.map(|at| micros(self.arrival.complete, at)),
            bytes_in: body.received,
            bytes_out: self.bytes_out,
            tokens: self.tokens,
            usage: usage.counted(),
        }
    }
}

impl Notes {
    /// What is told of the exchange, which was over at `now`.
    pub(super) fn record(&self, summary: &Summary, usage: &Usage, now: Instant) -> Record {
        let fault = self.fault.filter(|_| summary.ended != Ended::Well);
        Record {
            route: summary.route,
            endpoint: summary.endpoint,
            status: summary.status,
            ended: summary.ended,
            code: self.code,
            fault: fault.map(|fault| fault.kind.name()),
            stage: fault.map(|fault| fault.stage.name()),
            attempts: self.attempts,
            reused: self.reused,
            bytes_in: summary.bytes_in,
            bytes_out: summary.bytes_out,
            tokens: summary.tokens,
            input_tokens: usage.input,
            output_tokens: usage.output,
            cached_tokens: usage.cached,
            total_us: summary.total_us,
            head_us: micros(self.arrival.began, self.arrival.complete),
            hold_us: whole_micros(self.phases.hold),
            queue_us: summary.queue_us,
            connect_us: whole_micros(self.phases.connect),
            send_us: whole_micros(self.phases.send),
            wait_us: whole_micros(self.phases.wait),
            relay_us: self.answered.map_or(0, |answered| micros(answered, now)),
            ttft_us: summary.ttft_us,
            itl_p50_us: self.gaps.as_ref().and_then(|gaps| gaps.median_us()),
            itl_max_us: self.gaps.as_ref().and_then(|gaps| gaps.longest_us()),
        }
    }
}

/// What is known of the body of a request at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyNotes {
    /// Bytes from the client.
    pub(super) received: u64,
    /// How long the client kept us waiting.
    pub(super) waited: Duration,
}
