//! `kind = "cors"`: which pages of which origins a browser lets read answers (Fetch Standard §3.3). It refuses nobody: a browser
//! does, by what an answer says.

use crate::base::glob::{Case, Glob};
use crate::codec::encode::Dress;
use crate::codec::head::RequestHead;
use crate::codec::method::Method;

/// What answers say to browsers.
#[derive(Debug, Clone, PartialEq)]
pub struct Cors {
    /// Whose pages may read answers.
    pub origins: Origins,
    /// `access-control-allow-methods`.
    pub methods: String,
    /// `access-control-allow-headers`; nothing is said where it is empty.
    pub headers: String,
    /// `access-control-expose-headers`; nothing is said where it is empty.
    pub expose: String,
    /// Whether requests may carry what the browser knows of the user.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight, in seconds.
    pub max_age: u64,
}

/// Whose pages may read answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Origins {
    /// Everybody's: all get the same answer, `*`.
    All,
    /// Those that fit one of these.
    These(Vec<Glob>),
}

/// The method that a preflight asks for: OPTIONS with `origin` and `access-control-request-method` (Fetch §3.3.2).
pub fn preflight(head: &RequestHead) -> Option<&[u8]> {
    if head.method() != Method::Options {
        return None;
    }
    let mut asked = head.head().values_of(b"access-control-request-method");
    asked.next().filter(|method| !method.is_empty() && asked.next().is_none() && origin(head).is_some())
}

/// Where the page is from, if the request says so, once.
fn origin(head: &RequestHead) -> Option<&[u8]> {
    let mut origins = head.head().values_of(b"origin");
    origins.next().filter(|_| origins.next().is_none())
}

impl Cors {
    /// What the answer to a preflight says.
    pub fn of_preflight(&self, head: &RequestHead) -> Dress {
        let mut dress = self.dress(head);
        if dress.is_allowed() {
            dress.say("access-control-allow-methods", &self.methods);
            dress.say("access-control-allow-headers", &self.headers);
            dress.say("access-control-max-age", &self.max_age.to_string());
        }
        dress
    }

    /// What any other answer says. What the endpoint says of these itself does not count: two answers to one question make a
    /// browser refuse both.
    pub fn of_answer(&self, head: &RequestHead) -> Dress {
        let mut dress = self.dress(head);
        if dress.is_allowed() {
            dress.say("access-control-expose-headers", &self.expose);
        }
        dress
    }

    fn dress(&self, head: &RequestHead) -> Dress {
        let mut dress = Dress { drops: vec!["access-control-"], ..Dress::default() };
        let origin = origin(head).and_then(|origin| std::str::from_utf8(origin).ok());
        match &self.origins {
            Origins::All => dress.say(ALLOWED, "*"),
            Origins::These(globs) => {
                let fits =
                    |origin: &&str| globs.iter().any(|glob| glob.fits(origin.as_bytes(), Case::Sensitive));
                if let Some(origin) = origin.filter(fits) {
                    dress.say(ALLOWED, origin);
                    dress.say("access-control-allow-credentials", if self.credentials { "true" } else { "" });
                }
                // Also where nothing is allowed: a cache must not give that answer to a page that is.
                dress.say("vary", "origin");
            }
        }
        dress
    }
}

const ALLOWED: &str = "access-control-allow-origin";

impl Dress {
    /// Says something, if there is anything to say.
    fn say(&mut self, name: &'static str, value: &str) {
        if !value.is_empty() {
            self.fields.push((name, value.to_owned()));
        }
    }

    fn is_allowed(&self) -> bool {
        self.fields.iter().any(|(name, _)| *name == ALLOWED)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{head, request};
    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        let origins = match origins {
            ["*"] => Origins::All,
            some => Origins::These(some.iter().map(|origin| Glob::new(origin)).collect()),
        };
        let (methods, headers, expose) = ("GET, POST".into(), "authorization".into(), "x-request-id".into());
        Cors { origins, methods, headers, expose, credentials, max_age: 600 }
    }

    fn said(dress: &Dress) -> String {
        dress.fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    #[test]
    fn an_origin_that_is_allowed_is_named_and_no_other() {
        let known = &["https://app.example", "https://*.example.org"][..];
        let expose = "access-control-expose-headers: x-request-id\n";
        for (origin, allowed) in [
            ("https://app.example", true),
            ("https://a.b.example.org", true),
            ("https://APP.example", false),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil", false),
            ("https://evilapp.example", false),
            ("https://example.org", false),
            ("https://evil.example.org.evil", false),
            ("null", false),
            ("*", false),
            ("", false),
        ] {
            let head = head(&format!("origin: {origin}\r\n"));
            let expected = match allowed {
                true => format!("access-control-allow-origin: {origin}\nvary: origin\n{expose}"),
                false => "vary: origin\n".to_owned(),
            };
            assert_eq!(said(&cors(known, false).of_answer(&head)), expected, "{origin}");
        }
        assert_eq!(said(&cors(known, false).of_answer(&head(""))), "vary: origin\n");
        let two = head("origin: https://app.example\r\norigin: https://app.example\r\n");
        assert_eq!(said(&cors(known, false).of_answer(&two)), "vary: origin\n");
        let with = cors(known, true).of_answer(&head("origin: https://app.example\r\n"));
        assert!(said(&with).contains("access-control-allow-credentials: true\n"));
        // Where everybody's pages may, all are told the same.
        let all = format!("access-control-allow-origin: *\n{expose}");
        assert_eq!(said(&cors(&["*"], false).of_answer(&head("origin: https://x\r\n"))), all);
    }

    #[test]
    fn a_preflight_is_told_by_its_method_and_both_fields() {
        let of = |method: &str, fields: &str| preflight(&request(method, fields)).map(<[u8]>::to_vec);
        let (origin, asked) = ("origin: https://a\r\n", "access-control-request-method: PUT\r\n");
        assert_eq!(of("OPTIONS", &format!("{origin}{asked}")), Some(b"PUT".to_vec()));
        for (method, fields) in [
            ("GET", format!("{origin}{asked}")),
            ("OPTIONS", origin.to_owned()),
            ("OPTIONS", asked.to_owned()),
            ("OPTIONS", format!("{origin}{asked}{asked}")),
            ("OPTIONS", format!("{origin}{origin}{asked}")),
            ("OPTIONS", format!("{origin}access-control-request-method:\r\n")),
        ] {
            assert_eq!(of(method, &fields), None, "{method} {fields}");
        }
        let told =
            said(&cors(&["https://a"], false).of_preflight(&request("OPTIONS", &format!("{origin}{asked}"))));
        assert_eq!(
            told,
            "access-control-allow-origin: https://a\nvary: origin\naccess-control-allow-methods: GET, POST\n\
             access-control-allow-headers: authorization\naccess-control-max-age: 600\n"
        );
    }
}
