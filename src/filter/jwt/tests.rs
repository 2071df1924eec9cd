//! Which tokens pass, with keys that are made for the tests: what is forged, and how, never does.

use std::sync::LazyLock;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::testing::{head, view};
use super::*;

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Who signs.
enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let rng = aws_lc_rs::rand::SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature).unwrap();
                signature
            }
            Self::P256(key) => key.sign(&rng, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = encoded(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// The public half, as an issuer publishes it.
    fn jwk(&self, id: &str) -> Value {
        let coordinate = |point: &[u8], from: usize| encoded(&point[from..from + 32]);
        match self {
            Self::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({ "kty": "RSA", "kid": id, "use": "sig", "n": encoded(n.big_endian_without_leading_zero()), "e": encoded(e.big_endian_without_leading_zero()) })
            }
            Self::P256(key) => {
                let point = key.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256", "x": coordinate(point, 1), "y": coordinate(point, 33) })
            }
            Self::Ed25519(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": encoded(key.public_key()) })
            }
        }
    }
}

/// One key of each kind, and one that is not known.
struct Keys {
    rsa: Signer,
    p256: Signer,
    ed25519: Signer,
    stranger: Signer,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let rsa = || Signer::Rsa(RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap());
    Keys {
        rsa: rsa(),
        p256: Signer::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
        ed25519: Signer::Ed25519(Ed25519KeyPair::generate().unwrap()),
        stranger: rsa(),
    }
});

fn set() -> String {
    let Keys { rsa, p256, ed25519, .. } = &*KEYS;
    let others = [
        json!({ "kty": "oct", "kid": "secret", "k": encoded("secret") }),
        json!({ "kty": "EC", "crv": "P-384", "kid": "p384", "x": "", "y": "" }),
        json!({ "kty": "new" }),
    ];
    let mut all = vec![rsa.jwk("rsa"), p256.jwk("p256"), ed25519.jwk("ed")];
    all.extend(others);
    json!({ "keys": all }).to_string()
}

fn jwt() -> Jwt {
    Jwt {
        source: Arc::new(KeySource::of_file(KeySet::parse(&set()).unwrap())),
        signatures: vec![Signature::Rs256, Signature::Es256, Signature::EdDsa],
        issuer: Some("https://id.example".into()),
        audience: vec!["gateway".into(), "other".into()],
        leeway: Duration::from_secs(30),
        claims: vec![("scope".into(), Glob::new("*inference*")), ("realm.roles".into(), Glob::new("user"))],
        name_claim: "sub".into(),
        class_claim: Some("class".into()),
        models_claim: Some("models".into()),
    }
}

const NOW: u64 = 1_000_000;

fn claims(more: Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example", "aud": "gateway", "sub": "ada", "exp": NOW + 60, "scope": "read inference:all",
        "realm": { "roles": ["admin", "user"] }, "models": ["llama-*"], "class": "bulk",
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// The holder's name, or the status.
fn asked(jwt: &Jwt, fields: &str) -> Result<Holder, u16> {
    let head = head(fields);
    let today = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    jwt.on_request(&View { today, ..view(&head) }).map_err(|refusal| refusal.status)
}

fn shown(jwt: &Jwt, token: &str) -> Result<Holder, u16> {
    let first = asked(jwt, &format!("authorization: Bearer {token}\r\n"));
    let again = asked(jwt, &format!("Authorization: bearer  {token} \r\n"));
    assert_eq!(
        first.as_ref().map(|holder| &holder.name),
        again.as_ref().map(|holder| &holder.name),
        "remembered"
    );
    first
}

#[test]
fn each_kind_of_key_is_taken_with_its_id_and_without() {
    let (jwt, Keys { rsa, p256, ed25519, .. }) = (jwt(), &*KEYS);
    for (signer, algorithm, id) in [(rsa, "RS256", "rsa"), (p256, "ES256", "p256"), (ed25519, "EdDSA", "ed")]
    {
        for header in [json!({ "alg": algorithm, "kid": id }), json!({ "alg": algorithm, "typ": "at+jwt" })] {
            let holder = shown(&jwt, &signer.token(&header, &claims(json!({})))).unwrap();
            assert_eq!((&*holder.name, holder.class.as_deref()), ("ada", Some("bulk")), "{header}");
            assert_eq!(holder.expires, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 90)));
            assert!(holder.models.is_some_and(|models| models.len() == 1));
        }
    }
}

