//! What is noted of an exchange while it runs, and the summary made of it.

use std::time::{Duration, Instant};

use super::downstream::Arrival;
use crate::base::fault::Fault;
use crate::base::ids::{EndpointId, RouteId};
use crate::base::summary::{Ended, Summary};
use crate::base::time::micros;
use crate::codec::encode::Timing;

/// Notes of one exchange.
#[derive(Debug)]
pub(super) struct Tally {
    /// When the request head was read.
    pub(super) arrival: Arrival,
    pub(super) route: Option<RouteId>,
    pub(super) endpoint: Option<EndpointId>,
    pub(super) upstream_fault: bool,
    /// Status sent downstream; zero while none was.
    pub(super) status: u16,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) tokens: u64,
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
    /// What went wrong, and the code of an answer of our own.
    pub(super) fault: Option<Fault>,
    pub(super) code: Option<&'static str>,
}

/// How long each phase before the answer took, over all attempts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Phases {
    pub(super) hold: Duration,
    pub(super) connect: Duration,
    pub(super) send: Duration,
    pub(super) wait: Duration,
}

impl Tally {
    pub(super) fn new(arrival: Arrival) -> Self {
        Self {
            arrival,
            route: None,
            endpoint: None,
            upstream_fault: false,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            tokens: 0,
            waited: Duration::ZERO,
            waited_client: arrival.complete - arrival.began,
            first_token: None,
            attempts: 0,
            reused: false,
            phases: Phases::default(),
            answered: None,
            fault: None,
            code: None,
        }
    }

    /// Where the time went until `now`, when the head of the answer leaves. There is no queue to wait in.
    pub(super) fn timing(&self, now: Instant) -> Timing {
        Timing { queue: Duration::ZERO, gateway: self.own(now), upstream: self.waited }
    }

    /// The gateway's own share of the time until `now`.
    fn own(&self, now: Instant) -> Duration {
        let total = now.saturating_duration_since(self.arrival.began);
        total.saturating_sub(self.waited + self.waited_client)
    }

    pub(super) fn summary(&self, ended: Ended, now: Instant) -> Summary {
        let total_us = micros(self.arrival.began, now);
        Summary {
            route: self.route,
            endpoint: self.endpoint,
            ended,
            upstream_fault: self.upstream_fault,
            // Whatever had been sent: a client that left is counted as that, apart from failures.
            status: if ended == Ended::ClientLeft || self.status == 0 { 499 } else { self.status },
            total_us,
            overhead_us: u64::try_from(self.own(now).as_micros()).unwrap_or(u64::MAX),
            ttft_us: self.first_token.map(|at| micros(self.arrival.complete, at)),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            tokens: self.tokens,
        }
    }
}
