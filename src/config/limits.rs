//! `[limits]`: bounds on clients.

use std::time::Duration;

use super::table::table;
use crate::base::limits::{
    BODY_BYTES_MAX, BODY_RATE, BUFFERED_BYTES_MAX, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT,
    IDLE_TIMEOUT, KIB, MIB, WRITE_TIMEOUT,
};

table! {
    /// `[limits]`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct LimitsConfig {
        /// Open client connections; past it the one that has rested longest is closed to make room, and with none at
        /// rest the newcomer waits; lowered to what the limit of open files bears, two each and a reserve, told at start.
        connections: usize = key("connections", Number(1, 1_000_000), Count(CONNECTIONS_MAX)),
        /// Longest request head; its target has at most 32 KiB, its fields are at most 256.
        head_bytes: usize = key("head", Size(KIB, MIB), Bytes(HEAD_BYTES_MAX)),
        /// Longest request body, enforced on bytes received; a route may set its own.
        body: u64 = key("body", Size(0, SIZE_MAX), Bytes(BODY_BYTES_MAX as usize)),
        /// Bodies that routes look into are held: all lanes together, first come, first served; one that finds no room
        /// waits up to 10 s, then 503.
        buffered: u64 = key("buffered", Size(MIB, SIZE_MAX), Bytes(BUFFERED_BYTES_MAX as usize)),
        /// From the first byte of a head to its end; or "none".
        head_timeout: Option<Duration> = key("head_timeout", Or("none", &Time(INSTANT)), Lasts(HEAD_TIMEOUT)),
        /// A client connection between exchanges; or "none".
        idle_timeout: Option<Duration> = key("idle_timeout", Or("none", &Time(INSTANT)), Lasts(IDLE_TIMEOUT)),
        /// A client that takes no byte for this long is cut, as the client's doing; or "none".
        write_timeout: Option<Duration> = key("write_timeout", Or("none", &Time(INSTANT)), Lasts(WRITE_TIMEOUT)),
        /// Slowest average a second that a client may send a body at, after 5 s of grace; "0B" for any. Time that we
        /// make it wait does not count.
        body_rate: u64 = key("body_rate", Size(0, 1 << 30), Bytes(BODY_RATE as usize)),
    }
}
