//! Which model a request asks for: what its path says, and what its body says.

use std::sync::{Arc, LazyLock};

use crate::base::glob::{Case, Glob};
use crate::codec::content::{BodyScanner, BodySeen, Kind, Sight, kind};
use crate::codec::head::RequestHead;
use crate::codec::json::{BodyEdits, Member, Wanted};
use crate::codec::method::Method;
use crate::codec::reply::ErrorReply;
use crate::codec::unreadable;

/// The models that a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Models {
    /// What `{model}` of its route's path stands for.
    pub(super) path: Option<Box<str>>,
    /// What its body says.
    pub(super) body: Option<Box<str>>,
}

impl Models {
    /// None are known.
    pub(super) const NONE: Self = Self { path: None, body: None };

    /// The one that counts where there is room for one: whoever stands behind reads the body last.
    pub fn name(&self) -> Option<&str> {
        self.body.as_deref().or(self.path.as_deref())
    }

    /// 403 `model_not_allowed` where one of them is not among `allowed`, or none is known: whoever stands behind may read
    /// either.
    pub(super) fn among(&self, allowed: &[Glob]) -> Result<(), ErrorReply> {
        let mut named = self.path.iter().chain(&self.body).peekable();
        let is_named = named.peek().is_some();
        let fits = |name: &str| allowed.iter().any(|glob| glob.fits(name.as_bytes(), Case::Sensitive));
        match is_named && named.all(|name| fits(name)) {
            true => Ok(()),
            false => Err(ErrorReply {
                param: Some("model".into()),
                ..ErrorReply::new(
                    403,
                    "model_not_allowed",
                    "This credential is not for this model, or the request names none; name one that it is for.",
                )
            }),
        }
    }
}

/// 404 `model_not_found` for what is no name of a model: nobody can list it.
pub(super) fn no_name() -> ErrorReply {
    ErrorReply {
        param: Some("model".into()),
        ..ErrorReply::new(
            404,
            "model_not_found",
            "What this request says as its model is no name, or too long for one; send a string of up to 4 KiB.",
        )
    }
}

/// Whether a request asks for no model, and needs to name none: it only looks something up.
pub(super) fn asks_for_none(head: &RequestHead) -> bool {
    let is_read = matches!(head.method(), Method::Get | Method::Head);
    is_read && kind(head) == Kind::Absent && !head.offers_websocket()
}

/// Reads the model out of a body as it comes.
#[derive(Debug)]
pub(super) struct ModelReader(BodyScanner);

/// The one member that is asked for.
static MODEL: LazyLock<Arc<Wanted>> = LazyLock::new(|| Wanted::of(["model"]));

/// What the reader says so far.
pub(super) type Read = Result<Said, ErrorReply>;

/// What a body says of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// This one.
    Named(Box<str>),
    /// None.
    Nothing,
    /// What is no name, or too long for one.
    NoName,
    /// What nobody here can read.
    Else,
}

impl Said {
    /// The model that is asked for: what the client says, or what its route says where the client says nothing.
    pub(super) fn or_of_route(self, edits: Option<&BodyEdits>) -> Option<Box<str>> {
        let of_route = || {
            let said: serde_json::Value = serde_json::from_slice(edits?.provided("model")?).ok()?;
            said.as_str().map(Into::into)
        };
        match self {
            Self::Named(name) => Some(name),
            Self::Nothing => of_route(),
            Self::NoName | Self::Else => None,
        }
    }
}

impl ModelReader {
    /// Of the body of the request with this head.
    pub(super) fn new(head: &RequestHead) -> Self {
        Self(BodyScanner::new(head, &MODEL))
    }

    /// Bytes of the body that may be needed; none where all of them may.
    pub(super) fn needs(&self) -> Option<u64> {
        self.0.needs()
    }

    /// Looks at the next bytes, and tells what the body says as soon as no further byte can change it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<Read> {
        match self.0.feed(bytes) {
            Ok(()) => self
                .0
                .settled()
                .map(|settled| settled.map(told).map_err(|fault| unreadable::of_json(fault, &MODEL))),
            Err(fault) => Some(Err(unreadable::of_json(fault, &MODEL))),
        }
    }

    /// What the body says whatever is still to come of it, if that is known, and it turns out to be sound.
    pub(super) fn foreseen(&self) -> Option<Said> {
        match self.0.sight() {
            Sight::Nothing => None,
            Sight::Members(members, known) => (known & 1 == 1).then(|| told(BodySeen::Members(members))),
            Sight::Foreign => Some(told(BodySeen::Nothing)),
        }
    }

    /// Who looks on at the body, and what for.
    pub(super) fn into_scanner(self) -> (Box<BodyScanner>, &'static Arc<Wanted>) {
        (Box::new(self.0), &MODEL)
    }

    /// The body ended.
    pub(super) fn end(&mut self) -> Read {
        self.0.finish().map(told).map_err(|fault| unreadable::of_json(fault, &MODEL))
    }
}

