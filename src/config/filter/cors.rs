//! `kind = "cors"`: what answers say to browsers.

use std::time::Duration;

use super::token::token;
use crate::config::reader::Table;
use crate::config::table::table;

table! {
    /// `kind = "cors"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct CorsConfig checked by check_cors {
        /// "cors": lets pages of other origins read answers, refusals too, and answers their preflights with 204, before any
        /// other filter; what an endpoint says of it itself is replaced.
        kind: String = key("kind", Choice(&["cors"]), Required("nobody could know what it does", "\"cors\"")),
        /// Origins of such pages: exact, "https://*.example", or "*" alone for all.
        origins: Vec<String> = key(
            "origins",
            NonEmpty(&Form(origin), "no page could read an answer", "add \"https://app.example\", or remove the filter"),
            Required("no page could read an answer", "[\"https://app.example\"]")
        ),
        /// Methods that they may use.
        methods: Vec<String> = key("methods", List(&Form(token)), Is("['GET', 'POST']")),
        /// Fields that they may send.
        headers: Vec<String> = key("headers", List(&Form(token)), Is("['authorization', 'content-type']")),
        /// Fields of answers that they may read, beside the usual ones.
        expose: Vec<String> = key("expose", List(&Form(token)), Is("['x-request-id']")),
        /// Whether their requests may carry cookies and the like; not with "*".
        credentials: bool = key("credentials", Truth, Is("false")),
        /// How long a browser may remember the answer to a preflight.
        max_age: Duration = key("max_age", Finite(Duration::ZERO, "a browser asks for a number of seconds"), Is("'10m'")),
    }
}

/// An origin (RFC 6454 §6.2), in the form in which browsers send it.
fn origin(text: &str) -> Result<String, String> {
    let fix = "write it as browsers send it, such as \"https://app.example\", \"https://*.example\" or \"*\"";
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = authority.map(|authority| authority.strip_prefix("*.").unwrap_or(authority));
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b);
    let is_origin = |host: &str| !host.is_empty() && host.bytes().all(is_plain);
    match text == "*" || host.is_some_and(is_origin) {
        true => Ok(text.to_owned()),
        false => Err(fix.to_owned()),
    }
}

fn check_cors(table: &Table<'_, '_>, cors: &CorsConfig) {
    if !cors.origins.iter().any(|origin| origin == "*") {
        return;
    }
    if cors.credentials {
        table.complain(
            "a cors filter is for all origins and has `credentials`",
            "any page could act for whoever visits it; browsers refuse it",
            "name the origins, or remove `credentials`",
        );
    }
    if cors.origins.len() > 1 {
        table.complain(
            "a cors filter has \"*\" beside other origins",
            "all are allowed by it, and the others say nothing",
            "leave \"*\" out, or the others",
        );
    }
}
