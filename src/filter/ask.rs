//! `kind = "ask"`: a service decides, by what is told of the request (as nginx's `auth_request` and Envoy's `ext_authz` do).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::verdict::View;
use crate::base::address::Address;
use crate::base::digest::Digest;
use crate::base::limits::ASK_HEAD_BYTES_MAX;
use crate::base::trust::TlsClient;
use crate::codec::edit::{EditRules, Edits};
use crate::codec::field::FieldName;
use crate::codec::head::ResponseHead;
use crate::codec::reply::{ErrorReply, LocalReply};

/// Whom to ask, and what to tell.
#[derive(Debug)]
pub struct Ask {
    /// Where the service listens.
    pub addresses: Vec<Address>,
    /// The name and port that those addresses are of, where they are of a name.
    pub resolves: Option<(String, u16)>,
    /// Whom to trust there, where it is at https://.
    pub tls: Option<TlsClient>,
    /// Its authority, for Host.
    pub host: String,
    /// Path and query that are asked for.
    pub target: String,
    /// Fields of the request that it is told.
    pub headers: Vec<String>,
    /// So many of the first bytes of the body; none where it is zero.
    pub body: usize,
    /// How long it has.
    pub timeout: Duration,
    /// Fields of its answer that travel upstream, in the place of the client's own.
    pub add: Arc<EditRules>,
    /// Whether requests pass where it does not answer.
    pub allows_on_error: bool,
    /// How long its answers hold.
    pub cache: Option<Duration>,
}

/// What the service says.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The request passes, with these fields.
    Allow(Edits),
    /// It is answered with this.
    Deny(LocalReply),
}

