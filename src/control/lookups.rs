//! When which endpoint is asked what it serves, and how it fares: each in its time, and soon again where one was away; a decider.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::ids::EndpointId;
use crate::base::limits::{LOOKUPS_MAX, MODELS_PAUSE, MODELS_PERIOD, SIGNAL_PAUSE_MAX, SIGNAL_PERIOD};
use crate::board::served::Served;
use crate::lane::flag::Flag;
use crate::plan::{ClusterPlan, Plan};

/// What an endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Which models it serves.
    Models,
    /// How it fares.
    Signals,
}

impl What {
    const ALL: [Self; 2] = [Self::Models, Self::Signals];

    /// What is read, in a word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Signals => "metrics",
        }
    }

    /// How often, and how long the pause after a failure is at first and at last.
    fn pauses(self) -> (Duration, [Duration; 2]) {
        match self {
            Self::Models => (MODELS_PERIOD, [MODELS_PAUSE, MODELS_PERIOD]),
            Self::Signals => (SIGNAL_PERIOD, [SIGNAL_PERIOD, SIGNAL_PAUSE_MAX]),
        }
    }

    fn is_asked(self, cluster: &ClusterPlan) -> bool {
        match self {
            Self::Models => cluster.is_listed,
            Self::Signals => cluster.gauges().is_some(),
        }
    }
}

/// Who is asked when, under the plan in force.
#[derive(Default)]
pub(super) struct Lookups {
    /// The plan that was looked at last, by its generation, and those of it that are asked.
    followed: Cell<u64>,
    due: RefCell<Vec<Due>>,
    /// Of each kind: what one hangs in is not in the way of the other.
    under_way: [Cell<usize>; What::ALL.len()],
    /// Another plan may be in force.
    pub(super) changed: Flag,
}

/// Something that one endpoint is asked, and when.
struct Due {
    what: What,
    id: EndpointId,
    served: Arc<Served>,
    at: Instant,
    /// When it was asked last.
    asked: Option<Instant>,
    /// How long it is left alone after the next failure.
    pause: Duration,
    is_under_way: bool,
    /// It did not answer last time, which was told.
    is_failing: bool,
}

/// What is asked now.
pub(super) struct Lookup {
    pub(super) what: What,
    pub(super) id: EndpointId,
    /// Whom it is known by through reloads.
    pub(super) served: Arc<Served>,
}

impl Lookups {
    /// Asks those of this plan from now on; those that stay keep their time. Whether there are any.
    pub(super) fn follow(&self, plan: &Plan, now: Instant) -> bool {
        if self.followed.replace(plan.generation) == plan.generation {
            return !self.due.borrow().is_empty();
        }
        let mut before = self.due.take();
        let all = plan.endpoints.pairs().flat_map(|pair| What::ALL.map(|what| (what, pair)));
        let asked = all.filter(|(what, (_, known))| what.is_asked(&plan.clusters[known.cluster]));
        let due = asked.map(|(what, (id, endpoint))| {
            match before.iter().position(|due| due.is_it(what, &endpoint.served)) {
                Some(position) => Due { id, ..before.swap_remove(position) },
                None => Due::new(what, id, &endpoint.served, now),
            }
        });
        let due: Vec<_> = due.collect();
        let is_any = !due.is_empty();
        self.due.replace(due);
        is_any
    }

    /// The next that is to be asked now, if another may be.
    pub(super) fn next(&self, now: Instant) -> Option<Lookup> {
        let mut all = self.due.borrow_mut();
        let has_room = |what: What| self.under_way[what as usize].get() < LOOKUPS_MAX;
        let due = all.iter_mut().find(|due| has_room(due.what) && due.is_due(now))?;
        due.begin(now);
        let under_way = &self.under_way[due.what as usize];
        under_way.set(under_way.get() + 1);
        Some(Lookup { what: due.what, id: due.id, served: Arc::clone(&due.served) })
    }

