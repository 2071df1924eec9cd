//! `kind = "jwt"`: those pass who show a token that a known issuer signed.

mod key_set;
mod source;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use key_set::Unsigned;
pub use key_set::{KeySet, Signature};
use serde_json::{Map, Value};
pub use source::KeySource;

use super::credential::{bearer, unauthorized};
use super::holder::Holder;
use super::verdict::View;
use crate::base::glob::{Case, Glob};
use crate::base::limits::JWT_BYTES_MAX;
use crate::codec::reply::ErrorReply;

/// Whom tokens are taken from, and what they must claim.
#[derive(Debug)]
pub struct Jwt {
    /// The keys of their issuer.
    pub source: Arc<KeySource>,
    /// How they may be signed.
    pub signatures: Vec<Signature>,
    /// Who must have issued them, if that is asked.
    pub issuer: Option<String>,
    /// For whom they must be: one of these; for anybody where there is none.
    pub audience: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Claims, by path, with what one of their values must fit.
    pub claims: Vec<(String, Glob)>,
    /// The claim that names whose token it is.
    pub name_claim: String,
    /// The claims that name class and models.
    pub class_claim: Option<String>,
    /// See above.
    pub models_claim: Option<String>,
}

impl Jwt {
    /// Whose request it is: 401 `unauthorized` for who shows no token that holds, 403 `forbidden` for one that does not claim
    /// enough, 503 `auth_unavailable` while no keys are known.
    pub(super) fn on_request(&self, view: &View<'_>) -> Result<Holder, ErrorReply> {
        let Some(token) = token(view) else { return Err(no_token()) };
        let Some(keys) = self.source.current() else {
            return Err(ErrorReply {
                should_retry: Some(true),
                retry_after: Some(Duration::from_secs(1)),
                ..ErrorReply::new(503, "auth_unavailable", "Tokens cannot be checked yet; try again.")
            });
        };
        let claims = keys.verify(token, &self.signatures).map_err(|why| {
            if why == Unsigned::UnknownKey {
                self.source.want();
            }
            no_token()
        })?;
        self.holder(&claims, view.today)
    }

    fn holder(&self, claims: &Map<String, Value>, today: SystemTime) -> Result<Holder, ErrorReply> {
        let expires = seconds(claims, "exp").map(|at| at + self.leeway).filter(|at| today < *at);
        let has_begun = match claims.get("nbf") {
            None => true,
            Some(_) => seconds(claims, "nbf").is_some_and(|at| at <= today + self.leeway),
        };
        let is_issued = self.issuer.as_ref().is_none_or(|issuer| text(claims.get("iss")) == Some(issuer));
        let is_for_us = self.audience.is_empty()
            || texts(claims.get("aud")).iter().any(|aud| self.audience.iter().any(|ours| ours == aud));
        let (Some(expires), true, true, true) = (expires, has_begun, is_issued, is_for_us) else {
            return Err(no_token());
        };
        let fits = |(path, glob): &(String, Glob)| {
            values(at(claims, path)).iter().any(|value| glob.fits(value.as_bytes(), Case::Sensitive))
        };
        let name = at(claims, &self.name_claim).and_then(scalar).filter(|name| !name.is_empty());
        let (Some(name), true) = (name, self.claims.iter().all(fits)) else {
            return Err(ErrorReply::new(
                403,
                "forbidden",
                "The token does not claim what is asked for here; ask whoever issued it.",
            ));
        };
        let words = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            value => texts(value),
        };
        let models = self.models_claim.as_ref().map(|path| words(at(claims, path)));
        Ok(Holder {
            name: name.into(),
            routes: None,
            models: models.map(|models| models.iter().map(|model| Glob::new(model)).collect()),
            class: self.class_claim.as_ref().and_then(|path| text(at(claims, path))).map(Into::into),
            expires: Some(expires),
            requests: None,
            tokens: None,
            in_flight: None,
        })
    }
}

/// What is shown as a bearer token, once.
fn token<'r>(view: &View<'r>) -> Option<&'r [u8]> {
    let mut shown = view.head.head().values_of(b"authorization").filter_map(bearer);
    let token = shown.next().filter(|token| !token.is_empty() && token.len() <= JWT_BYTES_MAX)?;
    shown.all(|other| other == token).then_some(token)
}

fn no_token() -> ErrorReply {
    unauthorized("No valid token was shown; send yours as `Authorization: Bearer`, and no other beside it.")
}

/// What stands at a path of names, with `.` between them. A claim whose own name has points is looked for first.
fn at<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    claims.get(path).or_else(|| {
        let mut names = path.split('.');
        let first = claims.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    })
}

/// A time (RFC 7519 §2, NumericDate).
fn seconds(claims: &Map<String, Value>, name: &str) -> Option<SystemTime> {
    let seconds = claims.get(name)?.as_f64().filter(|seconds| (0.0..1e11).contains(seconds))?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds))
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

/// A text, or the texts of a list.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// What a claim says: a text as a whole and by its words, each element of a list.
fn values(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => {
            let words = text.split_ascii_whitespace().map(str::to_owned);
            std::iter::once(text.clone()).chain(words).collect()
        }
        Some(Value::Array(all)) => all.iter().filter_map(scalar).collect(),
        Some(value) => scalar(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