fn told(seen: BodySeen<'_>) -> Said {
    match seen {
        BodySeen::Members([Member::Scalar(name)]) => {
            std::str::from_utf8(name).map_or(Said::NoName, |name| Said::Named(name.into()))
        }
        BodySeen::Members([Member::Absent | Member::Null]) => Said::Nothing,
        BodySeen::Members(_) => Said::NoName,
        BodySeen::Nothing => Said::Else,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{head, request};
    use super::*;
    use crate::codec::json::Edit;

    #[test]
    fn all_models_that_a_request_names_must_be_allowed() {
        let globs = |texts: &[&str]| texts.iter().map(|text| Glob::new(text)).collect::<Vec<_>>();
        let models = |path: Option<&str>, body: Option<&str>| Models {
            path: path.map(Into::into),
            body: body.map(Into::into),
        };
        for (allowed, path, body, passes) in [
            (&["qwen3-32b", "llama-*"][..], None, Some("qwen3-32b"), true),
            (&["qwen3-32b", "llama-*"], None, Some("llama-3"), true),
            (&["qwen3-32b", "llama-*"], Some("llama-3"), None, true),
            (&["qwen3-32b", "llama-*"], Some("llama-3"), Some("qwen3-32b"), true),
            // Whoever stands behind may read either.
            (&["llama-*"], Some("llama-3"), Some("gpt"), false),
            (&["llama-*"], Some("gpt"), Some("llama-3"), false),
            (&["llama-*"], None, Some("LLAMA-3"), false),
            (&["llama-*"], None, Some(" llama-3"), false),
            (&["llama-*"], None, Some(""), false),
            (&["*"], None, None, false),
            (&["*"], None, Some("any"), true),
            (&[], None, Some("any"), false),
        ] {
            let judged = models(path, body).among(&globs(allowed)).map_err(|refusal| refusal.code);
            let expected = if passes { Ok(()) } else { Err("model_not_allowed") };
            assert_eq!(judged, expected, "{allowed:?} {path:?} {body:?}");
        }
    }

    #[test]
    fn only_what_looks_something_up_needs_to_name_no_model() {
        let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for (method, fields, none) in [
            ("GET", "", true),
            ("HEAD", "", true),
            ("GET", "content-length: 2\r\n", false),
            ("GET", "content-length: 0\r\n", true),
            ("GET", upgrade, false),
            ("POST", "", false),
            ("OPTIONS", "", false),
            ("DELETE", "", false),
        ] {
            assert_eq!(asks_for_none(&request(method, fields)), none, "{method} {fields}");
        }
    }

    #[test]
    fn what_a_body_says_is_read_as_routes_read_it() {
        let json = "content-type: application/json\r\ncontent-length: 9\r\n";
        for (body, told) in [
            (r#"{"model":"a"}"#, Ok(named("a"))),
            (r#"{"messages":[{"model":"b"}],"mode\u006c":"a"}"#, Ok(named("a"))),
            (r#"{"model":null}"#, Ok(Said::Nothing)),
            (r#"{"model":["a"]}"#, Ok(Said::NoName)),
            (r#"{"x":{"model":"a"}}"#, Ok(Said::Nothing)),
            (r#"["model","a"]"#, Ok(Said::Else)),
            (r#"{"model":"a","model":"b"}"#, Err("invalid_body")),
            (r#"{"Model":"a"}"#, Err("invalid_body")),
            (r#"{"model":"a"} {"model":"b"}"#, Err("invalid_body")),
            (r#"{"model":"a""#, Err("invalid_body")),
        ] {
            let head = head(json);
            let mut reader = ModelReader::new(&head);
            let read = reader.feed(body.as_bytes()).unwrap_or_else(|| reader.end());
            assert_eq!(read.map_err(|refusal| refusal.code), told, "{body}");
        }
    }

    #[test]
    fn a_route_says_the_model_where_the_client_says_none() {
        let edits = |path: &str, edit: Edit| BodyEdits::new([(path, &edit)]).unwrap();
        let text = |text: &str| text.to_owned();
        let (set, filled) =
            (edits("model", Edit::Set(text("\"r\""))), edits("model", Edit::Default(text("\"r\""))));
        let (number, other) = (edits("model", Edit::Set(text("5"))), edits("m", Edit::Set(text("\"r\""))));
        for (said, route, model) in [
            (Said::Nothing, Some(&set), Some("r")),
            (Said::Nothing, Some(&filled), Some("r")),
            (Said::Nothing, Some(&number), None),
            (Said::Nothing, Some(&other), None),
            (Said::Nothing, None, None),
            // What the client wrote counts, though something else goes upstream.
            (named("c"), Some(&set), Some("c")),
            (Said::Else, Some(&set), None),
        ] {
            assert_eq!(said.clone().or_of_route(route).as_deref(), model, "{said:?}");
        }
    }

    fn named(name: &str) -> Said {
        Said::Named(name.into())
    }
}