    /// It was asked, and answered or not; whether that is to be told.
    pub(super) fn settle(&self, lookup: &Lookup, is_answered: bool, now: Instant) -> bool {
        let under_way = &self.under_way[lookup.what as usize];
        under_way.set(under_way.get() - 1);
        let mut all = self.due.borrow_mut();
        let due = all.iter_mut().find(|due| due.is_it(lookup.what, &lookup.served));
        due.is_some_and(|due| due.end(is_answered, now))
    }
}

impl Due {
    fn new(what: What, id: EndpointId, served: &Arc<Served>, now: Instant) -> Self {
        let (_, [pause, _]) = what.pauses();
        Self {
            what,
            id,
            served: Arc::clone(served),
            at: now,
            asked: None,
            pause,
            is_under_way: false,
            is_failing: false,
        }
    }

    fn is_it(&self, what: What, served: &Arc<Served>) -> bool {
        self.what == what && Arc::ptr_eq(&self.served, served)
    }

    fn is_due(&self, now: Instant) -> bool {
        // Asked only where it may be: what is wanted earlier is wanted still.
        let may_be = |pause| self.asked.is_none_or(|asked| now >= asked + pause);
        match self.what {
            _ if self.is_under_way => false,
            What::Models if may_be(MODELS_PAUSE) && self.served.is_wanted() => true,
            What::Models | What::Signals => now >= self.at,
        }
    }

    fn begin(&mut self, now: Instant) {
        if self.what == What::Models {
            // Whatever was wanted until now is asked now.
            let _ = self.served.is_wanted();
        }
        (self.asked, self.is_under_way) = (Some(now), true);
    }

    /// True where it fails now, and did not before.
    fn end(&mut self, is_answered: bool, now: Instant) -> bool {
        self.is_under_way = false;
        let (period, [first, most]) = self.what.pauses();
        (self.at, self.pause) = match is_answered {
            // From when it was asked on: how long it took does not make it rarer.
            true => (self.asked.unwrap_or(now) + period, first),
            false => (now + self.pause, (2 * self.pause).min(most)),
        };
        !std::mem::replace(&mut self.is_failing, !is_answered) && !is_answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Id;

    #[test]
    fn an_endpoint_is_asked_in_its_time_and_soon_where_it_was_away() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let served = Arc::new(Served::default());
        let mut due = Due::new(What::Models, EndpointId::at(0), &served, start);
        assert!(due.is_due(start));
        due.begin(start);
        assert!(!due.is_due(after(100)), "one at a time");
        // It fails: after 1, 2, 4, 8 and then 10 seconds each, told once.
        let mut now = 0;
        for (at, pause) in [1, 2, 4, 8, 10, 10].into_iter().enumerate() {
            assert_eq!(due.end(false, after(now)), at == 0);
            assert!(!due.is_due(after(now + pause - 1)) && due.is_due(after(now + pause)), "{pause}");
            now += pause;
            due.begin(after(now));
        }
        assert!(!due.end(true, after(now)));
        assert!(!due.is_due(after(now + 9)) && due.is_due(after(now + 10)));
        // A connection was made to it.
        served.want();
        assert!(!due.is_due(start), "it was asked less than a second ago");
        assert!(due.is_due(after(now + 1)), "what was wanted is wanted still");
        due.begin(after(now + 1));
        assert!(due.end(false, after(now + 1)), "it fails anew");
        assert!(due.is_due(after(now + 2)), "and has the first pause again");
    }

    #[test]
    fn signals_are_read_each_second_and_rarely_where_there_are_none() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let served = Arc::new(Served::default());
        let mut due = Due::new(What::Signals, EndpointId::at(0), &served, start);
        due.begin(start);
        assert!(!due.end(true, after(300)));
        served.want();
        assert!(!due.is_due(after(999)) && due.is_due(after(1000)), "what is wanted is a list");
        let mut now = 1000;
        for pause in [1000, 2000, 4000, 5000, 5000] {
            due.begin(after(now));
            due.end(false, after(now));
            assert!(!due.is_due(after(now + pause - 1)) && due.is_due(after(now + pause)), "{pause}");
            now += pause;
        }
        due.begin(after(now));
        assert!(!due.end(true, after(now)) && due.is_due(after(now + 1000)), "it is back");
    }
}
