//! `[filter.NAME]`: what looks at requests before they are answered.

mod ask;
mod cors;
mod guard;
mod headers;
mod ip;
mod jwt;
mod rate_limit;
mod token;
mod validate;

pub use ask::AskConfig;
pub use cors::CorsConfig;
pub use guard::GuardConfig;
pub use headers::{HeadersConfig, SideConfig};
pub use ip::IpConfig;
pub use jwt::{JwksConfig, JwtConfig};
pub use rate_limit::{LimitRate, RateLimitConfig};
pub use validate::{SchemaConfig, ValidateConfig};

use super::key::{Key, Kind};
use super::keys::KeysFile;
use super::reader::{Setting, Value};
use super::table::table;
use crate::filter::rate_limit::By;

/// One filter, of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterConfig {
    /// By address.
    Ip(IpConfig),
    /// By API key.
    Keys(KeysConfig),
    /// What answers say to browsers.
    Cors(CorsConfig),
    /// So many requests in a time.
    RateLimit(RateLimitConfig),
    /// What is changed in the fields of messages.
    Headers(HeadersConfig),
    /// What bodies must be.
    Validate(ValidateConfig),
    /// What texts may say.
    Guard(GuardConfig),
    /// By a token of an issuer.
    Jwt(JwtConfig),
    /// A service decides.
    Ask(AskConfig),
}

table! {
    /// `kind = "keys"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct KeysConfig {
        /// "keys": lets those pass who show an API key, as `authorization: Bearer`, `x-api-key` or `api-key`; it stays here.
        kind: String = key("kind", Choice(&["keys"]), Required("nobody could know what it does", "\"keys\"")),
        /// The file of the keys, from the folder of this one; in force within a second of a change.
        file: KeysFile = key("file", File, Required("nobody could pass", "\"keys.toml\"")),
    }
}

impl FilterConfig {
    /// Whether it looks into bodies.
    pub fn reads_bodies(&self) -> bool {
        match self {
            Self::Keys(keys) => keys.file.keys.iter().any(|key| key.models.is_some() || key.tpm.is_some()),
            Self::RateLimit(limit) => limit.tokens.is_some() || limit.by.iter().any(|by| by.0 == By::Model),
            Self::Headers(headers) => headers.says_model(),
            Self::Validate(_) | Self::Guard(_) => true,
            Self::Jwt(jwt) => jwt.models_claim.is_some(),
            Self::Ask(ask) => ask.body > 0,
            Self::Ip(_) | Self::Cors(_) => false,
        }
    }

    /// All kinds, each the table that it is read by.
    pub const KINDS: Kind = Kind::Kinds(&[
        Kind::Table(IpConfig::KEYS),
        Kind::Table(KeysConfig::KEYS),
        Kind::Table(CorsConfig::KEYS),
        Kind::Table(RateLimitConfig::KEYS),
        Kind::Table(HeadersConfig::KEYS),
        Kind::Table(ValidateConfig::KEYS),
        Kind::Table(GuardConfig::KEYS),
        Kind::Table(JwtConfig::KEYS),
        Kind::Table(AskConfig::KEYS),
    ]);
}

/// The word by which a table is known.
fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Table([Key { kind: Kind::Choice([word]), .. }, ..]) => word,
        _ => super::values::unfit::<FilterConfig>(kind),
    }
}

impl Setting for FilterConfig {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Kinds(kinds) = kind else { super::values::unfit::<Self>(kind) };
        let words: Vec<_> = kinds.iter().map(word).collect();
        let found = value.kind(&words)?;
        let table = kinds.iter().find(|kind| word(kind) == found)?;
        match found {
            "ip" => IpConfig::read(value, table).map(Self::Ip),
            "rate-limit" => RateLimitConfig::read(value, table).map(Self::RateLimit),
            "cors" => CorsConfig::read(value, table).map(Self::Cors),
            "keys" => KeysConfig::read(value, table).map(Self::Keys),
            "headers" => HeadersConfig::read(value, table).map(Self::Headers),
            "validate" => ValidateConfig::read(value, table).map(Self::Validate),
            "guard" => GuardConfig::read(value, table).map(Self::Guard),
            "jwt" => JwtConfig::read(value, table).map(Self::Jwt),
            "ask" => AskConfig::read(value, table).map(Self::Ask),
            _ => None,
        }
    }

    fn show(&self, kind: &'static Kind) -> serde_json::Value {
        let Kind::Kinds(kinds) = kind else { super::values::unfit::<Self>(kind) };
        let of = |name: &str| kinds.iter().find(|kind| word(kind) == name).expect("each kind has its table");
        match self {
            Self::Ip(ip) => ip.show(of("ip")),
            Self::Keys(keys) => keys.show(of("keys")),
            Self::Cors(cors) => cors.show(of("cors")),
            Self::RateLimit(limit) => limit.show(of("rate-limit")),
            Self::Headers(headers) => headers.show(of("headers")),
            Self::Validate(validate) => validate.show(of("validate")),
            Self::Guard(guard) => guard.show(of("guard")),
            Self::Jwt(jwt) => jwt.show(of("jwt")),
            Self::Ask(ask) => ask.show(of("ask")),
        }
    }
}
