//! Who may use the admin API: no web page under a name of its own, nobody without the token where there is one.
//!
//! A page that an operator happens to visit can make his browser send requests here: across sites, where only POST does
//! harm, or by letting a name of its own point here, where all of it could be read. Browsers say which page asks and
//! which host it believes to talk to; neither can be forged by a page.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::base::secret::Secret;
use crate::codec::field::FieldName;
use crate::codec::head::RequestHead;
use crate::codec::method::Method;
use crate::config::ServerConfig;

/// What a request came over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// TCP.
    Network,
    /// A Unix socket, which no browser reaches.
    UnixSocket,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its Host is a name that nobody gave to this API.
    ForeignHost,
    /// A page of another site sent it.
    ForeignPage,
    /// It does not show the token.
    NoToken,
}

/// Whether a request may be carried out. Probes may always, the metrics under any name.
pub(super) fn judge(head: &RequestHead, over: Over, server: &ServerConfig) -> Result<(), Refusal> {
    let path = head.path();
    let is_probe = matches!(path, b"/livez" | b"/readyz");
    if !is_probe && path != b"/metrics" && over == Over::Network && !names_us(head, &server.admin_hosts) {
        return Err(Refusal::ForeignHost);
    }
    if head.method() == Method::Post && !is_of_our_own_page(head) {
        return Err(Refusal::ForeignPage);
    }
    match &server.admin_token {
        Some(token) if !is_probe && !shows(head, token) => Err(Refusal::NoToken),
        Some(_) | None => Ok(()),
    }
}

/// Whether the host that the client believes to talk to is an IP literal, `localhost`, or one of `hosts`; ports are left
/// out. HTTP/1.0 need not name any, and browsers do not speak it.
fn names_us(head: &RequestHead, hosts: &[String]) -> bool {
    let authority = head.authority();
    if authority.is_empty() {
        return !head.head().has(FieldName::Host);
    }
    let Ok(authority) = std::str::from_utf8(authority) else { return false };
    if let Some(literal) = authority.strip_prefix('[') {
        return literal.split_once(']').is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok());
    }
    let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let is_named = |name: &String| match name.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => host == name,
    };
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok() || hosts.iter().any(is_named)
}

/// Whether no page sent it, or one that came from here (Fetch Standard §3.2; Fetch Metadata §2.3).
fn is_of_our_own_page(head: &RequestHead) -> bool {
    let own = [b"http://", head.authority()].concat();
    let mut origins = head.head().values_of(b"origin");
    let mut sites = head.head().values_of(b"sec-fetch-site");
    origins.all(|origin| origin.eq_ignore_ascii_case(&own))
        && sites.all(|site| matches!(site, b"same-origin" | b"none"))
}

