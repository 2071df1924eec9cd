//! Who is put under load, by what pace, for how long.

use std::sync::Arc;
use std::time::Duration;

use crate::base::address::Address;
use crate::base::choice::IoDriver;
use crate::base::trust::TlsClient;

/// A server under load.
#[derive(Debug, Clone)]
pub struct Target {
    /// As it was asked for.
    pub url: String,
    /// Where it listens, tried in order.
    pub addresses: Vec<Address>,
    /// Whom to trust there, where it is at https://.
    pub tls: Option<Arc<TlsClient>>,
    /// For Host.
    pub authority: String,
    /// Path in front of the requests'.
    pub base: String,
}

/// Who starts requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// The clock.
    Open {
        /// Starts a second.
        rate: f64,
        /// Connections at most; starts that find none free wait, and their time runs.
        connections_max: usize,
    },
    /// Each connection, when its last answer is complete.
    Closed {
        /// How many.
        connections: usize,
    },
    /// Nobody: connections are brought to a state and left there.
    Held {
        /// How many.
        connections: usize,
        /// In which state.
        hold: Hold,
    },
}

/// A state that connections are left in, so that what they cost can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Idle after one exchange.
    Idle,
    /// In the middle of sending a body.
    Upload,
}

/// How a run goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who starts requests.
    pub pace: Pace,
    /// Not counted, at the beginning.
    pub warmup: Duration,
    /// Counted.
    pub duration: Duration,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Threads, each with its share of the connections.
    pub threads: usize,
    /// How the generator itself does I/O.
    pub driver: IoDriver,
}

/// Where counting begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Warm-up is over; held connections are in their state.
    Begin,
    /// Counting is over.
    End,
}

impl Pace {
    /// The part of one thread of several.
    pub(super) fn share(self, thread: usize, threads: usize) -> Self {
        let part = |whole: usize| whole / threads + usize::from(thread < whole % threads);
        match self {
            Self::Open { rate, connections_max } => {
                Self::Open { rate: rate / threads as f64, connections_max: part(connections_max).max(1) }
            }
            Self::Closed { connections } => Self::Closed { connections: part(connections) },
            Self::Held { connections, hold } => Self::Held { connections: part(connections), hold },
        }
    }
}
