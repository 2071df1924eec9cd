//! What went wrong with one exchange: side, stage, kind, and how much of the request the upstream may have seen.

/// Who caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client.
    Downstream,
    /// Corelane itself, or its configuration.
    Proxy,
    /// The endpoint.
    Upstream,
}

/// Where in the life of the exchange it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Looking for a route.
    Route,
    /// Choosing an endpoint.
    Pick,
    /// Opening a connection.
    Connect,
    /// Sending the request.
    Send,
    /// Waiting for the response head.
    Wait,
    /// Relaying the response body.
    Relay,
}

/// How much of the request the upstream may have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sent {
    /// No byte: repeating is safe.
    Nothing,
    /// Some, or nobody knows how much.
    Partly,
    /// All of it.
    Wholly,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The client went away.
    ClientLeft,
    /// The client's bytes break HTTP/1.1 or a limit; the codec's words are in the reply.
    BadMessage,
    /// The client was too slow with its request.
    TooSlow,
    /// The client took nothing of its answer for too long.
    ClientSlow,
    /// The request body is longer than the route allows.
    BodyTooLarge,
    /// No endpoint is admitted.
    NoEndpoint,
    /// No endpoint lists the model that is asked for.
    NotListed,
    /// Every endpoint that is admitted has as many requests as it may.
    QueueFull,
    /// Its time ran out while it waited for a place.
    QueueTimeout,
    /// This process has no descriptor, port or permission left for a connection.
    NoDescriptors,
    /// The endpoint did not accept a connection.
    Refused,
    /// The endpoint is not who it must be, or its TLS is not understood.
    Untrusted,
    /// The connection ended before a complete response head.
    Reset,
    /// The connection ended inside a response body.
    Truncated,
    /// The response breaks HTTP/1.1 or a limit.
    Invalid,
    /// A clock of the cluster ran out.
    Timeout,
    /// The gateway is shutting down.
    Draining,
}

impl Stage {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Pick => "pick",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Wait => "wait",
            Self::Relay => "relay",
        }
    }
}

impl FaultKind {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientLeft => "client_left",
            Self::BadMessage => "bad_message",
            Self::TooSlow => "too_slow",
            Self::ClientSlow => "client_slow",
            Self::BodyTooLarge => "body_too_large",
            Self::NoEndpoint => "no_endpoint",
            Self::NotListed => "model_not_found",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::NoDescriptors => "no_descriptors",
            Self::Refused => "refused",
            Self::Untrusted => "untrusted",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Invalid => "invalid",
            Self::Timeout => "timeout",
            Self::Draining => "draining",
        }
    }
}

/// One fault. Status, metric label, log line and retry permission are all functions of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Who caused it.
    pub side: Side,
    /// When.
    pub stage: Stage,
    /// What.
    pub kind: FaultKind,
    /// What the upstream may have seen.
    pub sent: Sent,
}

impl Fault {
    /// The endpoint failed.
    pub fn upstream(stage: Stage, kind: FaultKind, sent: Sent) -> Self {
        Self { side: Side::Upstream, stage, kind, sent }
    }
}