#[test]
fn what_is_forged_never_passes() {
    let (jwt, Keys { rsa, p256, ed25519, stranger }) = (jwt(), &*KEYS);
    let good = claims(json!({}));
    let unsigned = |header: Value| format!("{}.{}.", encoded(header.to_string()), encoded(good.to_string()));
    // What was published is no secret: whoever takes it for one is fooled (RFC 8725 §2.1).
    let confused = |header: Value, secret: &[u8]| {
        let message = format!("{}.{}", encoded(header.to_string()), encoded(good.to_string()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let signature = encoded(aws_lc_rs::hmac::sign(&key, message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    };
    let token = rsa.token(&json!({ "alg": "RS256", "kid": "rsa" }), &good);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let other = encoded(claims(json!({ "sub": "eve" })).to_string());
    let header = message.split_once('.').unwrap().0;
    let modulus = rsa.jwk("")["n"].as_str().unwrap().to_owned();
    for forged in [
        unsigned(json!({ "alg": "none" })),
        unsigned(json!({ "alg": "None", "kid": "rsa" })),
        unsigned(json!({ "alg": "RS256", "kid": "rsa" })),
        format!("{message}."),
        format!("{message}.{}", encoded("x")),
        format!("{header}.{other}.{signature}"),
        message.to_owned(),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!(".{token}"),
        token.replace('.', ".."),
        token[1..].to_owned(),
        confused(json!({ "alg": "HS256", "kid": "rsa" }), modulus.as_bytes()),
        confused(json!({ "alg": "HS256", "kid": "secret" }), b"secret"),
        confused(json!({ "alg": "HS256" }), b"secret"),
        confused(json!({ "alg": "RS256", "kid": "rsa" }), modulus.as_bytes()),
        stranger.token(&json!({ "alg": "RS256", "kid": "rsa" }), &good),
        stranger.token(&json!({ "alg": "RS256" }), &good),
        stranger.token(&json!({ "alg": "RS256", "jwk": stranger.jwk("x") }), &good),
        rsa.token(&json!({ "alg": "RS256", "kid": "p256" }), &good),
        rsa.token(&json!({ "alg": "RS256", "kid": "unknown" }), &good),
        rsa.token(&json!({ "alg": "RS384", "kid": "rsa" }), &good),
        rsa.token(&json!({ "alg": "PS256", "kid": "rsa" }), &good),
        rsa.token(&json!({ "alg": "ES256", "kid": "rsa" }), &good),
        rsa.token(&json!({ "alg": "RS256", "kid": "rsa", "crit": ["exp"] }), &good),
        rsa.token(&json!({ "alg": "RS256", "kid": 5 }), &good),
        rsa.token(&json!({ "kid": "rsa" }), &good),
        p256.token(&json!({ "alg": "EdDSA", "kid": "p256" }), &good),
        ed25519.token(&json!({ "alg": "ES256", "kid": "ed" }), &good),
        rsa.token(&json!({ "alg": "RS256" }), &json!(["claims"])),
        String::new(),
        "x".into(),
        "..".into(),
        "x".repeat(JWT_BYTES_MAX + 1),
    ] {
        assert_eq!(shown(&jwt, &forged).map(|holder| holder.name), Err(401), "{forged}");
    }
    let only = Jwt { signatures: vec![Signature::Es256], ..self::jwt() };
    assert_eq!(shown(&only, &token).map(|holder| holder.name), Err(401));
}

#[test]
fn claims_must_hold_at_the_time_and_say_what_is_asked_for() {
    let (jwt, signer) = (jwt(), &KEYS.ed25519);
    let with = |more: Value| {
        let told = shown(&jwt, &signer.token(&json!({ "alg": "EdDSA" }), &claims(more)));
        told.map(|holder| holder.name.to_string())
    };
    let ok = |name: &str| Ok(name.to_owned());
    for (more, told) in [
        (json!({ "exp": NOW - 29 }), ok("ada")),
        (json!({ "exp": NOW - 30 }), Err(401)),
        (json!({ "exp": (NOW + 1) as f64 + 0.5 }), ok("ada")),
        (json!({ "exp": null }), Err(401)),
        (json!({ "exp": "2000000" }), Err(401)),
        (json!({ "exp": -1 }), Err(401)),
        (json!({ "exp": 1e300 }), Err(401)),
        (json!({ "nbf": NOW + 30 }), ok("ada")),
        (json!({ "nbf": NOW + 31 }), Err(401)),
        (json!({ "nbf": "x" }), Err(401)),
        (json!({ "iss": "https://id.example/" }), Err(401)),
        (json!({ "iss": ["https://id.example"] }), Err(401)),
        (json!({ "iss": null }), Err(401)),
        (json!({ "aud": ["x", "other"] }), ok("ada")),
        (json!({ "aud": ["x"] }), Err(401)),
        (json!({ "aud": "gateway2" }), Err(401)),
        (json!({ "aud": null }), Err(401)),
        (json!({ "scope": ["inference"] }), ok("ada")),
        (json!({ "scope": "read" }), Err(403)),
        (json!({ "scope": { "inference": true } }), Err(403)),
        (json!({ "scope": null }), Err(403)),
        (json!({ "realm": { "roles": "user admin" } }), ok("ada")),
        (json!({ "realm": { "roles": ["users"] } }), Err(403)),
        (json!({ "realm": null, "realm.roles": "user" }), ok("ada")),
        (json!({ "sub": 7 }), ok("7")),
        (json!({ "sub": null }), Err(403)),
        (json!({ "sub": "" }), Err(403)),
        // No subject has that form (RFC 7519 §4.1.2).
        (json!({ "sub": ["ada"] }), Err(401)),
    ] {
        assert_eq!(with(more.clone()), told, "{more}");
    }
    for (more, models) in
        [(json!({ "models": "a b-*" }), 2), (json!({ "models": null }), 0), (json!({ "models": 5 }), 0)]
    {
        let holder = shown(&jwt, &signer.token(&json!({ "alg": "EdDSA" }), &claims(more.clone()))).unwrap();
        assert_eq!(holder.models.unwrap().len(), models, "{more}");
    }
    let holder =
        shown(&jwt, &signer.token(&json!({ "alg": "EdDSA" }), &claims(json!({ "class": ["x"] })))).unwrap();
    assert_eq!(holder.class, None);
}

#[test]
fn a_token_comes_as_one_bearer_only() {
    let (jwt, signer) = (jwt(), &KEYS.ed25519);
    let token = |sub: &str| signer.token(&json!({ "alg": "EdDSA" }), &claims(json!({ "sub": sub })));
    let (one, other) = (token("a"), token("b"));
    for (fields, passes) in [
        (format!("authorization: Bearer {one}\r\n"), true),
        (format!("authorization: Bearer {one}\r\nauthorization: Bearer {one}\r\n"), true),
        (format!("authorization: Bearer {one}\r\nauthorization: Basic x\r\n"), true),
        (format!("authorization: Bearer {one}\r\nauthorization: Bearer {other}\r\n"), false),
        (format!("authorization: Bearer {one}\r\nauthorization: Bearer \r\n"), true),
        (format!("authorization: {one}\r\n"), false),
        (format!("authorization: Bearer {one}, Bearer {one}\r\n"), false),
        (format!("x-api-key: {one}\r\n"), false),
        (format!("cookie: token={one}\r\n"), false),
        (String::new(), false),
    ] {
        assert_eq!(asked(&jwt, &fields).is_ok(), passes, "{fields}");
    }
}

#[test]
fn without_keys_nobody_passes_and_nobody_is_told_that_a_token_is_wrong() {
    let empty = Jwt { source: Arc::new(KeySource::at("https://id.example/keys".into())), ..jwt() };
    assert_eq!(shown(&empty, "x.y.z").map(|holder| holder.name), Err(503));
    assert_eq!(asked(&empty, "").map(|holder| holder.name), Err(401));
    let jwt = jwt();
    assert!(!jwt.source.is_wanted());
    let _ = shown(&jwt, &KEYS.rsa.token(&json!({ "alg": "RS256", "kid": "new" }), &claims(json!({}))));
    assert!(jwt.source.is_wanted() && !jwt.source.is_wanted());
    for broken in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#, r#"{"keys":5}"#] {
        assert!(KeySet::parse(broken).is_err(), "{broken}");
    }
}
