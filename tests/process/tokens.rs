//! Tokens of an issuer: who passes, and where the keys come from.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{After, Gateway, Upstream, fresh_path};

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer's key.
struct Issuer(Ed25519KeyPair, &'static str);

static OLD: LazyLock<Issuer> = LazyLock::new(|| Issuer(Ed25519KeyPair::generate().unwrap(), "old"));
static NEW: LazyLock<Issuer> = LazyLock::new(|| Issuer(Ed25519KeyPair::generate().unwrap(), "new"));

impl Issuer {
    fn set(&self) -> String {
        let key = encoded(self.0.public_key());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": self.1, "x": key }] }).to_string()
    }

    /// A token that holds for so many seconds.
    fn token(&self, seconds: i64, more: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let mut claims =
            json!({ "iss": "https://id.example", "aud": "gateway", "sub": "ada", "exp": now + seconds });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let header = json!({ "alg": "EdDSA", "kid": self.1 });
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = encoded(self.0.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// An endpoint that answers with what it was sent.
fn mirror() -> String {
    Upstream::start().play(|peer, request| {
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{request}", request.len()));
        After::GoOn
    })
}

fn gateway(jwks: &str, more: &str) -> Gateway {
    Gateway::start(&format!(
        "[filter.tokens]\nkind = \"jwt\"\njwks = {jwks:?}\nissuer = \"https://id.example\"\naudience = \"gateway\"\nleeway = \"1s\"\n{more}\
         [filter.edit]\nkind = \"headers\"\nrequest = {{ set = {{ x-who = \"{{key}}\" }} }}\n\
         [cluster.up]\nendpoints = [{:?}]\n[[route]]\nto = \"up\"\nfilters = [\"tokens\", \"edit\"]\n",
        mirror()
    ))
}

/// Status and text of the answer to a POST with this token.
fn ask(gateway: &Gateway, token: &str, body: &str) -> (u16, String) {
    let mut client = gateway.connect();
    client.send(format!(
        "POST /v1/x HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let text = client.read_message();
    (text[9..12].parse().unwrap(), text)
}

#[test]
fn a_token_names_who_asks_and_what_for_and_stays_here() {
    let path = fresh_path("jwks.json");
    fs::write(&path, OLD.set()).unwrap();
    let gateway =
        gateway(path.to_str().unwrap(), "claims = { scope = \"*inference*\" }\nmodels_claim = \"models\"\n");
    let good = json!({ "scope": "read inference", "models": ["llama-*"] });
    let (status, text) = ask(&gateway, &OLD.token(60, good.clone()), r#"{"model":"llama-3"}"#);
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("\r\nx-who: ada\r\n") && !text.contains("uthorization"), "{text}");
    for (token, body, status, code) in [
        (OLD.token(60, good.clone()), r#"{"model":"gpt"}"#, 403, "model_not_allowed"),
        (OLD.token(60, good.clone()), "{}", 403, "model_not_allowed"),
        (OLD.token(60, json!({ "scope": "read" })), r#"{"model":"llama-3"}"#, 403, "forbidden"),
        (OLD.token(60, json!({ "scope": "inference" })), r#"{"model":"llama-3"}"#, 403, "model_not_allowed"),
        (OLD.token(-5, good.clone()), r#"{"model":"llama-3"}"#, 401, "unauthorized"),
        (NEW.token(60, good.clone()), r#"{"model":"llama-3"}"#, 401, "unauthorized"),
        (OLD.token(60, json!({ "aud": "x" })), "{}", 401, "unauthorized"),
        ("x".to_owned(), "{}", 401, "unauthorized"),
    ] {
        let (told, text) = ask(&gateway, &token, body);
        assert_eq!(told, status, "{text}");
        assert!(text.contains(&format!("\"code\":\"{code}\"")), "{text}");
        assert_eq!(status == 401, text.contains("\r\nwww-authenticate: Bearer\r\n"), "{text}");
    }
    // Another key in the file is in force soon, without a reload.
    fs::write(&path, NEW.set()).unwrap();
    gateway.until("the new key holds", |_| {
        ask(&gateway, &NEW.token(60, good.clone()), r#"{"model":"llama-3"}"#).0 == 200
    });
    assert_eq!(ask(&gateway, &OLD.token(60, good), r#"{"model":"llama-3"}"#).0, 401);
    fs::remove_file(path).unwrap();
}

#[test]
fn keys_are_fetched_where_an_issuer_publishes_them() {
    let (text, asked) = (Arc::new(Mutex::new(None::<String>)), Arc::new(AtomicUsize::new(0)));
    let (published, count) = (Arc::clone(&text), Arc::clone(&asked));
    let issuer = Upstream::start().play(move |peer, request| {
        assert!(request.starts_with("GET /keys HTTP/1.1\r\n"), "{request}");
        count.fetch_add(1, Ordering::SeqCst);
        match &*published.lock().unwrap() {
            Some(text) => {
                peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()))
            }
            None => peer.send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"),
        }
        After::GoOn
    });
    let gateway = gateway(&format!("{issuer}/keys"), "");
    // Nothing could be fetched yet: nobody passes, and nobody is told that a token is wrong.
    let (status, answer) = ask(&gateway, &OLD.token(60, json!({})), "{}");
    assert_eq!(status, 503, "{answer}");
    assert!(
        answer.contains("\"code\":\"auth_unavailable\"") && answer.contains("\r\nretry-after: 1\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\nx-should-retry: true\r\n"), "{answer}");
    text.lock().unwrap().replace(OLD.set());
    gateway.until("the keys are fetched", |_| ask(&gateway, &OLD.token(60, json!({})), "{}").0 == 200);
    // A reload keeps what was fetched. A key that is not known is asked for, though not so soon after the last time.
    let fetched = asked.load(Ordering::SeqCst);
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    text.lock().unwrap().take();
    for _ in 0..5 {
        assert_eq!(ask(&gateway, &NEW.token(60, json!({})), "{}").0, 401);
        assert_eq!(ask(&gateway, &OLD.token(60, json!({})), "{}").0, 200);
    }
    assert_eq!(asked.load(Ordering::SeqCst), fetched);
}
