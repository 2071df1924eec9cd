//! T, S, B, TTFT and ITL: what is measured from where to where, and nowhere else.
//!
//! | measure | from | to |
//! |---|---|---|
//! | T, processing time | first byte of the request head read | last byte of the response handed to the kernel |
//! | overhead, the gateway's share of T | T | minus the time spent waiting for the upstream and for the client |
//! | TTFT, streams only | request head complete | first token-bearing event handed to the kernel |
//! | ITL, streams only | one token-bearing event handed to the kernel | the next |
//! | S, success rate | exchanges that ended as intended | all but those whose client left early |
//! | B, throughput | requests, body bytes each way, token-bearing events | per second, over the last ten |
//!
//! The T of a tunnel is that of its handshake, and ends with the 101: for how long two sides talk is no measure of anybody.
//! Tokens are counted in two ways: as events that bear one, and as the answer tells of them (`usage`), where it does.
//! Several token-bearing events that leave in one write count their gap once and zero for the others.
//! Knows neither lanes nor HTTP.

pub mod accept;
pub mod access;
pub mod gaps;
pub mod history;
pub mod keyed;
pub mod names;
pub mod rates;
pub mod record;
pub mod recorder;
pub mod records;
pub mod snapshot;
mod sums;
pub mod text;
pub mod times;
pub mod window;
