//! The models that clients are told of: what endpoints list, and the names that routes know besides; as a document.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::base::model::{Model, Models};

/// The models by their names, in order.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Each as it is told.
    models: BTreeMap<Arc<str>, String>,
    /// The list of all of them.
    whole: Bytes,
}

impl Catalog {
    /// Of these lists, in which the first that tells of a model is believed, and of what routes say. A name that only routes
    /// know is told as made at `loaded`, in seconds of Unix time.
    pub(super) fn of(lists: impl Iterator<Item = Models>, said: &Said, loaded: u64) -> Self {
        let mut models = BTreeMap::new();
        for list in lists {
            for model in list.iter().filter(|model| !said.hidden.contains(&model.id)) {
                models.entry(Arc::clone(&model.id)).or_insert_with(|| document(model));
            }
        }
        for name in &said.aliases {
            let id = Arc::clone(name);
            let model = Model { id, also: Box::default(), created: loaded, owned_by: Arc::from("corelane") };
            models.entry(Arc::clone(name)).or_insert_with(|| document(&model));
        }
        let whole = list_of(models.values());
        Self { models, whole }
    }

    /// The list of all.
    pub fn whole(&self) -> Bytes {
        self.whole.clone()
    }

    /// The list of those that somebody `may` use.
    pub fn among(&self, may: impl Fn(&str) -> bool) -> Bytes {
        list_of(self.models.iter().filter(|(name, _)| may(name)).map(|(_, told)| told))
    }

    /// One of them.
    pub fn one(&self, name: &str) -> Option<Bytes> {
        self.models.get(name).map(|told| Bytes::copy_from_slice(told.as_bytes()))
    }
}

fn document(model: &Model) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let Model { id, also: _, created, owned_by } = model;
    let (id, owned_by) = (text(id), text(owned_by));
    format!("{{\"id\":{id},\"object\":\"model\",\"created\":{created},\"owned_by\":{owned_by}}}")
}

fn list_of<'m>(models: impl Iterator<Item = &'m String>) -> Bytes {
    let all = models.map(String::as_str).collect::<Vec<_>>().join(",");
    Bytes::from(format!("{{\"object\":\"list\",\"data\":[{all}]}}"))
}

/// What routes say of models.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Names that lead to a cluster, whoever lists them.
    pub(super) aliases: BTreeSet<Arc<str>>,
    /// Names that clients ask for by another one: a route puts them in its place, and none takes them as they are.
    pub(super) hidden: BTreeSet<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, created: u64, owner: &str) -> Model {
        Model { id: Arc::from(id), also: Box::default(), created, owned_by: Arc::from(owner) }
    }

    fn said(aliases: &[&str], hidden: &[&str]) -> Said {
        let set = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        Said { aliases: set(aliases), hidden: set(hidden) }
    }

    #[test]
    fn lists_are_merged_by_name_as_the_first_wrote_them() {
        let lists: [Models; 2] = [
            [model("b", 2, "one"), model("a\"\n", 1, "one"), model("hid", 1, "one")].into(),
            [model("b", 9, "other"), model("Z", 0, "é")].into(),
        ];
        let catalog = Catalog::of(lists.into_iter(), &said(&["b", "alias"], &["hid"]), 77);
        let told = |id: &str, created: u64, owner: &str| {
            format!(r#"{{"id":"{id}","object":"model","created":{created},"owned_by":"{owner}"}}"#)
        };
        let all = [
            told("Z", 0, "é"),
            told(r#"a\"\n"#, 1, "one"),
            told("alias", 77, "corelane"),
            told("b", 2, "one"),
        ];
        let list = |all: &[String]| format!(r#"{{"object":"list","data":[{}]}}"#, all.join(","));
        assert_eq!(catalog.whole(), list(&all));
        assert!(serde_json::from_slice::<serde_json::Value>(&catalog.whole()).is_ok());
        assert_eq!(catalog.among(|name| name > "a"), list(&all[1..]));
        assert_eq!(catalog.among(|_| false), list(&[]));
        assert_eq!(catalog.one("b").unwrap(), all[3]);
        assert_eq!((catalog.one("hid"), catalog.one("c")), (None, None));
        assert_eq!(Catalog::of(std::iter::empty(), &said(&[], &[]), 0).whole(), list(&[]));
    }
}
