//! What an endpoint says that it serves, and whether it is to be asked again.
//!
//! The control thread asks and keeps the lists; lanes only say that they made a connection, for whoever was away may serve
//! something else now. What lanes look at is made of the lists and published: see [`super::published`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::model::{Model, Models};

/// The list of one endpoint. It outlives plans: an endpoint that stays keeps its list through reloads.
#[derive(Debug, Default)]
pub struct Served {
    list: Mutex<Option<Models>>,
    is_wanted: AtomicBool,
}

impl Served {
    /// What it said last; none where it never did.
    pub fn list(&self) -> Option<Models> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It says this now. True where it said something else before, or nothing; what it says of when a model was made does not
    /// count by itself, for vLLM and llama.cpp tell the time at which they are asked.
    pub fn put(&self, list: Models) -> bool {
        let mut known = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.as_ref().is_none_or(|known| !is_same(known, &list));
        if is_new {
            *known = Some(list);
        }
        is_new
    }

    /// A connection to it was made.
    pub fn want(&self) {
        // Mostly somebody wants it already: then nobody's cache is disturbed.
        if !self.is_wanted.load(Ordering::Relaxed) {
            self.is_wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether one was, since this was asked last.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed) && self.is_wanted.swap(false, Ordering::Relaxed)
    }
}

fn is_same(one: &[Model], other: &[Model]) -> bool {
    fn told(Model { id, also, created: _, owned_by }: &Model) -> (&str, &[Arc<str>], &str) {
        (id, also, owned_by)
    }
    one.iter().map(told).eq(other.iter().map(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_again_is_nothing_new() {
        let made = |ids: &[&str], created: u64| -> Models {
            let model = |id: &&str| Model {
                id: Arc::from(*id),
                also: Box::default(),
                created,
                owned_by: Arc::from("o"),
            };
            ids.iter().map(model).collect()
        };
        let list = |ids: &[&str]| made(ids, 0);
        let served = Served::default();
        assert_eq!(served.list(), None);
        assert!(served.put(list(&[])) && !served.put(list(&[])));
        assert!(served.put(list(&["a"])) && !served.put(list(&["a"])) && served.put(list(&["b"])));
        assert!(!served.put(made(&["b"], 7)), "the time at which it was asked");
        assert_eq!(served.list(), Some(list(&["b"])));
        assert!(!served.is_wanted());
        served.want();
        assert!(served.is_wanted() && !served.is_wanted());
    }
}
