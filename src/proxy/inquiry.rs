//! What head and body of a request decide, at the earliest byte behind which nothing can change it: pure, and the same
//! for the data path and `corelane explain`.

use super::decide::{self, Found};
use super::reply;
use crate::base::ids::RouteId;
use crate::codec::content::{BodyScanner, BodySeen, Kind, kind};
use crate::codec::framing::Framing;
use crate::codec::head::RequestHead;
use crate::codec::reply::ErrorReply;
use crate::codec::unreadable;
use crate::plan::Plan;
use crate::route::body::BodyRules;

/// What is known so far.
pub(super) enum Asked {
    /// The body decides; more of it is needed.
    NeedsMore,
    /// The route. Further bytes are still counted against its limit.
    Decided(RouteId),
    /// The gateway refuses it.
    Refused(ErrorReply),
}

enum State {
    /// The body is scanned for what the rules ask.
    Asking(BodyRules, Box<BodyScanner>),
    Decided(RouteId),
    /// It was refused; what comes now does not matter.
    Over,
}

/// The questions that a request answers.
pub(super) struct Inquiry<'p> {
    plan: &'p Plan,
    head: &'p RequestHead,
    state: State,
    /// Longest body that is still possible, and bytes of it so far.
    max: u64,
    seen: u64,
}

impl<'p> Inquiry<'p> {
    /// Asks the head.
    pub(super) fn new(plan: &'p Plan, head: &'p RequestHead) -> (Self, Asked) {
        let mut inquiry = Self { plan, head, state: State::Over, max: 0, seen: 0 };
        let asked = match decide::by_head(plan, head) {
            Err(refusal) => inquiry.refuse(refusal),
            Ok(Found::Route(route)) => inquiry.decide(route),
            Ok(Found::NeedBody(rules)) if kind(head) != Kind::Plain => {
                inquiry.conclude(rules, BodySeen::Nothing)
            }
            Ok(Found::NeedBody(rules)) => {
                inquiry.max = decide::body_max(plan, rules, head);
                let scanner = Box::new(BodyScanner::new(head, plan.table.wanted()));
                inquiry.state = State::Asking(rules, scanner);
                inquiry.check_length().unwrap_or(Asked::NeedsMore)
            }
        };
        (inquiry, asked)
    }

    /// Longest body that is still possible.
    pub(super) fn body_max(&self) -> u64 {
        self.max
    }

    /// Bytes of the body that may be needed for a decision; none where all of them may.
    pub(super) fn needs(&self) -> Option<u64> {
        match &self.state {
            State::Asking(_, scanner) => scanner.needs(),
            State::Decided(_) | State::Over => None,
        }
    }

    /// Asks the next bytes of the body.
    pub(super) fn feed(&mut self, data: &[u8]) -> Asked {
        self.seen += data.len() as u64;
        if self.seen > self.max {
            return self.refuse(reply::body_too_large());
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asking(rules, mut scanner) => match scanner.feed(data) {
                Ok(()) => match scanner.settled() {
                    Some(Ok(seen)) => self.conclude(rules, seen),
                    Some(Err(fault)) => self.refuse(unreadable::of_json(fault, self.plan.table.wanted())),
                    None => {
                        self.state = State::Asking(rules, scanner);
                        Asked::NeedsMore
                    }
                },
                Err(fault) => self.refuse(unreadable::of_json(fault, self.plan.table.wanted())),
            },
            State::Decided(route) => {
                self.state = State::Decided(route);
                Asked::Decided(route)
            }
            State::Over => Asked::NeedsMore,
        }
    }

    /// The body ended.
    pub(super) fn end(mut self) -> Asked {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asking(rules, mut scanner) => match scanner.finish() {
                Ok(seen) => self.conclude(rules, seen),
                Err(fault) => self.refuse(unreadable::of_json(fault, self.plan.table.wanted())),
            },
            State::Decided(route) => Asked::Decided(route),
            State::Over => Asked::NeedsMore,
        }
    }

    fn conclude(&mut self, rules: BodyRules, seen: BodySeen<'_>) -> Asked {
        match decide::by_body(self.plan, rules, self.head, seen) {
            Ok(route) => self.decide(route),
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn decide(&mut self, route: RouteId) -> Asked {
        self.state = State::Decided(route);
        self.max = self.plan.routes[route].body_max;
        self.check_length().unwrap_or(Asked::Decided(route))
    }

    /// What is too long by its own word, or by what came of it.
    fn check_length(&mut self) -> Option<Asked> {
        let length = match self.head.framing() {
            Framing::Length(length) => length,
            Framing::Empty | Framing::Chunked | Framing::UntilClose => self.seen,
        };
        (length > self.max).then(|| self.refuse(reply::body_too_large()))
    }

    fn refuse(&mut self, refusal: ErrorReply) -> Asked {
        self.state = State::Over;
        Asked::Refused(refusal)
    }
}