/// Whether it shows the token: as a bearer (RFC 6750 §2.1), or as the password of Basic with any name (RFC 7617 §2).
fn shows(head: &RequestHead, token: &Secret) -> bool {
    let mut credentials = head.head().values_of(b"authorization");
    let (Some(credential), None) = (credentials.next(), credentials.next()) else { return false };
    let space = credential.iter().position(|byte| *byte == b' ').unwrap_or(credential.len());
    let (scheme, claimed) = credential.split_at(space);
    let claimed = claimed.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return token.is(claimed);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return false;
    }
    let Ok(pair) = STANDARD.decode(claimed) else { return false };
    let colon = pair.iter().position(|byte| *byte == b':');
    colon.is_some_and(|colon| token.is(&pair[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::codec::progress::Progress;
    use crate::codec::request::{RequestEvent, RequestReader};
    use crate::config::Config;

    fn head(text: &str) -> RequestHead {
        let mut input = BytesMut::from(text.as_bytes());
        match RequestReader::new(4096).next(&mut input) {
            Ok(Progress::Ready(RequestEvent::Head(head))) => head,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn server(token: Option<&str>) -> ServerConfig {
        let mut server = Config::default().server;
        server.admin_hosts = vec!["gate.example".to_owned(), "*.ops.example".to_owned()];
        server.admin_token = token.map(Secret::new);
        server
    }

    #[test]
    fn a_name_that_nobody_gave_to_the_api_is_refused() {
        let judged = |target: &str, host: &str, over| {
            judge(&head(&format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")), over, &server(None))
        };
        for (host, good) in [
            ("127.0.0.1:9901", true),
            ("10.1.2.3", true),
            ("[::1]:9901", true),
            ("localhost", true),
            ("LOCALHOST.:1", true),
            ("gate.example:9901", true),
            ("Gate.Example.", true),
            ("a.ops.example", true),
            ("a.b.ops.example:1", true),
            ("ops.example", false),
            ("xops.example", false),
            ("x.gate.example", false),
            ("rebind.example", false),
            ("127.0.0.1.rebind.example", false),
            ("x.localhost", false),
            ("2130706433", false),
        ] {
            let expected = if good { Ok(()) } else { Err(Refusal::ForeignHost) };
            assert_eq!(judged("/config", host, Over::Network), expected, "{host}");
            assert_eq!(judged("/config", host, Over::UnixSocket), Ok(()), "{host}");
            assert_eq!(judged("/metrics", host, Over::Network), Ok(()), "{host}");
            // An absolute target names the host, whatever stands in Host (RFC 9112 §3.2.2).
            let absolute = format!("http://{host}/config");
            assert_eq!(judged(&absolute, "127.0.0.1", Over::Network), expected, "{host}");
        }
        let old = |host: &str| {
            judge(&head(&format!("GET /config HTTP/1.0\r\n{host}\r\n")), Over::Network, &server(None))
        };
        assert_eq!((old(""), old("host: a.example\r\n")), (Ok(()), Err(Refusal::ForeignHost)));
    }

    #[test]
    fn only_a_page_of_our_own_may_change_something() {
        for (fields, good) in [
            ("", true),
            ("origin: http://127.0.0.1:9901\r\nsec-fetch-site: same-origin\r\n", true),
            ("sec-fetch-site: none\r\n", true),
            ("origin: https://127.0.0.1:9901\r\n", false),
            ("origin: http://127.0.0.1:80\r\n", false),
            ("origin: null\r\n", false),
            ("origin: http://127.0.0.1:9901\r\norigin: http://evil.example\r\n", false),
            ("sec-fetch-site: cross-site\r\n", false),
            ("sec-fetch-site: same-site\r\n", false),
            ("origin: http://127.0.0.1:9901\r\nsec-fetch-site: cross-site\r\n", false),
        ] {
            let request = |method: &str| {
                head(&format!("{method} /reload HTTP/1.1\r\nhost: 127.0.0.1:9901\r\n{fields}\r\n"))
            };
            let expected = if good { Ok(()) } else { Err(Refusal::ForeignPage) };
            assert_eq!(judge(&request("POST"), Over::Network, &server(None)), expected, "{fields}");
            assert_eq!(judge(&request("GET"), Over::Network, &server(None)), Ok(()), "{fields}");
        }
    }

    #[test]
    fn the_token_is_asked_for_but_by_probes() {
        let judged = |path: &str, fields: &str| {
            let head = head(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n"));
            judge(&head, Over::UnixSocket, &server(Some("s3:cret"))).is_ok()
        };
        let basic = |pair: &str| format!("authorization: Basic {}\r\n", STANDARD.encode(pair));
        for (fields, good) in [
            ("authorization: Bearer s3:cret\r\n".to_owned(), true),
            ("authorization: bearer   s3:cret\r\n".to_owned(), true),
            (basic("anybody:s3:cret"), true),
            (basic(":s3:cret"), true),
            (String::new(), false),
            ("authorization: Bearer\r\n".to_owned(), false),
            ("authorization: Bearer s3:cre\r\n".to_owned(), false),
            ("authorization: s3:cret\r\n".to_owned(), false),
            ("authorization: Digest s3:cret\r\n".to_owned(), false),
            (basic("s3:cret"), false),
            ("authorization: Basic !\r\n".to_owned(), false),
            (basic("a:s3:cret").repeat(2), false),
        ] {
            assert_eq!(judged("/stats", &fields), good, "{fields}");
            assert_eq!(judged("/metrics", &fields), good, "{fields}");
            assert!(judged("/livez", &fields) && judged("/readyz?route=x", &fields));
        }
    }
}
