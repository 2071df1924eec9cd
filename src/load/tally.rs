//! What is counted of a run: plain numbers, merged over threads and slices.

use std::collections::BTreeMap;
use std::time::Duration;

use super::verdict::Failure;
use crate::metrics::times::Times;

/// Counts of one run, or of one slice of it.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests that ended and were right.
    pub success: u64,
    /// Requests that failed, by kind.
    pub failures: BTreeMap<Failure, u64>,
    /// Requests that had not ended when the run did.
    pub unfinished: u64,
    /// Tokens received.
    pub tokens: u64,
    /// Bytes of requests, heads included.
    pub bytes_out: u64,
    /// Bytes of answers' bodies.
    pub bytes_in: u64,
    /// Connections made.
    pub connects: u64,
    /// T: from the intended start to the last byte of a right answer.
    pub total: Times,
    /// TTFT: from the intended start to the first token.
    pub ttft: Times,
    /// ITL: from one token to the next; tokens that came together count zero.
    pub itl: Times,
    /// From the server's writing of a token to its arrival here, where the server stamps its tokens.
    pub delay: Times,
    /// How much later than intended requests began: the generator's own fault, and part of T.
    pub late: Times,
    /// Length of what was measured, summed over slices.
    pub measured: Duration,
    /// CPU time that the generator itself took meanwhile.
    pub cpu: Duration,
}

impl Tally {
    /// Requests that ended.
    pub fn requests(&self) -> u64 {
        self.success + self.failed()
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Notes a failure.
    pub fn fail(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Adds another thread's counts of the same time.
    pub fn join(&mut self, other: &Self) {
        let measured = self.measured.max(other.measured);
        self.add(other);
        self.measured = measured;
    }

    /// Adds another slice.
    pub fn add(&mut self, other: &Self) {
        self.success += other.success;
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
        self.unfinished += other.unfinished;
        self.tokens += other.tokens;
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        self.connects += other.connects;
        self.total.add(&other.total);
        self.ttft.add(&other.ttft);
        self.itl.add(&other.itl);
        self.delay.add(&other.delay);
        self.late.add(&other.late);
        self.measured += other.measured;
        self.cpu += other.cpu;
    }

    /// So many a second, while it was measured.
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.measured.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The generator's own CPU time for each request, microseconds.
    pub fn cpu_us_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests().max(1) as f64
    }
}
