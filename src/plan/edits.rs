//! What routes change in their requests, made ready: members of bodies, and fields.

use std::sync::Arc;

use crate::base::problem::Problem;
use crate::codec::edit::{EditRules, Edits};
use crate::codec::json::{BodyEdits, Edit};
use crate::config::{NamedRoute, RouteConfig};

/// What a route changes in bodies, if anything.
pub(super) fn of_body(route: &NamedRoute, problems: &mut Vec<Problem>) -> Option<Arc<BodyEdits>> {
    let RouteConfig { set, default, clamp, remove, .. } = &route.settings;
    let mut all: Vec<(&str, Edit)> = Vec::new();
    for (path, said) in set.iter().flat_map(|set| &set.value.body.0) {
        all.push((&path.value, Edit::Set(said.to_string())));
    }
    for (path, said) in default.iter().flat_map(|default| &default.value.body.0) {
        all.push((&path.value, Edit::Default(said.to_string())));
    }
    for (path, most) in clamp.iter().flat_map(|clamp| &clamp.value.body.0) {
        all.push((&path.value, Edit::Clamp(most.to_string())));
    }
    let removed = remove.iter().flat_map(|remove| &remove.value.body);
    all.extend(removed.map(|path| (path.value.as_str(), Edit::Remove)));
    if all.is_empty() {
        return None;
    }
    let edits = BodyEdits::new(all.iter().map(|(path, edit)| (*path, edit)));
    if edits.is_none() {
        problems.push(route.name.problem(
            format!("route \"{}\" changes too many members of bodies", route.name.value),
            "each body would be searched for all of them",
            "change fewer",
        ));
    }
    edits.map(Arc::new)
}

/// The model that a route asks for, whatever its clients do.
pub(super) fn model_set(route: &RouteConfig) -> Option<Box<str>> {
    let said = route.set.iter().flat_map(|set| &set.value.body.0).find(|(path, _)| path.value == "model")?;
    said.1.as_str().map(Into::into)
}

/// What a route changes in the fields of requests, if anything.
pub(super) fn of_fields(route: &RouteConfig) -> Option<Edits> {
    let fields = &route.set.as_ref()?.value.header.0;
    let (set, values) = fields.iter().map(|(name, said)| (name.value.clone(), said.clone())).unzip();
    let rules = EditRules { set, ..EditRules::default() };
    (!fields.is_empty()).then(|| Edits { rules: Arc::new(rules), set: values, add: Vec::new() })
}
