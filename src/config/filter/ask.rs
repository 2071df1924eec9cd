//! `kind = "ask"`: whom to ask whether a request may pass, and what to tell.

use std::time::Duration;

use super::token::token;
use crate::base::limits::ASK_BODY_TOLD_MAX;
use crate::base::problem::Placed;
use crate::codec::edit::{Side, is_editable};
use crate::config::reader::Table;
use crate::config::table::table;
use crate::config::url::EndpointUrl;
use crate::config::values::text_setting;

table! {
    /// `kind = "ask"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct AskConfig checked by check_ask {
        /// "ask": has a service decide: 2xx lets a request pass, 4xx is its answer, anything else is an error.
        kind: String = key("kind", Choice(&["ask"]), Required("nobody could know what it does", "\"ask\"")),
        /// Where it is asked, with GET, or with POST where it is told of the body: "http://host:port/path", the
        /// same at https://, or "unix:/path/of/socket:/path".
        url: Placed<AskUrl> = key("url", Text, Required("nobody could be asked", "\"http://127.0.0.1:9000/allow\"")),
        /// Fields of the request that it is told, beside x-forwarded-method, -uri, -host and -for.
        headers: Vec<String> = key("headers", List(&Form(token)), Is("['authorization']")),
        /// How much of the body it is told, from its first byte on.
        body: usize = key("body", Size(0, ASK_BODY_TOLD_MAX), Is("'0B'")),
        /// How long it has.
        timeout: Duration = key("timeout", Finite(INSTANT, "a request could wait for ever"), Is("'1s'")),
        /// Fields of its answer that travel upstream; the client's own copies never do.
        add: Vec<String> = key("add", List(&Form(token)), Absent),
        /// What becomes of requests where it does not answer: "deny" for 403, or "allow".
        on_error: String = key("on_error", Choice(&["deny", "allow"]), Is("'deny'")),
        /// How long its answers hold for requests that it would be told the same of.
        cache: Option<Duration> = key("cache", Or("none", &Time(INSTANT)), Is("'none'")),
    }
}

/// Where a service is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct AskUrl {
    /// Where it listens; what stands behind that is the target.
    pub at: EndpointUrl,
    /// Path and query.
    pub target: String,
    /// As it was written.
    pub text: String,
}

impl AskUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let fix = || {
            "write \"http://host:port/path\", the same at https://, or \"unix:/path/of/socket:/path\""
                .to_owned()
        };
        // What stands behind the place is taken off: a query may stand in it, which no endpoint's URL has.
        let (place, target) = match text.strip_prefix("unix:") {
            Some(rest) => {
                let (path, target) = rest.rsplit_once(":/").ok_or_else(fix)?;
                (format!("unix:{path}"), format!("/{target}"))
            }
            None => {
                let (scheme, rest) = text.split_once("://").ok_or_else(fix)?;
                let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                let slash = if target.starts_with('/') { "" } else { "/" };
                (format!("{scheme}://{authority}"), format!("{slash}{target}"))
            }
        };
        if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(fix());
        }
        let at = EndpointUrl::parse(&place).map_err(|error| format!("{}: {}", error.why, fix()))?;
        Ok(Self { at, target, text: text.to_owned() })
    }
}

text_setting!(AskUrl, read by |value| value.parsed(AskUrl::parse), shown by |url| url.text.clone());

fn check_ask(table: &Table<'_, '_>, ask: &AskConfig) {
    for name in ask.add.iter().filter(|name| !is_editable(name.as_bytes(), Side::Request)) {
        table.complain(
            format!("an ask filter adds \"{name}\""),
            "it frames messages, belongs to one connection, or is written by the gateway itself",
            "leave it out",
        );
    }
}
