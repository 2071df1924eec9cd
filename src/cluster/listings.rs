//! Which endpoints of a cluster list which model.

use std::collections::HashMap;
use std::sync::Arc;

use crate::balance::Positions;
use crate::base::model::Models;

/// What the lists of a cluster's endpoints say together.
#[derive(Debug, Default)]
pub struct Listings {
    by_name: HashMap<Arc<str>, Positions>,
    /// Whether there is any list.
    is_any: bool,
}

/// Why nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlisted {
    /// There is no list yet.
    Unknown,
    /// It stands in none of those that there are.
    Nowhere,
}

impl Listings {
    /// Of the list of each endpoint, by position; none where it was not read yet.
    pub fn of(lists: &[Option<Models>]) -> Self {
        let mut listings = Self { is_any: lists.iter().any(Option::is_some), ..Self::default() };
        for (position, list) in lists.iter().enumerate() {
            for model in list.iter().flat_map(|list| list.iter()) {
                for name in std::iter::once(&model.id).chain(&model.also) {
                    let found = listings.by_name.entry(Arc::clone(name));
                    found.or_insert_with(|| Positions::none_of(lists.len())).add(position);
                }
            }
        }
        listings
    }

    /// Those that list `model`.
    pub fn who(&self, model: &str) -> Result<&Positions, Unlisted> {
        let why = if self.is_any { Unlisted::Nowhere } else { Unlisted::Unknown };
        self.by_name.get(model).ok_or(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::model::Model;

    fn list(names: &[(&str, Option<&str>)]) -> Option<Models> {
        let model = |(id, also): &(&str, Option<&str>)| Model {
            id: Arc::from(*id),
            also: also.map(Arc::from).into_iter().collect(),
            created: 0,
            owned_by: Arc::from("o"),
        };
        Some(names.iter().map(model).collect())
    }

    #[test]
    fn those_are_told_that_list_a_model_by_any_of_its_names() {
        let listings = Listings::of(&[
            list(&[("a", None), ("b", None)]),
            None,
            list(&[]),
            list(&[("b", None), ("c:latest", Some("c"))]),
        ]);
        for (model, expected) in [
            ("a", Ok(vec![0])),
            ("b", Ok(vec![0, 3])),
            ("c", Ok(vec![3])),
            ("c:latest", Ok(vec![3])),
            ("A", Err(Unlisted::Nowhere)),
            ("", Err(Unlisted::Nowhere)),
        ] {
            let who = listings.who(model).map(|who| (0..4).filter(|at| who.contain(*at)).collect());
            assert_eq!(who, expected, "{model}");
        }
    }

    #[test]
    fn while_no_list_was_read_nobody_says_that_a_model_is_not_there() {
        assert_eq!(Listings::of(&[None, None]).who("a"), Err(Unlisted::Unknown));
        assert_eq!(Listings::of(&[None, list(&[])]).who("a"), Err(Unlisted::Nowhere));
    }
}
