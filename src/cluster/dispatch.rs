//! The attempts of one exchange, as a pure decider: who is tried, and what may be tried again.
//!
//! A request is repeated only with proof that the upstream did nothing with it (RFC 9110 §9.2.2): the connection was
//! never made; or it was a pooled one that ended without a response byte and the method is safe. Inference calls are
//! POST: without proof the client is told, and decides.

use std::rc::Rc;
use std::time::Instant;

use super::{Cluster, Ticket};
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
#[derive(Debug)]
pub enum Step {
    /// Try the endpoint that is reserved.
    Attempt {
        /// The reservation.
        ticket: Ticket,
        /// On which connection.
        connection: Connection,
    },
    /// Tell the client.
    GiveUp(Fault),
}

/// How an attempt failed. An attempt that is answered ends the dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The endpoint's position in the cluster.
    pub position: usize,
    /// The fault.
    pub fault: Fault,
    /// On which kind of connection.
    pub on: Connection,
    /// What came back before it failed.
    pub heard: Heard,
}

/// What came of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// No byte.
    Nothing,
    /// Some: half a head, an interim answer. The upstream saw the request.
    Something,
}

/// The attempts of one exchange.
#[derive(Debug)]
pub struct Dispatch {
    repeat: Repeat,
    attempts: u32,
    tried: Vec<usize>,
    last: Option<Failure>,
}

impl Dispatch {
    /// No attempt made yet.
    pub fn new(repeat: Repeat) -> Self {
        Self { repeat, attempts: 0, tried: Vec::new(), last: None }
    }

    /// What to do next.
    pub fn next(&mut self, cluster: &Rc<Cluster>, now: Instant) -> Step {
        let step = match self.last {
            None => self.pick(cluster, NO_ENDPOINT, now),
            Some(Failure { fault, .. }) if self.attempts >= ATTEMPTS_MAX => Step::GiveUp(fault),
            Some(failure) => match self.remedy(&failure) {
                Remedy::Elsewhere => {
                    self.tried.push(failure.position);
                    self.pick(cluster, failure.fault, now)
                }
                Remedy::FreshConnection => {
                    Step::Attempt { ticket: cluster.again(failure.position), connection: Connection::Fresh }
                }
                Remedy::None => Step::GiveUp(failure.fault),
            },
        };
        self.attempts += 1;
        step
    }

    /// The last attempt failed.
    pub fn record(&mut self, failure: Failure) {
        self.last = Some(failure);
    }

    fn pick(&self, cluster: &Rc<Cluster>, otherwise: Fault, now: Instant) -> Step {
        match cluster.pick(&self.tried, now) {
            Some(ticket) => Step::Attempt { ticket, connection: Connection::Pooled },
            None => Step::GiveUp(otherwise),
        }
    }

    fn remedy(&self, failure: &Failure) -> Remedy {
        let fault = failure.fault;
        match (fault.stage, fault.kind, failure.on, failure.heard) {
            (Stage::Connect, FaultKind::Refused | FaultKind::Timeout, _, _) => Remedy::Elsewhere,
            (Stage::Send | Stage::Wait, FaultKind::Reset, Connection::Pooled, Heard::Nothing)
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
    use crate::base::ids::{ClusterId, Id, LaneId};
    use crate::base::rng::Rng;
    use crate::board::loads::EndpointLoad;

    fn cluster(count: usize) -> Rc<Cluster> {
        let candidate =
            || Candidate { weight: 1, load: Arc::new(EndpointLoad::new(1)), verdict: Arc::default() };
        let candidates = (0..count).map(|_| candidate()).collect();
        let ids = (ClusterId::at(0), LaneId::at(0));
        Cluster::start(ids, BalancerKind::Random, candidates, Rng::new(5))
    }

    fn refused(position: usize) -> Failure {
        let fault = Fault::upstream(Stage::Connect, FaultKind::Refused, Sent::Nothing);
        Failure { position, fault, on: Connection::Pooled, heard: Heard::Nothing }
    }

    /// The endpoint that is tried next, and on which connection; none where the client is told.
    fn next(dispatch: &mut Dispatch, cluster: &Rc<Cluster>) -> Result<(usize, Connection), Fault> {
        match dispatch.next(cluster, Instant::now()) {
            Step::Attempt { ticket, connection } => Ok((ticket.position(), connection)),
            Step::GiveUp(fault) => Err(fault),
        }
    }

    #[test]
    fn a_refused_connection_is_tried_once_at_another_endpoint() {
        let (cluster, mut dispatch) = (cluster(3), Dispatch::new(Repeat::Never));
        let (one, _) = next(&mut dispatch, &cluster).unwrap();
        dispatch.record(refused(one));
        let (two, _) = next(&mut dispatch, &cluster).unwrap();
        assert_ne!(one, two);
        dispatch.record(refused(two));
        assert_eq!(next(&mut dispatch, &cluster), Err(refused(two).fault));
    }

    #[test]
    fn a_refused_connection_to_the_only_endpoint_is_told() {
        let (cluster, mut dispatch) = (cluster(1), Dispatch::new(Repeat::Safe));
        let (one, _) = next(&mut dispatch, &cluster).unwrap();
        dispatch.record(refused(one));
        assert_eq!(next(&mut dispatch, &cluster), Err(refused(one).fault));
    }

    #[test]
    fn a_safe_request_on_a_dead_pooled_connection_gets_a_fresh_one_and_no_other_does() {
        for (repeat, on, heard, fresh) in [
            (Repeat::Safe, Connection::Pooled, Heard::Nothing, true),
            (Repeat::Safe, Connection::Pooled, Heard::Something, false),
            (Repeat::Safe, Connection::Fresh, Heard::Nothing, false),
            (Repeat::Never, Connection::Pooled, Heard::Nothing, false),
        ] {
            let (cluster, mut dispatch) = (cluster(2), Dispatch::new(repeat));
            let (position, _) = next(&mut dispatch, &cluster).unwrap();
            let fault = Fault::upstream(Stage::Wait, FaultKind::Reset, Sent::Wholly);
            dispatch.record(Failure { position, fault, on, heard });
            let expected = if fresh { Ok((position, Connection::Fresh)) } else { Err(fault) };
            assert_eq!(next(&mut dispatch, &cluster), expected, "{repeat:?} {on:?} {heard:?}");
        }
    }

    #[test]
    fn a_cluster_without_endpoints_is_told_at_once() {
        assert_eq!(next(&mut Dispatch::new(Repeat::Safe), &cluster(0)), Err(NO_ENDPOINT));
    }
}
