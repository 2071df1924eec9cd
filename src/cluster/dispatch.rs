//! The attempts of one exchange, as a pure decider: who is tried, and what may be tried again.
//!
//! A request is repeated only with proof that the upstream did nothing with it (RFC 9110 §9.2.2): the connection was
//! never made; nothing was sent; it was a pooled one that had ended before a byte of the request was read; the method
//! is idempotent, or the client said so; or the upstream refused it by its own word, where the operator lists that.
//! Inference calls are POST: without proof the client is told, and decides.

use std::rc::Rc;
use std::time::Instant;

use super::{Cluster, NoPick, Ticket};
use crate::balance::{Asked, Positions};
use crate::base::fault::{Fault, FaultKind, Sent, Side, Stage};
use crate::retry::RetryOn;

/// Whether the request may be sent a second time after the upstream may have seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Sent twice it does what it does once: an idempotent method, or an `idempotency-key`.
    Idempotent,
    /// Anything else.
    Never,
}

/// Whether the request is still at hand from its first byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtHand {
    /// It is.
    Whole,
    /// Some of its body was sent and is not kept.
    Spent,
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
        /// Why, where it is not the first.
        because: Option<RetryOn>,
    },
    /// Tell the client.
    GiveUp(Fault),
}

/// How an attempt failed.
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
    /// Whether it may be executed twice.
    pub repeat: Repeat,
    /// Whether it can be sent again.
    pub at_hand: AtHand,
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
pub struct Dispatch<'a> {
    asked: Asked<'a>,
    attempts: u32,
    /// Most attempts here, beside one on a fresh connection after a stale one.
    most: u32,
    tried: Vec<usize>,
    /// Those that are asked, where not all are: the same in all attempts.
    only: Option<Positions>,
}

