//! What happened to endpoints and to the plan, as marks on the time line.

use std::collections::{HashMap, VecDeque};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::base::limits::MARKS_MAX;
use crate::base::say;
use crate::base::time::whole_micros;
use crate::plan::Plan;

/// The last marks, and what things were like when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marks: VecDeque<Value>,
    /// How many there were ever.
    count: u64,
    generation: u64,
    /// The state of each endpoint, by cluster and URL.
    states: HashMap<(String, String), &'static str>,
}

impl Marks {
    /// Looks what changed.
    pub(super) fn look(&mut self, plan: &Plan, now: Instant, wall: SystemTime) {
        if self.generation != 0 && self.generation != plan.generation {
            self.mark(wall, json!({ "what": "reloaded", "generation": plan.generation }));
        }
        self.generation = plan.generation;
        let mut before = std::mem::take(&mut self.states);
        for endpoint in plan.endpoints.iter() {
            let place = (plan.clusters[endpoint.cluster].name.clone(), endpoint.url.clone());
            let state = endpoint.verdict().state(now);
            // One that is new is no news while all is well with it.
            let known = before.remove(&place).unwrap_or("up");
            if known != state {
                let told = format_args!("{} of cluster {} is {state}", place.1, place.0);
                match state {
                    "up" | "trial" => say::info(told),
                    _ => say::warn(told),
                }
                self.mark(wall, json!({ "what": state, "cluster": place.0, "endpoint": place.1 }));
            }
            self.states.insert(place, state);
        }
    }

    fn mark(&mut self, wall: SystemTime, mut mark: Value) {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        mark["at_s"] = json!(whole_micros(since) as f64 / 1e6);
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
        self.count += 1;
    }

    /// Those behind the first `seen`, and how many there were ever.
    pub(super) fn behind(&self, seen: u64) -> (Vec<&Value>, u64) {
        let new = (self.count - seen.min(self.count)) as usize;
        (self.marks.iter().skip(self.marks.len().saturating_sub(new)).collect(), self.count)
    }
}