impl Ask {
    /// Appends the request to the service.
    pub fn write(&self, out: &mut Vec<u8>, view: &View<'_>, body: &[u8]) {
        let method = if self.body > 0 { "POST" } else { "GET" };
        out.extend_from_slice(
            format!("{method} {} HTTP/1.1\r\nhost: {}\r\n", self.target, self.host).as_bytes(),
        );
        let head = view.head.head();
        let mut say = |name: &[u8], value: &[u8]| {
            [name, b": ", value, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
        };
        say(b"x-forwarded-method", view.head.method_bytes());
        say(b"x-forwarded-uri", view.head.path_and_query());
        say(b"x-forwarded-host", view.head.authority());
        if let Some(client) = view.client.address() {
            say(b"x-forwarded-for", client.to_string().as_bytes());
        }
        for name in &self.headers {
            head.values_of(name.as_bytes()).for_each(|value| say(name.as_bytes(), value));
        }
        if self.body > 0 {
            if let Some(kind) = head.value(FieldName::ContentType) {
                say(b"content-type", kind);
            }
            say(b"content-length", body.len().to_string().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }

    /// What its answers are remembered by: all that it was told of the request, but for who asks.
    pub fn question(&self, view: &View<'_>, body: &[u8]) -> Digest {
        let head = view.head.head();
        let mut told = Vec::new();
        // Each part with its length: no two questions run into one.
        let mut tell = |part: &[u8]| {
            told.extend_from_slice(&part.len().to_be_bytes());
            told.extend_from_slice(part);
        };
        tell(view.head.method_bytes());
        tell(view.head.authority());
        tell(view.head.path_and_query());
        for name in &self.headers {
            let values: Vec<_> = head.values_of(name.as_bytes()).collect();
            tell(&values.len().to_be_bytes());
            values.into_iter().for_each(&mut tell);
        }
        tell(body);
        Digest::of(&told)
    }

    /// What the service says by its answer; none where that is no decision: neither 2xx nor 4xx, or a head that is too long.
    pub fn decide(&self, head: &ResponseHead, body: Bytes) -> Option<Decision> {
        let fields = head.head();
        let length: usize = fields.fields().map(|field| field.raw.len() + field.value.len() + 4).sum();
        if length > ASK_HEAD_BYTES_MAX {
            return None;
        }
        match head.status() {
            200..=299 => {
                let joined = |name: &String| {
                    let values: Vec<_> =
                        fields.values_of(name.as_bytes()).map(String::from_utf8_lossy).collect();
                    // What is no text of a field is left out: it would be read as another one.
                    Some(values.join(", "))
                        .filter(|value| value.bytes().all(|b| matches!(b, b' '..=b'~')))
                        .unwrap_or_default()
                };
                let set = self.add.set.iter().map(joined).collect();
                Some(Decision::Allow(Edits { rules: Arc::clone(&self.add), set, add: Vec::new() }))
            }
            status @ 400..=499 => {
                let challenges = fields.values_of(b"www-authenticate").map(String::from_utf8_lossy);
                let challenges = challenges.filter(|value| value.bytes().all(|b| matches!(b, b' '..=b'~')));
                Some(Decision::Deny(LocalReply {
                    status,
                    content_type: fields.value(FieldName::ContentType).map_or_else(
                        || Bytes::from_static(b"text/plain; charset=utf-8"),
                        Bytes::copy_from_slice,
                    ),
                    fields: challenges.map(|value| ("www-authenticate", value.into_owned())).collect(),
                    body,
                }))
            }
            _ => None,
        }
    }

    /// What becomes of the request where the service says nothing: with `on_error = "allow"` it passes, without the fields
    /// that the service would have set.
    pub fn without_answer(&self) -> Result<Edits, ErrorReply> {
        match self.allows_on_error {
            true => {
                let set = self.add.set.iter().map(|_| String::new()).collect();
                Ok(Edits { rules: Arc::clone(&self.add), set, add: Vec::new() })
            }
            false => Err(ErrorReply::new(
                403,
                "forbidden",
                "Whether the request may pass could not be found out; try again later.",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{request, view};
    use super::*;
    use crate::codec::fields::FieldTable;
    use crate::codec::split::split_response;

    fn ask() -> Ask {
        Ask {
            addresses: Vec::new(),
            tls: None,
            resolves: None,
            host: "policy:9000".into(),
            target: "/allow?x=1".into(),
            headers: vec!["authorization".into(), "x-team".into()],
            body: 0,
            timeout: Duration::from_secs(1),
            add: Arc::new(EditRules { set: vec!["x-user".into(), "x-role".into()], ..EditRules::default() }),
            allows_on_error: false,
            cache: None,
        }
    }

    #[test]
    fn the_service_is_told_what_was_chosen() {
        let head = request(
            "PUT",
            "authorization: a\r\nX-Team: b\r\nx-team: c\r\ncookie: d\r\ncontent-type: text/x\r\ncontent-length: 9\r\n",
        );
        let mut out = Vec::new();
        ask().write(&mut out, &view(&head), b"");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "GET /allow?x=1 HTTP/1.1\r\nhost: policy:9000\r\nx-forwarded-method: PUT\r\nx-forwarded-uri: /v1/x\r\nx-forwarded-host: x\r\n\
             authorization: a\r\nx-team: b\r\nx-team: c\r\n\r\n"
        );
        let mut out = Vec::new();
        Ask { body: 3, ..ask() }.write(&mut out, &view(&head), b"abc");
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("POST ")
                && text.ends_with("content-type: text/x\r\ncontent-length: 3\r\n\r\nabc"),
            "{text}"
        );
    }

    #[test]
    fn an_answer_holds_for_the_same_question_only() {
        let question =
            |method: &str, fields: &str, body: &[u8]| ask().question(&view(&request(method, fields)), body);
        let one = question("GET", "x-team: a\r\n", b"");
        assert!(one.is(&question("GET", "X-TEAM: a\r\ncookie: x\r\n", b"")));
        for other in [
            question("POST", "x-team: a\r\n", b""),
            question("GET", "x-team: b\r\n", b""),
            question("GET", "authorization: a\r\n", b""),
            question("GET", "x-team: a\r\nx-team: a\r\n", b""),
            question("GET", "x-team: a\r\n", b"x"),
            question("GET", "", b"a"),
        ] {
            assert!(!one.is(&other));
        }
    }

    #[test]
    fn two_hundreds_allow_four_hundreds_deny_and_all_else_is_no_answer() {
        let decided = |text: &str| {
            let head = split_response(Bytes::from(format!("HTTP/1.1 {text}\r\n\r\n")), FieldTable::default())
                .unwrap();
            ask().decide(&head, Bytes::from_static(b"no"))
        };
        let Some(Decision::Allow(edits)) = decided("204 X\r\nX-User: ada\r\nx-user: bob\r\nx-other: y")
        else {
            panic!()
        };
        assert_eq!(edits.set, ["ada, bob", ""]);
        let Some(Decision::Deny(reply)) =
            decided("401 X\r\ncontent-type: text/x\r\nwww-authenticate: Basic\r\nset-cookie: a")
        else {
            panic!()
        };
        assert_eq!(
            (reply.status, &reply.content_type[..], &reply.body[..]),
            (401, &b"text/x"[..], &b"no"[..])
        );
        assert_eq!(reply.fields, [("www-authenticate", "Basic".to_owned())]);
        for text in [
            "302 X\r\nlocation: /",
            "500 X",
            "503 X",
            &format!("200 X\r\nx-long: {}", "x".repeat(ASK_HEAD_BYTES_MAX)),
        ] {
            assert!(decided(text).is_none(), "{}", &text[..9.min(text.len())]);
        }
        assert_eq!(ask().without_answer().unwrap_err().status, 403);
        let passing = Ask { allows_on_error: true, ..ask() }.without_answer().unwrap();
        assert_eq!(passing.set, ["", ""], "the client's own copies do not travel");
    }
}