impl<'a> Dispatch<'a> {
    /// The first attempt of at most `most` at what is `asked`, where the cluster's rules allow as many. Where it asks only
    /// those that list a model, `model` is the one that goes upstream.
    pub fn start(
        cluster: &Rc<Cluster>,
        (asked, model): (Asked<'a>, Option<&str>),
        most: u32,
        now: Instant,
    ) -> (Self, Step) {
        cluster.earn();
        let most = most.min(cluster.retry().attempts);
        let mut dispatch = Self { asked, attempts: 0, most, tried: Vec::new(), only: None };
        let step = match cluster.who_lists(model) {
            Ok(only) => {
                dispatch.only = only;
                dispatch.begin(cluster, now)
            }
            Err(why) => Step::GiveUp(nobody(why)),
        };
        (dispatch, step)
    }

    /// The first attempt once more, for there was no place, and now there may be one.
    pub fn begin(&mut self, cluster: &Rc<Cluster>, now: Instant) -> Step {
        self.pick(cluster, None, now).unwrap_or_else(|why| Step::GiveUp(nobody(why)))
    }

    /// What to do after an attempt that failed.
    pub fn failed(&mut self, cluster: &Rc<Cluster>, failure: &Failure, now: Instant) -> Step {
        let step = match remedy(failure) {
            Some(remedy) if self.may(cluster, remedy) => self.apply(remedy, failure.position, cluster, now),
            _ => None,
        };
        step.unwrap_or(Step::GiveUp(failure.fault))
    }

    /// What to do with an answer of this status: another attempt instead of it, none where it goes to the client.
    pub fn answered(
        &mut self,
        cluster: &Rc<Cluster>,
        (position, status): (usize, u16),
        at_hand: AtHand,
        now: Instant,
    ) -> Option<Step> {
        let remedy = (RetryOn::of_status(status)?, Remedy::Elsewhere);
        let may = at_hand == AtHand::Whole && self.may(cluster, remedy);
        if may { self.apply(remedy, position, cluster, now) } else { None }
    }

    fn may(&self, cluster: &Cluster, (reason, remedy): (RetryOn, Remedy)) -> bool {
        let rules = cluster.retry();
        let is_left = match remedy {
            Remedy::Elsewhere => self.attempts < self.most,
            // There is one at most: the connection is a fresh one then.
            Remedy::FreshConnection => rules.attempts > 1,
        };
        is_left && rules.on.contains(&reason)
    }

    fn apply(
        &mut self,
        (reason, remedy): (RetryOn, Remedy),
        position: usize,
        cluster: &Rc<Cluster>,
        now: Instant,
    ) -> Option<Step> {
        match remedy {
            Remedy::Elsewhere => {
                self.tried.push(position);
                let step = self.pick(cluster, Some(reason), now).ok()?;
                // Asked for last: a repeat that is not made costs nothing. The reservation goes with the step.
                cluster.spend(now).then_some(step)
            }
            Remedy::FreshConnection => {
                let ticket = cluster.again(position, &self.asked, now)?;
                self.attempts += 1;
                Some(Step::Attempt { ticket, connection: Connection::Fresh, because: Some(reason) })
            }
        }
    }

    fn pick(
        &mut self,
        cluster: &Rc<Cluster>,
        because: Option<RetryOn>,
        now: Instant,
    ) -> Result<Step, NoPick> {
        let ticket = cluster.pick(&self.asked, (&self.tried, self.only.as_ref()), now)?;
        self.attempts += 1;
        Ok(Step::Attempt { ticket, connection: Connection::Pooled, because })
    }
}

/// What may be done after a failure, and for which reason; none without proof.
fn remedy(failure: &Failure) -> Option<(RetryOn, Remedy)> {
    let Failure { fault, on, heard, repeat, at_hand, .. } = *failure;
    if at_hand == AtHand::Spent {
        return None;
    }
    let is_harmless = repeat == Repeat::Idempotent || fault.sent == Sent::Nothing;
    match (fault.stage, fault.kind, on, heard) {
        (Stage::Connect, FaultKind::Refused | FaultKind::Untrusted | FaultKind::Timeout, _, _) => {
            Some((RetryOn::Connect, Remedy::Elsewhere))
        }
        (Stage::Send | Stage::Wait, FaultKind::Reset, Connection::Pooled, Heard::Nothing) if is_harmless => {
            Some((RetryOn::Stale, Remedy::FreshConnection))
        }
        // It was accepted and closed before it took a byte: as good as refused.
        (Stage::Send | Stage::Wait, FaultKind::Reset, Connection::Fresh, Heard::Nothing)
            if fault.sent == Sent::Nothing =>
        {
            Some((RetryOn::Connect, Remedy::Elsewhere))
        }
        _ => None,
    }
}

#[derive(Debug, Clone, Copy)]
enum Remedy {
    Elsewhere,
    FreshConnection,
}

fn nobody(why: NoPick) -> Fault {
    let kind = match why {
        NoPick::NoEndpoint => FaultKind::NoEndpoint,
        NoPick::Full => FaultKind::QueueFull,
        NoPick::NotListed => FaultKind::NotListed,
    };
    Fault { side: Side::Proxy, stage: Stage::Pick, kind, sent: Sent::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Balancing;
    use crate::base::model::Model;
    use crate::cluster::listings::Listings;
    use crate::cluster::testing::{endpoints, narrowing, rules, with_rules};
    use crate::retry::Rules;

    fn cluster_with(count: usize, retry: Rules) -> Rc<Cluster> {
        let rules = crate::cluster::Rules { retry, ..rules(Balancing::Random) };
        with_rules(&endpoints(count, None), rules, 5)
    }

    fn cluster(count: usize) -> Rc<Cluster> {
        crate::cluster::testing::cluster(&endpoints(count, None), Balancing::Random)
    }

    fn refused(position: usize) -> Failure {
        Failure {
            position,
            fault: Fault::upstream(Stage::Connect, FaultKind::Refused, Sent::Nothing),
            on: Connection::Fresh,
            heard: Heard::Nothing,
            repeat: Repeat::Never,
            at_hand: AtHand::Whole,
        }
    }

    /// The endpoint that is tried, and on which connection; none where the client is told.
    fn of(step: Step) -> Result<(usize, Connection), Fault> {
        match step {
            Step::Attempt { ticket, connection, .. } => Ok((ticket.position(), connection)),
            Step::GiveUp(fault) => Err(fault),
        }
    }

    fn start(cluster: &Rc<Cluster>) -> (Dispatch<'static>, usize) {
        let (dispatch, step) = Dispatch::start(cluster, (Asked::of_bytes(1), None), u32::MAX, Instant::now());
        (dispatch, of(step).unwrap().0)
    }

    #[test]
    fn a_refused_connection_is_tried_once_at_another_endpoint() {
        let (cluster, now) = (cluster(3), Instant::now());
        let (mut dispatch, one) = start(&cluster);
        let (two, _) = of(dispatch.failed(&cluster, &refused(one), now)).unwrap();
        assert_ne!(one, two);
        assert_eq!(of(dispatch.failed(&cluster, &refused(two), now)), Err(refused(two).fault));
    }

    #[test]
    fn a_refused_connection_to_the_only_endpoint_is_told() {
        let cluster = cluster(1);
        let (mut dispatch, one) = start(&cluster);
        assert_eq!(of(dispatch.failed(&cluster, &refused(one), Instant::now())), Err(refused(one).fault));
    }

    #[test]
    fn what_broke_before_an_answer_is_repeated_with_proof_only() {
        use {AtHand::*, Connection::*, Heard::*, Repeat::*};
        for (repeat, sent, on, heard, at_hand, again) in [
            // (what it is), (how it failed) -> whether it is sent again
            (Idempotent, Sent::Wholly, Pooled, Nothing, Whole, Some(Fresh)),
            (Idempotent, Sent::Wholly, Pooled, Something, Whole, None),
            (Idempotent, Sent::Wholly, Pooled, Nothing, Spent, None),
            (Idempotent, Sent::Wholly, Fresh, Nothing, Whole, None),
            (Never, Sent::Wholly, Pooled, Nothing, Whole, None),
            (Never, Sent::Partly, Pooled, Nothing, Whole, None),
            (Never, Sent::Nothing, Pooled, Nothing, Whole, Some(Fresh)),
            (Never, Sent::Nothing, Pooled, Nothing, Spent, None),
            (Never, Sent::Nothing, Fresh, Nothing, Whole, Some(Pooled)),
        ] {
            let cluster = cluster(2);
            let (mut dispatch, position) = start(&cluster);
            let fault = Fault::upstream(Stage::Wait, FaultKind::Reset, sent);
            let failure = Failure { position, fault, on, heard, repeat, at_hand };
            let expected = again.map(|on| (if on == Fresh { position } else { 1 - position }, on));
            let step = of(dispatch.failed(&cluster, &failure, Instant::now()));
            assert_eq!(step, expected.ok_or(fault), "{failure:?}");
        }
    }

    #[test]
    fn what_is_not_listed_is_not_tried_again() {
        let cluster = cluster_with(2, Rules { attempts: 5, on: vec![RetryOn::Unavailable], share: 0.1 });
        let (mut dispatch, one) = start(&cluster);
        let now = Instant::now();
        assert_eq!(of(dispatch.failed(&cluster, &refused(one), now)), Err(refused(one).fault));
        assert!(dispatch.answered(&cluster, (one, 429), AtHand::Whole, now).is_none());
        assert!(dispatch.answered(&cluster, (one, 503), AtHand::Spent, now).is_none());
        let step = dispatch.answered(&cluster, (one, 503), AtHand::Whole, now).unwrap();
        let (two, _) = of(step).unwrap();
        assert_ne!(one, two);
        assert!(dispatch.answered(&cluster, (two, 503), AtHand::Whole, now).is_none(), "none is left");
    }

    #[test]
    fn repeats_stay_within_the_budget_and_a_stale_connection_is_not_charged() {
        let cluster = cluster(2);
        let now = Instant::now();
        let mut again = 0;
        for _ in 0..1000 {
            let (mut dispatch, one) = start(&cluster);
            again += u32::from(of(dispatch.failed(&cluster, &refused(one), now)).is_ok());
        }
        assert!((105..=110).contains(&again), "{again}");
        let (mut dispatch, position) = start(&cluster);
        let fault = Fault::upstream(Stage::Wait, FaultKind::Reset, Sent::Nothing);
        let stale = Failure { fault, on: Connection::Pooled, ..refused(position) };
        assert!(of(dispatch.failed(&cluster, &stale, now)).is_ok());
    }

    #[test]
    fn all_attempts_stay_among_those_that_list_the_model() {
        let now = Instant::now();
        let list = |names: &[&str]| {
            let model = |id: &&str| Model {
                id: (*id).into(),
                also: Box::default(),
                created: 0,
                owned_by: "o".into(),
            };
            Some(names.iter().map(model).collect())
        };
        let listings = Listings::of(&[list(&["a"]), list(&["b"]), list(&["a"]), None]);
        let cluster = narrowing(&endpoints(4, None), listings);
        for _ in 0..50 {
            let (mut dispatch, step) =
                Dispatch::start(&cluster, (Asked::of_bytes(1), Some("a")), u32::MAX, now);
            let (one, _) = of(step).unwrap();
            let (two, _) =
                of(dispatch.failed(&cluster, &refused(one), now)).unwrap_or((2 - one, Connection::Pooled));
            assert_eq!([one, two].iter().sum::<usize>(), 2, "{one} {two}");
            let (mut dispatch, step) =
                Dispatch::start(&cluster, (Asked::of_bytes(1), Some("b")), u32::MAX, now);
            assert_eq!(of(step), Ok((1, Connection::Pooled)));
            assert_eq!(of(dispatch.failed(&cluster, &refused(1), now)), Err(refused(1).fault));
        }
        assert_eq!(
            of(Dispatch::start(&cluster, (Asked::of_bytes(1), Some("c")), 1, now).1),
            Err(nobody(NoPick::NotListed))
        );
        let all: std::collections::BTreeSet<_> = (0..99)
            .map(|_| of(Dispatch::start(&cluster, (Asked::of_bytes(1), None), 1, now).1).unwrap().0)
            .collect();
        assert_eq!(all.len(), 4, "a request without a model is not narrowed");
    }

    #[test]
    fn a_cluster_without_endpoints_is_told_at_once() {
        assert_eq!(
            of(Dispatch::start(&cluster(0), (Asked::of_bytes(1), None), u32::MAX, Instant::now()).1),
            Err(nobody(NoPick::NoEndpoint))
        );
    }
}
