//! When which endpoint is asked what it serves: each in its time, and soon again where one was away; a decider.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::ids::EndpointId;
use crate::base::limits::{LOOKUPS_MAX, MODELS_PAUSE, MODELS_PERIOD};
use crate::board::served::Served;
use crate::lane::flag::Flag;
use crate::plan::Plan;

/// Who is asked when, under the plan in force.
#[derive(Default)]
pub(super) struct Lookups {
    /// The plan that was looked at last, by its generation, and those of it that are asked.
    followed: Cell<u64>,
    due: RefCell<Vec<Due>>,
    under_way: Cell<usize>,
    /// Another plan may be in force.
    pub(super) changed: Flag,
}

/// One endpoint, and when it is asked next.
struct Due {
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

impl Lookups {
    /// Asks those of this plan from now on; those that stay keep their time. Whether there are any.
    pub(super) fn follow(&self, plan: &Plan, now: Instant) -> bool {
        if self.followed.replace(plan.generation) == plan.generation {
            return !self.due.borrow().is_empty();
        }
        let mut before = self.due.take();
        let asked = plan.endpoints.pairs().filter(|(_, endpoint)| plan.clusters[endpoint.cluster].is_listed);
        let due = asked.map(|(id, endpoint)| {
            match before.iter().position(|due| Arc::ptr_eq(&due.served, &endpoint.served)) {
                Some(position) => Due { id, ..before.swap_remove(position) },
                None => Due::new(id, &endpoint.served, now),
            }
        });
        let due: Vec<_> = due.collect();
        let is_any = !due.is_empty();
        self.due.replace(due);
        is_any
    }

    /// The next one that is to be asked now, if another may be.
    pub(super) fn next(&self, now: Instant) -> Option<(EndpointId, Arc<Served>)> {
        if self.under_way.get() >= LOOKUPS_MAX {
            return None;
        }
        let mut all = self.due.borrow_mut();
        let due = all.iter_mut().find(|due| due.is_due(now))?;
        due.begin(now);
        self.under_way.set(self.under_way.get() + 1);
        Some((due.id, Arc::clone(&due.served)))
    }

    /// It was asked, and answered or not; whether that is to be told.
    pub(super) fn settle(&self, served: &Arc<Served>, is_answered: bool, now: Instant) -> bool {
        self.under_way.set(self.under_way.get() - 1);
        let mut all = self.due.borrow_mut();
        let due = all.iter_mut().find(|due| Arc::ptr_eq(&due.served, served));
        due.is_some_and(|due| due.end(is_answered, now))
    }
}

impl Due {
    fn new(id: EndpointId, served: &Arc<Served>, now: Instant) -> Self {
        Self {
            id,
            served: Arc::clone(served),
            at: now,
            asked: None,
            pause: MODELS_PAUSE,
            is_under_way: false,
            is_failing: false,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        // Asked only where it may be: what is wanted earlier is wanted still.
        let may_be = !self.is_under_way && self.asked.is_none_or(|asked| now >= asked + MODELS_PAUSE);
        may_be && (now >= self.at || self.served.is_wanted())
    }

    fn begin(&mut self, now: Instant) {
        // Whatever was wanted until now is asked now.
        let _ = self.served.is_wanted();
        (self.asked, self.is_under_way) = (Some(now), true);
    }

    /// True where it fails now, and did not before.
    fn end(&mut self, is_answered: bool, now: Instant) -> bool {
        self.is_under_way = false;
        (self.at, self.pause) = match is_answered {
            true => (now + MODELS_PERIOD, MODELS_PAUSE),
            false => (now + self.pause, (2 * self.pause).min(MODELS_PERIOD)),
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
        let mut due = Due::new(EndpointId::at(0), &served, start);
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
}
