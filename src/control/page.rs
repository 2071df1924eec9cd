//! The dashboard: one page with its style and its script in it, and a policy that lets it do nothing else.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::base::digest::Digest;
use crate::codec::reply::LocalReply;

const PAGE: &str = include_str!("dashboard/page.html");
const STYLE: &str = include_str!("dashboard/style.css");
const SCRIPT: &str = include_str!("dashboard/script.js");

/// The page and its policy.
static WHOLE: LazyLock<(Bytes, String)> = LazyLock::new(|| {
    let page = PAGE.replace("/* style */", STYLE).replace("/* script */", SCRIPT);
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Digest::of(text.as_bytes()).bytes()));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    (page.into(), policy)
});

/// The answer to `GET /`.
pub(super) fn page() -> LocalReply {
    let (page, policy) = &*WHOLE;
    let fields = [
        ("content-security-policy", policy.as_str()),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ];
    LocalReply {
        status: 200,
        content_type: Bytes::from_static(b"text/html; charset=utf-8"),
        fields: fields.map(|(name, value)| (name, value.to_owned())).to_vec(),
        body: page.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_asks_nobody_else() {
        let page = page();
        let text = std::str::from_utf8(&page.body).unwrap();
        assert!(text.contains(STYLE) && text.contains(SCRIPT) && !text.contains("/* style */"));
        // Attributes with code or style in them would need a policy that lets any of them in.
        for forbidden in ["http:", "https:", " style=", " onclick=", " onload=", "innerHTML", "eval("] {
            let found = text.replace("http://www.w3.org/2000/svg", "").find(forbidden);
            assert_eq!(found, None, "{forbidden}");
        }
    }
}
