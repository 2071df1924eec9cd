//! `kind = "jwt"`: whose tokens pass.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::config::key::Kind;
use crate::config::reader::{Setting, Value};
use crate::config::table::table;
use crate::config::values::unfit;
use crate::filter::jwt::{KeySet, Signature};

table! {
    /// `kind = "jwt"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct JwtConfig {
        /// "jwt": lets those pass who show a token that an issuer signed, as `authorization: Bearer`; it stays here.
        kind: String = key("kind", Choice(&["jwt"]), Required("nobody could know what it does", "\"jwt\"")),
        /// The issuer's keys, a JWK Set: a file, from the folder of this one, or the address where they are fetched at start,
        /// each 10 min, and once a minute at most for a key that is not known.
        jwks: JwksConfig = key("jwks", Text, Required("no signature could be checked", "\"jwks.json\"")),
        /// Who must have issued a token: its `iss`.
        issuer: Option<String> = key("issuer", Text, Absent),
        /// For whom it must be: one of these stands in its `aud`; for anybody without it.
        audience: Vec<String> = key("audience", OneOrMore(&Text), Absent),
        /// How far the clocks of issuer and gateway may differ.
        leeway: Duration = key("leeway", Finite(Duration::ZERO, "a token would never end"), Is("'30s'")),
        /// How it may be signed.
        algorithms: Vec<String> = key(
            "algorithms",
            NonEmpty(&Choice(Signature::WORDS), "no token could pass", "name some, or remove it"),
            Is("['RS256', 'ES256', 'EdDSA']")
        ),
        /// Claims that it must have, by path, and what one of their values or words must be, exact or with "*"; else 403.
        claims: Claims = key("claims", Named(&Text), Absent),
        /// The claim that says whose it is, in logs, metrics and {key}; one without it is 403.
        name_claim: String = key("name_claim", Text, Is("'sub'")),
        /// The claim that names the class of its requests.
        class_claim: Option<String> = key("class_claim", Text, Absent),
        /// The claim that names the models that it is for, a list or words, exact or with "*"; one without it is for none.
        models_claim: Option<String> = key("models_claim", Text, Absent),
    }
}

/// Where keys come from.
#[derive(Debug, Clone, PartialEq)]
pub enum JwksConfig {
    /// They are fetched there.
    At(String),
    /// They stand in a file.
    File {
        /// Its path, as written.
        path: String,
        /// What stands in it.
        text: String,
    },
}

impl Setting for JwksConfig {
    fn read(value: Value<'_, '_>, _: &'static Kind) -> Option<Self> {
        let text = value.string()?;
        if text.starts_with("http://") || text.starts_with("https://") {
            let (_, rest) = text.split_once("://").unwrap_or_default();
            let is_address = text.bytes().all(|b| b.is_ascii_graphic())
                && !rest.starts_with(['/', '?', '#', ':'])
                && !rest.is_empty();
            if !is_address {
                value.cannot_be(&text, "write an address such as \"https://id.example/keys\"");
            }
            return is_address.then_some(Self::At(text));
        }
        let file = value.file()?;
        if let Err(why) = KeySet::parse(&file.text) {
            value.complain(
                format!("`jwks` is no JWK Set: {}", file.path.display()),
                why,
                "write what the issuer publishes: {\"keys\": [{\"kty\": \"RSA\", …}]}",
            );
            return None;
        }
        Some(Self::File { path: text, text: file.text })
    }

    fn show(&self, _: &'static Kind) -> Json {
        match self {
            Self::At(address) => json!(address),
            Self::File { path, .. } => json!(path),
        }
    }
}

/// Claims by path, with what one of their values must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claims(pub Vec<(String, String)>);

impl Setting for Claims {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Named(inner) = kind else { unfit::<Self>(kind) };
        let mut claims = Vec::new();
        for (name, value) in value.entries()? {
            claims.push((name.value, String::read(value, inner)?));
        }
        Some(Self(claims))
    }

    fn show(&self, _: &'static Kind) -> Json {
        self.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>().into()
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}
