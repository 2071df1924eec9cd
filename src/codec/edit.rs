//! What an operator has changed in the fields of a message that is relayed.

use std::sync::Arc;

use super::field::FieldName;
use super::forwarded::is_forwarding;

/// Which fields are changed, and how: removed first, then renamed, then set, then added. Names in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EditRules {
    /// Fields that go.
    pub remove: Vec<String>,
    /// Fields that take another name, in the place of those that have it.
    pub rename: Vec<(String, String)>,
    /// Fields that are said once, whatever was said of them before.
    pub set: Vec<String>,
    /// Fields that are said beside those of the same name.
    pub add: Vec<String>,
}

impl EditRules {
    /// Names that the operator says something under.
    pub fn said(&self) -> impl Iterator<Item = &str> {
        let renamed = self.rename.iter().map(|(_, to)| to);
        renamed.chain(&self.set).chain(&self.add).map(String::as_str)
    }

    /// All names that it speaks of.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.said()
            .chain(self.rename.iter().map(|(from, _)| from.as_str()))
            .chain(self.remove.iter().map(String::as_str))
    }
}

/// Those rules with the values of one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edits {
    /// What is done.
    pub rules: Arc<EditRules>,
    /// The values of those that are set; an empty one is not said.
    pub set: Vec<String>,
    /// The values of those that are added; an empty one is not said.
    pub add: Vec<String>,
}

/// Which side of the gateway a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A request, to an endpoint.
    Request,
    /// An answer, to a client.
    Response,
}

/// Whether an operator may speak of the field `name`: it neither frames a message nor belongs to one connection, and is not
/// written by the gateway itself.
pub fn is_editable(name: &[u8], side: Side) -> bool {
    let field = FieldName::of(name);
    let is_own = match field {
        FieldName::ContentLength | FieldName::Via | FieldName::XRequestId => true,
        FieldName::Expect | FieldName::Host | FieldName::MaxForwards => side == Side::Request,
        FieldName::Traceparent | FieldName::Tracestate => side == Side::Request,
        FieldName::Date => side == Side::Response,
        name => is_forwarding(name) && side == Side::Request,
    };
    !is_own && !field.is_hop_by_hop()
}

/// A field: its name as it came, and its value.
pub(super) type Line<'a> = (&'a [u8], &'a [u8]);

/// Changes fields in place.
pub(super) fn edit<'a>(lines: &mut Vec<Line<'a>>, edits: &'a Edits) {
    let Edits { rules, set, add } = edits;
    for name in &rules.remove {
        drop_named(lines, name);
    }
    for (from, to) in &rules.rename {
        if lines.iter().any(|(name, _)| is_named(name, from)) && !to.eq_ignore_ascii_case(from) {
            drop_named(lines, to);
        }
        for (name, _) in lines.iter_mut().filter(|(name, _)| is_named(name, from)) {
            *name = to.as_bytes();
        }
    }
    for name in &rules.set {
        drop_named(lines, name);
    }
    lines.extend(said(&rules.set, set));
    lines.extend(said(&rules.add, add));
}

fn said<'a>(names: &'a [String], values: &'a [String]) -> impl Iterator<Item = Line<'a>> {
    let pairs = names.iter().zip(values).filter(|(_, value)| !value.is_empty());
    pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn is_named(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

fn drop_named(lines: &mut Vec<Line<'_>>, known: &str) {
    lines.retain(|(name, _)| !is_named(name, known));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(remove: &[&str], rename: &[(&str, &str)], set: &[(&str, &str)], add: &[(&str, &str)]) -> Edits {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let firsts = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, _)| (*name).to_owned()).collect();
        let seconds = |pairs: &[(&str, &str)]| pairs.iter().map(|(_, value)| (*value).to_owned()).collect();
        Edits {
            rules: Arc::new(EditRules {
                remove: owned(remove),
                rename: rename.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
                set: firsts(set),
                add: firsts(add),
            }),
            set: seconds(set),
            add: seconds(add),
        }
    }

    #[test]
    fn fields_are_removed_renamed_set_and_added_in_this_order() {
        let before = [("A", "1"), ("b", "2"), ("a", "3"), ("c", "4")];
        for (edits, after) in [
            (edits(&["A"], &[], &[], &[]), vec!["b: 2", "c: 4"]),
            (edits(&[], &[("a", "d")], &[], &[]), vec!["d: 1", "b: 2", "d: 3", "c: 4"]),
            // What comes under the name that is taken would be mixed up with it.
            (edits(&[], &[("a", "B")], &[], &[]), vec!["B: 1", "B: 3", "c: 4"]),
            (edits(&[], &[("x", "b")], &[], &[]), vec!["A: 1", "b: 2", "a: 3", "c: 4"]),
            (edits(&[], &[("a", "A")], &[], &[]), vec!["A: 1", "b: 2", "A: 3", "c: 4"]),
            (edits(&[], &[], &[("a", "5")], &[]), vec!["b: 2", "c: 4", "a: 5"]),
            // A value that nobody knows is none, and what the client said of it does not stand in its place.
            (edits(&[], &[], &[("a", "")], &[("c", "")]), vec!["b: 2", "c: 4"]),
            (
                edits(&[], &[], &[], &[("c", "5"), ("c", "6")]),
                vec!["A: 1", "b: 2", "a: 3", "c: 4", "c: 5", "c: 6"],
            ),
            (
                edits(&["b"], &[("a", "b")], &[("c", "5")], &[("b", "6")]),
                vec!["b: 1", "b: 3", "c: 5", "b: 6"],
            ),
        ] {
            let mut lines: Vec<Line<'_>> =
                before.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            edit(&mut lines, &edits);
            let told: Vec<_> = lines
                .iter()
                .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()))
                .collect();
            assert_eq!(told, after, "{:?}", edits.rules);
        }
    }

    #[test]
    fn what_frames_a_message_or_is_our_own_is_nobodys_to_change() {
        for (name, request, response) in [
            ("x-a", true, true),
            ("authorization", true, true),
            ("cookie", true, true),
            ("server", true, true),
            ("content-type", true, true),
            ("x-forwarded-for", false, true),
            ("X-Forwarded-Prefix", false, true),
            ("host", false, true),
            ("date", true, false),
            ("Content-Length", false, false),
            ("transfer-encoding", false, false),
            ("connection", false, false),
            ("te", false, false),
            ("via", false, false),
            ("x-request-id", false, false),
            ("traceparent", false, true),
        ] {
            assert_eq!(is_editable(name.as_bytes(), Side::Request), request, "{name}");
            assert_eq!(is_editable(name.as_bytes(), Side::Response), response, "{name}");
        }
    }
}
