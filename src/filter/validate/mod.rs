//! `kind = "validate"`: those bodies pass that are JSON, and what a schema says.

mod preset;
mod rules;
mod schema;

pub use schema::Schema;

use super::verdict::{Verdict, View};
use crate::base::limits::{JSON_TREE_VALUES_MAX, PARAM_BYTES_MAX};
use crate::codec::content::{Kind, kind};
use crate::codec::field::FieldName;
use crate::codec::head::RequestHead;
use crate::codec::json::tree::{Tree, TreeFault};
use crate::codec::json::walker::{Listener, Told, Walker};
use crate::codec::json::{JsonFault, Utf8, Wanted};
use crate::codec::media_type::{self, Charset, MediaType};
use crate::codec::method::Method;
use crate::codec::reply::ErrorReply;
use crate::codec::unreadable;
use preset::{Misfit, Preset};

/// What bodies must be.
#[derive(Debug)]
pub enum Validate {
    /// JSON.
    Json,
    /// What OpenAI's API asks for.
    OpenAi,
    /// What a schema says.
    Schema(Box<Schema>),
}

impl Validate {
    /// Judges by the head: 415 for what is not JSON by its type, or compressed. A request without a body passes, unless its
    /// method is one that has one.
    pub(super) fn on_request(&self, view: &View<'_>) -> Verdict {
        let has_body = matches!(view.head.method(), Method::Post | Method::Put | Method::Patch);
        match kind(view.head) {
            Kind::Absent if has_body => {
                Verdict::Refuse(unreadable::of_json(JsonFault::Incomplete, &Wanted::default()))
            }
            Kind::Absent => Verdict::Continue,
            Kind::Encoded => Verdict::Refuse(unreadable::encoded()),
            Kind::Plain if is_json(view.head) => Verdict::Later,
            Kind::Plain => Verdict::Refuse(ErrorReply::new(
                415,
                "unsupported_media_type",
                "The body must be JSON here; send it as `content-type: application/json`.",
            )),
        }
    }

    /// Looks at the body of a request.
    pub(super) fn check(&self, view: &View<'_>) -> Checking<'_> {
        let has_model = view.edits.is_some_and(|edits| edits.provided("model").is_some());
        let document = match self {
            Self::Json => Document::Any(Walker::new(Nobody)),
            Self::OpenAi => Document::OpenAi(Box::new(Walker::new(Preset::new(view.operation, has_model)))),
            Self::Schema(schema) => {
                Document::Schema(Box::new(Walker::new(Tree::new(JSON_TREE_VALUES_MAX))), schema)
            }
        };
        Checking { document, utf8: Utf8::default(), length: 0, fault: None }
    }
}

/// Whether a body is JSON by its type, or says nothing of it.
fn is_json(head: &RequestHead) -> bool {
    let mut types = head.head().values(FieldName::ContentType);
    let first = types.next().unwrap_or(b"application/json");
    types.next().is_none() && matches!(media_type::read(first), (MediaType::Json, Charset::Plain))
}

/// A body that is looked at as it comes.
pub(super) struct Checking<'p> {
    document: Document<'p>,
    utf8: Utf8,
    length: u64,
    fault: Option<JsonFault>,
}

enum Document<'p> {
    Any(Walker<Nobody>),
    OpenAi(Box<Walker<Preset>>),
    Schema(Box<Walker<Tree>>, &'p Schema),
}

impl Checking<'_> {
    /// Looks at the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        let fed = match &mut self.document {
            Document::Any(walker) => walker.feed(bytes),
            Document::OpenAi(walker) => walker.feed(bytes),
            Document::Schema(walker, _) => walker.feed(bytes),
        };
        self.fault = fed.err();
        if !self.utf8.feed(bytes) {
            self.fault.get_or_insert(JsonFault::Malformed { at: self.length });
        }
        self.length += bytes.len() as u64;
    }

    /// The body ended.
    pub(super) fn end(mut self) -> Result<(), ErrorReply> {
        let ended = match &mut self.document {
            Document::Any(walker) => walker.finish(),
            Document::OpenAi(walker) => walker.finish(),
            Document::Schema(walker, _) => walker.finish(),
        };
        if let Some(fault) = self.fault.or(ended.err()) {
            return Err(unreadable::of_json(fault, &Wanted::default()));
        }
        let misfit = match self.document {
            Document::Any(_) => None,
            Document::OpenAi(walker) => walker.into_listener().into_misfit(),
            Document::Schema(walker, schema) => match walker.into_listener().into_value() {
                Ok(document) => schema.misfit(&document),
                Err(fault) => Some(of_tree(fault)),
            },
        };
        misfit.map_or(Ok(()), |misfit| Err(refusal(misfit)))
    }
}

fn of_tree(fault: TreeFault) -> Misfit {
    match fault {
        TreeFault::Doubled(param) => {
            Misfit { param, words: "sent once: it stands twice in one object".into() }
        }
        TreeFault::Number => Misfit {
            param: String::new(),
            words: "without NaN, infinities and numbers beyond 64 bits".into(),
        },
        TreeFault::TooMany => {
            Misfit { param: String::new(), words: format!("of {JSON_TREE_VALUES_MAX} values at most") }
        }
    }
}

/// 400 `validation_failed`.
fn refusal(Misfit { param, words }: Misfit) -> ErrorReply {
    // A client named it: what is told back has a bound.
    let end = (0..=PARAM_BYTES_MAX.min(param.len())).rev().find(|end| param.is_char_boundary(*end));
    let param = &param[..end.unwrap_or(0)];
    let what = if param.is_empty() { "The body".to_owned() } else { format!("`{param}`") };
    ErrorReply {
        param: (!param.is_empty()).then(|| param.into()),
        ..ErrorReply::new(400, "validation_failed", format!("{what} must be {words}."))
    }
}

/// Looks at the grammar alone.
#[derive(Debug)]
struct Nobody;

impl Listener for Nobody {
    fn begin(&mut self, _: Told) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
