//! What is known of a finished exchange, handed to metrics in one piece.

use super::ids::{EndpointId, RouteId};

/// How an exchange ended, as S (success rate) counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ended {
    /// As intended: an answer below 500 was delivered whole.
    #[default]
    Well,
    /// The client left first; counted apart, not as a failure.
    ClientLeft,
    /// A 5xx, or an answer that broke off.
    Badly,
}

impl Ended {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::ClientLeft => "client_left",
            Self::Badly => "badly",
        }
    }
}

/// One finished exchange. Times are microseconds.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The route, if one was found.
    pub route: Option<RouteId>,
    /// The endpoint whose answer was relayed, or that was tried last.
    pub endpoint: Option<EndpointId>,
    /// How it ended.
    pub ended: Ended,
    /// Status sent downstream; 499 where the client left early.
    pub status: u16,
    /// T: first byte of the request head to last byte of the response.
    pub total_us: u64,
    /// T minus the time spent waiting for the upstream and for the client.
    pub overhead_us: u64,
    /// Waiting for a place in a full cluster.
    pub queue_us: u64,
    /// Request head complete to the first token-bearing event, else first body byte.
    pub ttft_us: Option<u64>,
    /// Bytes read from the client, body only.
    pub bytes_in: u64,
    /// Bytes written to the client, body only.
    pub bytes_out: u64,
    /// Token-bearing events relayed.
    pub tokens: u64,
    /// Tokens that the answer tells of, in the order of [`TOKEN_KINDS`]; zero where it tells nothing.
    pub usage: [u64; TOKEN_KINDS.len()],
}

impl Summary {
    /// The class of its status: 1xx to 5xx, and 499. An upstream may answer 499 too: that is a 4xx of its own.
    pub fn class(&self) -> usize {
        match self.ended {
            Ended::ClientLeft => 5,
            Ended::Well | Ended::Badly => usize::from(self.status / 100).clamp(1, 5) - 1,
        }
    }
}

/// Tokens of the prompt, those that the model wrote, and of the prompt those that the engine had read before.
pub const TOKEN_KINDS: [&str; 3] = ["input", "output", "cached"];
