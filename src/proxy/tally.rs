//! What is noted of an exchange while it runs, and the summary made of it.

use std::time::{Duration, Instant};

use super::downstream::Arrival;
use crate::base::ids::{EndpointId, RouteId};
use crate::base::summary::{Ended, Summary};
use crate::base::time::micros;

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
    /// Time spent waiting for the upstream.
    pub(super) waited: Duration,
    pub(super) first_token: Option<Instant>,
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
            first_token: None,
        }
    }

    pub(super) fn summary(&self, ended: Ended, now: Instant) -> Summary {
        let total_us = micros(self.arrival.began, now);
        let waited_us = u64::try_from(self.waited.as_micros()).unwrap_or(u64::MAX);
        Summary {
            route: self.route,
            endpoint: self.endpoint,
            ended,
            upstream_fault: self.upstream_fault,
            status: if self.status == 0 { 499 } else { self.status },
            total_us,
            overhead_us: total_us.saturating_sub(waited_us),
            ttft_us: self.first_token.map(|at| micros(self.arrival.complete, at)),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            tokens: self.tokens,
        }
    }
}
