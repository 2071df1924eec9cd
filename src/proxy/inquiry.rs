//! What head and body of a request decide, at the earliest byte behind which nothing can change it: pure, and the same
//! for the data path and `corelane explain`.

use super::decide::{self, Found};
use super::reply;
use crate::base::ids::RouteId;
use crate::codec::content::{BodyScanner, BodySeen, Kind, Sight, kind};
use crate::codec::framing::Framing;
use crate::codec::head::RequestHead;
use crate::codec::json::{JsonFault, Member};
use crate::codec::reply::ErrorReply;
use crate::codec::unreadable;
use crate::plan::Plan;
use crate::route::body::BodyRules;

/// What is known so far.
pub(super) enum Asked {
    /// The body decides; more of it is needed.
    NeedsMore,
    /// The route, if the rest of the body is sound. Further bytes are still looked at, and counted against its limit.
    Decided(RouteId),
    /// The gateway refuses it.
    Refused(ErrorReply),
}

enum State {
    /// The body is scanned for what the rules ask.
    Asking(BodyRules, Box<BodyScanner>),
    /// It is scanned on: what is found wrong with it later breaks it off.
    Decided(RouteId, Option<Box<BodyScanner>>),
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
    /// The model that its body asks for, by its place among those that are named.
    model: Option<u32>,
}

/// The model that members tell of, where a condition asks for it.
fn model_of(plan: &Plan, members: &[Member]) -> Option<u32> {
    match members.get(plan.table.wanted().position("model")?)? {
        Member::Scalar(name) => plan.model_at(name),
        Member::Absent | Member::Null | Member::Other => None,
    }
}

impl<'p> Inquiry<'p> {
    /// Asks the head.
    pub(super) fn new(plan: &'p Plan, head: &'p RequestHead) -> (Self, Asked) {
        let mut inquiry = Self { plan, head, state: State::Over, max: 0, seen: 0, model: None };
        let asked = match decide::by_head(plan, head) {
            Err(refusal) => inquiry.refuse(refusal),
            Ok(Found::Route(route)) => inquiry.decide(route, None),
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

    /// The model that its body asks for, by its place among those that are named, as far as that was read.
    pub(super) fn model(&self) -> Option<u32> {
        self.model
    }

    /// Bytes of the body that may be needed for a decision; none where all of them may.
    pub(super) fn needs(&self) -> Option<u64> {
        match &self.state {
            State::Asking(_, scanner) => scanner.needs(),
            State::Decided(..) | State::Over => None,
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
                Ok(()) => self.look(rules, scanner),
                Err(fault) => self.unreadable(fault),
            },
            State::Decided(route, scanner) => self.go_on(route, scanner, |scanner| scanner.feed(data)),
            State::Over => Asked::NeedsMore,
        }
    }

    /// The body ended.
    pub(super) fn end(&mut self) -> Asked {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asking(rules, mut scanner) => match scanner.finish() {
                Ok(seen) => self.conclude(rules, seen),
                Err(fault) => self.unreadable(fault),
            },
            State::Decided(route, scanner) => {
                self.go_on(route, scanner, |scanner| scanner.finish().map(|_| ()))
            }
            State::Over => Asked::NeedsMore,
        }
    }

    /// Who goes on looking at the body, where that decided before its end.
    pub(super) fn into_scanner(self) -> Option<Box<BodyScanner>> {
        match self.state {
            State::Decided(_, scanner) => scanner,
            State::Asking(..) | State::Over => None,
        }
    }

    /// Decides, if no further byte can change it.
    fn look(&mut self, rules: BodyRules, mut scanner: Box<BodyScanner>) -> Asked {
        match scanner.settled() {
            Some(Ok(seen)) => return self.conclude(rules, seen),
            Some(Err(fault)) => return self.unreadable(fault),
            None => {}
        }
        let foreseen = match scanner.sight() {
            Sight::Nothing => None,
            Sight::Members(members, known) => {
                let foreseen = self.plan.table.foresee(rules, self.head, (members, known));
                if foreseen.is_some() {
                    self.model = model_of(self.plan, members);
                }
                foreseen
            }
            Sight::Foreign => return self.conclude(rules, BodySeen::Nothing),
        };
        match foreseen {
            Some(route) => self.decide(route, Some(scanner)),
            None => {
                self.state = State::Asking(rules, scanner);
                Asked::NeedsMore
            }
        }
    }

    /// Looks on at a body that has decided.
    fn go_on(
        &mut self,
        route: RouteId,
        mut scanner: Option<Box<BodyScanner>>,
        look: impl FnOnce(&mut BodyScanner) -> Result<(), JsonFault>,
    ) -> Asked {
        match scanner.as_mut().map_or(Ok(()), |scanner| look(scanner)) {
            Ok(()) => {
                self.state = State::Decided(route, scanner);
                Asked::Decided(route)
            }
            Err(fault) => self.unreadable(fault),
        }
    }

    fn conclude(&mut self, rules: BodyRules, seen: BodySeen<'_>) -> Asked {
        if let BodySeen::Members(members) = seen {
            self.model = model_of(self.plan, members);
        }
        match decide::by_body(self.plan, rules, self.head, seen) {
            Ok(route) => self.decide(route, None),
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn decide(&mut self, route: RouteId, scanner: Option<Box<BodyScanner>>) -> Asked {
        self.state = State::Decided(route, scanner);
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

    fn unreadable(&mut self, fault: JsonFault) -> Asked {
        self.refuse(unreadable::of_json(fault, self.plan.table.wanted()))
    }

    fn refuse(&mut self, refusal: ErrorReply) -> Asked {
        self.state = State::Over;
        Asked::Refused(refusal)
    }
}
