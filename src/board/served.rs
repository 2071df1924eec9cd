//! What an endpoint says that it serves, and whether it is to be asked again.
//!
//! The control thread asks and keeps the lists; lanes only say that they made a connection, for whoever was away may serve
//! something else now. What lanes look at is made of the lists and published: see [`super::published`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::base::model::Models;

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

    /// It says this now. True where it said something else before, or nothing.
    pub fn put(&self, list: Models) -> bool {
        let mut known = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.as_ref() != Some(&list);
        *known = Some(list);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::model::Model;

    #[test]
    fn what_is_said_again_is_nothing_new() {
        let list = |ids: &[&str]| -> Models {
            let model =
                |id: &&str| Model { id: Arc::from(*id), also: None, created: 0, owned_by: Arc::from("o") };
            ids.iter().map(model).collect()
        };
        let served = Served::default();
        assert_eq!(served.list(), None);
        assert!(served.put(list(&[])) && !served.put(list(&[])));
        assert!(served.put(list(&["a"])) && !served.put(list(&["a"])) && served.put(list(&["b"])));
        assert!(!served.is_wanted());
        served.want();
        assert!(served.is_wanted() && !served.is_wanted());
    }
}
