//! How lanes get the newest plan: one atomic load where nothing is new.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Plan;

/// The newest plan, published by control and observed by lanes.
#[derive(Debug)]
pub struct PlanCell {
    generation: AtomicU64,
    newest: Mutex<Arc<Plan>>,
}

impl PlanCell {
    /// Starts with this plan.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self { generation: AtomicU64::new(plan.generation), newest: Mutex::new(plan) }
    }

    /// Makes `plan` the newest. Called by one thread, rarely.
    pub fn publish(&self, plan: Arc<Plan>) {
        let generation = plan.generation;
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = plan;
        self.generation.store(generation, Ordering::Release);
    }

    /// The newest plan if it is not the one that was seen: one load of a line that is written only at reload. The lock
    /// is taken only when there is something new.
    pub fn observe(&self, seen: u64) -> Option<Arc<Plan>> {
        (self.generation.load(Ordering::Acquire) != seen).then(|| self.newest())
    }

    /// The newest plan.
    pub fn newest(&self) -> Arc<Plan> {
        Arc::clone(&self.newest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
