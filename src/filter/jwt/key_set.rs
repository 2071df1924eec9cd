//! The keys of an issuer (JWK Set, RFC 7517), and whether one of them signed a token (RFC 7519), by the package
//! `jsonwebtoken`. What a token says of its algorithm chooses among keys that are for it, never how one is used.

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::digest::Digest;
use crate::base::limits::{JWK_SET_KEYS_MAX, JWT_KEYS_TRIED_MAX, JWT_VERIFIED_BYTES_MAX, JWT_VERIFIED_MAX};

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
    /// ECDSA with P-256 and SHA-256 (RFC 7518 §3.4).
    Es256,
    /// Ed25519 (RFC 8037 §3.1).
    EdDsa,
}

impl Signature {
    /// Their names, as tokens have them.
    pub const WORDS: &'static [&'static str] = &["RS256", "ES256", "EdDSA"];

    /// By its name.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// Keys that signatures are checked with.
pub struct KeySet {
    keys: Vec<Key>,
    /// Tokens that were found signed, each at the place that its digest chooses: a signature costs a hundred times as much to
    /// check as a digest does.
    verified: Vec<Mutex<Option<(Digest, Claims)>>>,
}

struct Key {
    id: Option<String>,
    signature: Signature,
    key: DecodingKey,
}

/// What a token claims.
pub(super) type Claims = std::sync::Arc<Map<String, Value>>;

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsigned {
    /// It is no token, or nobody known signed it.
    Forged,
    /// It names a key that is not known: the issuer may have a new one.
    UnknownKey,
}

/// What a token says of its signature (RFC 7515 §4.1).
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What must be understood beyond this: nothing is.
    crit: Option<Value>,
}

impl KeySet {
    /// Understands the text of a set. Keys of other kinds and for other purposes are left out.
    ///
    /// # Errors
    ///
    /// Why it holds no key that could be used.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let Set { keys } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if keys.len() > JWK_SET_KEYS_MAX {
            return Err(format!("it has more than {JWK_SET_KEYS_MAX} keys"));
        }
        let keys: Vec<Key> = keys.into_iter().filter_map(understood).collect();
        match keys.is_empty() {
            true => Err("it has no RSA, P-256 or Ed25519 key for signatures".to_owned()),
            false => Ok(Self { keys, verified: (0..JWT_VERIFIED_MAX).map(|_| Mutex::default()).collect() }),
        }
    }

    /// What `token` claims, if one of the keys signed it in one of the ways `allowed`.
    pub(super) fn verify(&self, token: &[u8], allowed: &[Signature]) -> Result<Claims, Unsigned> {
        let header = header_of(token).filter(|header| header.crit.is_none()).ok_or(Unsigned::Forged)?;
        let signature = allowed.iter().copied().find(|signature| signature.word() == header.alg);
        let signature = signature.ok_or(Unsigned::Forged)?;
        let digest = Digest::of(token);
        let place = &self.verified[digest.prefix() as usize % self.verified.len()];
        let known = place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, claims)) = known.filter(|(known, _)| known.is(&digest)) {
            return Ok(claims);
        }
        let mut keys = self.keys_for(signature, header.kid.as_deref()).peekable();
        if keys.peek().is_none() {
            return Err(if header.kid.is_some() { Unsigned::UnknownKey } else { Unsigned::Forged });
        }
        let mut validation = Validation::new(signature.algorithm());
        // What is claimed is judged by us, at a time that we are told.
        (validation.validate_exp, validation.validate_aud) = (false, false);
        validation.required_spec_claims.clear();
        let decoded =
            |key: &Key| jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation).ok();
        let claims = Claims::new(keys.find_map(decoded).ok_or(Unsigned::Forged)?.claims);
        if token.len() <= JWT_VERIFIED_BYTES_MAX {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some((digest, Claims::clone(&claims)));
        }
        Ok(claims)
    }

    /// The keys that a token may have been signed with: the one that it names, or some of those that are for its algorithm.
    fn keys_for(&self, signature: Signature, id: Option<&str>) -> impl Iterator<Item = &Key> {
        let fits = move |key: &&Key| key.signature == signature && (id.is_none() || key.id.as_deref() == id);
        self.keys.iter().filter(fits).take(JWT_KEYS_TRIED_MAX)
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "KeySet of {}", self.keys.len())
    }
}

fn header_of(token: &[u8]) -> Option<Header> {
    let (header, _) = token.split_at(token.iter().position(|byte| *byte == b'.')?);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()
}

/// A key, if it is one that signatures of ours are checked with.
fn understood(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let signature = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Signature::Rs256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Signature::Es256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Signature::EdDsa,
        _ => return None,
    };
    let is_for = |word: String| word == signature.word();
    let is_meant = common.key_algorithm.as_ref().is_none_or(|algorithm| is_for(algorithm.to_string()));
    if !signs || !verifies || !is_meant {
        return None;
    }
    Some(Key { id: common.key_id.clone(), signature, key: DecodingKey::from_jwk(&jwk).ok()? })
}
