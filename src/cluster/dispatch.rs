//! The attempts of one exchange, as a pure decider: who is tried, and what may be tried again.
//!
//! A request is repeated only with proof that the upstream did nothing with it (RFC 9110 §9.2.2): the connection was
//! never made; or it was a pooled one that ended without a response byte and the method is safe. Inference calls are
//! POST: without proof the client is told, and decides.

use super::Cluster;
use crate::base::fault::{Fault, FaultKind, Sent, Side, Stage};
use crate::base::limits::ATTEMPTS_MAX;

/// Whether the request may be sent a second time after the upstream may have seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// A safe method without a body.
    Safe,
    /// Anything else.
    Never,
}

/// Which connection an attempt may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// A pooled one if there is one.
    Pooled,
    /// A new one: a pooled one has just failed.
    Fresh,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Try the endpoint at this position of the cluster.
    Attempt {
        /// Position in the cluster.
        position: usize,
        /// On which connection.
        connection: Connection,
    },
    /// Tell the client.
    GiveUp(Fault),
}

/// How an attempt failed. An attempt that is answered ends the dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The fault.
    pub fault: Fault,
    /// On which kind of connection.
    pub on: Connection,
}

/// The attempts of one exchange.
#[derive(Debug)]
pub struct Dispatch {
    repeat: Repeat,
    attempts: u32,
    tried: Vec<usize>,
    last: Option<(usize, Failure)>,
}

impl Dispatch {
    /// No attempt made yet.
    pub fn new(repeat: Repeat) -> Self {
        Self { repeat, attempts: 0, tried: Vec::new(), last: None }
    }

    /// What to do next.
    pub fn next(&mut self, cluster: &mut Cluster) -> Step {
        let step = match self.last {
            None => self.pick(cluster, NO_ENDPOINT),
            Some((_, Failure { fault, .. })) if self.attempts >= ATTEMPTS_MAX => Step::GiveUp(fault),
            Some((position, failure)) => match self.remedy(&failure) {
                Remedy::Elsewhere => {
                    self.tried.push(position);
                    self.pick(cluster, failure.fault)
                }
                Remedy::FreshConnection => Step::Attempt { position, connection: Connection::Fresh },
                Remedy::None => Step::GiveUp(failure.fault),
            },
        };
        self.attempts += 1;
        step
    }

    /// The attempt at `position` failed.
    pub fn record(&mut self, position: usize, failure: Failure) {
        self.last = Some((position, failure));
    }

    fn pick(&self, cluster: &mut Cluster, otherwise: Fault) -> Step {
        match cluster.pick(&self.tried) {
            Some(position) => Step::Attempt { position, connection: Connection::Pooled },
            None => Step::GiveUp(otherwise),
        }
    }

    fn remedy(&self, failure: &Failure) -> Remedy {
        let fault = failure.fault;
        match (fault.stage, fault.kind, failure.on) {
            (Stage::Connect, FaultKind::Refused | FaultKind::Timeout, _) => Remedy::Elsewhere,
            (Stage::Send | Stage::Wait, FaultKind::Reset, Connection::Pooled)
                if self.repeat == Repeat::Safe || fault.sent == Sent::Nothing =>
            {
                Remedy::FreshConnection
            }
            _ => Remedy::None,
        }
    }
}

enum Remedy {
    Elsewhere,
    FreshConnection,
    None,
}

const NO_ENDPOINT: Fault =
    Fault { side: Side::Proxy, stage: Stage::Pick, kind: FaultKind::NoEndpoint, sent: Sent::Nothing };

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::balance::{BalancerKind, Candidate};
    use crate::base::rng::Rng;
    use crate::board::loads::EndpointLoad;

    fn cluster(count: usize) -> Cluster {
        let candidate =
            || Candidate { weight: 1, load: Arc::new(EndpointLoad::new(1)), verdict: Arc::default() };
        Cluster::start(BalancerKind::Random, (0..count).map(|_| candidate()).collect(), Rng::new(5))
    }

    fn refused() -> Failure {
        let fault = Fault::upstream(Stage::Connect, FaultKind::Refused, Sent::Nothing);
        Failure { fault, on: Connection::Pooled }
    }

    fn reset(on: Connection) -> Failure {
        Failure { fault: Fault::upstream(Stage::Wait, FaultKind::Reset, Sent::Wholly), on }
    }

    fn first(dispatch: &mut Dispatch, cluster: &mut Cluster) -> usize {
        match dispatch.next(cluster) {
            Step::Attempt { position, connection: Connection::Pooled } => position,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refused_connection_is_tried_once_at_another_endpoint() {
        let (mut cluster, mut dispatch) = (cluster(3), Dispatch::new(Repeat::Never));
        let one = first(&mut dispatch, &mut cluster);
        dispatch.record(one, refused());
        let two = first(&mut dispatch, &mut cluster);
        assert_ne!(one, two);
        dispatch.record(two, refused());
        assert_eq!(dispatch.next(&mut cluster), Step::GiveUp(refused().fault));
    }

    #[test]
    fn a_refused_connection_to_the_only_endpoint_is_told() {
        let (mut cluster, mut dispatch) = (cluster(1), Dispatch::new(Repeat::Safe));
        let one = first(&mut dispatch, &mut cluster);
        dispatch.record(one, refused());
        assert_eq!(dispatch.next(&mut cluster), Step::GiveUp(refused().fault));
    }

    #[test]
    fn a_safe_request_on_a_dead_pooled_connection_gets_a_fresh_one_and_a_post_does_not() {
        for (repeat, on, fresh) in [
            (Repeat::Safe, Connection::Pooled, true),
            (Repeat::Safe, Connection::Fresh, false),
            (Repeat::Never, Connection::Pooled, false),
        ] {
            let (mut cluster, mut dispatch) = (cluster(2), Dispatch::new(repeat));
            let position = first(&mut dispatch, &mut cluster);
            dispatch.record(position, reset(on));
            let expected = match fresh {
                true => Step::Attempt { position, connection: Connection::Fresh },
                false => Step::GiveUp(reset(on).fault),
            };
            assert_eq!(dispatch.next(&mut cluster), expected, "{repeat:?} {on:?}");
        }
    }

    #[test]
    fn a_cluster_without_endpoints_is_told_at_once() {
        assert_eq!(Dispatch::new(Repeat::Safe).next(&mut cluster(0)), Step::GiveUp(NO_ENDPOINT));
    }
}
