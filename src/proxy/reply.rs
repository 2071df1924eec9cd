//! Fault to answer: status, code and words of everything the gateway refuses, in one table.

use std::time::Duration;

use bytes::Bytes;

use crate::base::fault::{Fault, FaultKind, Sent, Stage};
use crate::base::limits::PIECE_MESSAGE_CHARS_MAX;
use crate::codec::error::CodecError;
use crate::codec::reply::{ErrorReply, LocalReply};
use crate::route::{RouteTable, Unclear};

fn error(status: u16, code: &'static str, message: impl Into<Box<str>>) -> ErrorReply {
    ErrorReply::new(status, code, message)
}

/// The answer to a client whose message breaks HTTP/1.1 or a limit.
pub(super) fn of_codec(broken: CodecError) -> ErrorReply {
    let (code, hint) = match broken.status() {
        431 => ("head_too_large", "send fewer or shorter header fields"),
        414 => ("uri_too_long", "send a shorter target"),
        501 => ("not_implemented", "send the body with Content-Length or chunked"),
        _ => ("bad_request", "send a well-formed HTTP/1.1 message"),
    };
    error(broken.status(), code, format!("The request was refused: {broken}; {hint}."))
}

/// The answer to a request whose path breaks the rules, or that may be read in several ways.
pub(super) fn unclear(unclear: Unclear, table: &RouteTable) -> ErrorReply {
    match unclear {
        Unclear::Path => error(
            400,
            "bad_request",
            "The path was refused: dot segments, backslashes and broken escapes are not allowed, nor encoded slashes, two slashes in a row or `;` where they could lead to another route; send the plain path.",
        ),
        Unclear::Header(field) => {
            let name = table.judged().get(field).map_or("", String::as_str);
            let message = format!(
                "The header {name} comes more than once, with values of different routes; send it once."
            );
            ErrorReply { param: Some(name.into()), ..error(400, "bad_request", message) }
        }
    }
}

/// The answer where no route fits.
pub(super) fn no_route() -> ErrorReply {
    error(404, "route_not_found", "No route has this host and path; check the URL.")
}

/// The answer where a route fits but for its method.
pub(super) fn other_methods(methods: &[String]) -> ErrorReply {
    let allow = methods.join(", ");
    let message = format!("This path does not take this method; use one of: {allow}.");
    ErrorReply { fields: vec![("allow", allow)], ..error(405, "method_not_allowed", message) }
}

/// The answer to CONNECT and TRACE.
pub(super) fn method_not_implemented() -> ErrorReply {
    error(501, "not_implemented", "CONNECT and TRACE are not implemented by this gateway.")
}

/// The answer to a request that runs in a circle (RFC 5842 §7.2; RFC 9209 §2.3.9).
pub(super) fn loop_detected() -> ErrorReply {
    ErrorReply {
        proxy_status: Some("proxy_loop_detected"),
        ..error(
            508,
            "loop_detected",
            "The request passed this gateway too often; an endpoint leads back to it.",
        )
    }
}

/// An answer that says all in its head: to a preflight, and to OPTIONS that may be forwarded no further, for we are its
/// recipient (RFC 9110 §7.6.2).
pub(super) fn nothing() -> LocalReply {
    LocalReply { status: 204, content_type: Bytes::new(), fields: Vec::new(), body: Bytes::new() }
}

/// The answer to any expectation but `100-continue`.
pub(super) fn expectation() -> ErrorReply {
    error(
        417,
        "expectation_failed",
        "The only expectation this gateway meets is 100-continue; leave the Expect field out.",
    )
}

/// The answer to a model that no route serves.
pub(super) fn no_model() -> ErrorReply {
    let message = "No route serves this model; check its name.";
    ErrorReply { param: Some("model".into()), ..error(404, "model_not_found", message) }
}

/// The answer to a model that no endpoint lists.
pub(super) fn not_listed() -> ErrorReply {
    let message = "No AI system here serves this model; check its name.";
    ErrorReply { param: Some("model".into()), ..error(404, "model_not_found", message) }
}

/// The answer where no body can be held any more.
pub(super) fn buffers_full() -> ErrorReply {
    ErrorReply {
        should_retry: Some(true),
        retry_after: Some(Duration::from_secs(1)),
        ..error(503, "buffers_full", "The gateway holds as many request bodies as it may; try again.")
    }
}

/// The same where some of the request was sent on already.
pub(super) fn buffers_full_midway() -> ErrorReply {
    ErrorReply { should_retry: Some(false), ..buffers_full() }
}

/// The answer in the place of one that is too long to be gathered with others.
pub(super) fn answer_too_large() -> ErrorReply {
    ErrorReply {
        should_retry: Some(false),
        ..error(
            502,
            "answer_too_large",
            "The AI system's answer is longer than what is gathered here; ask it alone.",
        )
    }
}

/// The answer in the place of one whose head has no place for what is added to it.
pub(super) fn head_too_long() -> ErrorReply {
    error(502, "upstream_invalid", "The AI system's answer has more fields than can be passed on here.")
}

/// The answer to all whose common answer cannot be taken apart, or put together.
pub(super) fn unfit(why: &str) -> ErrorReply {
    let message = format!("The AI system's answer to several requests cannot be told to each: {why}.");
    ErrorReply { should_retry: Some(false), ..error(502, "upstream_invalid", message) }
}

/// The answer to a request of which a piece was refused with that status: what the engine says of it.
pub(super) fn of_piece(status: u16, body: &[u8]) -> ErrorReply {
    of_engine(status, body, "refused some of the items")
}

/// The answer to a request that was refused with that status, and otherwise than an error is told: what the engine says of it.
pub(super) fn of_answer(status: u16, body: &[u8]) -> ErrorReply {
    of_engine(status, body, "refused the request")
}

/// An engine's own words, where they are an error as OpenAI's clients know it, on one line.
pub(super) fn own_error(body: &[u8]) -> Option<Bytes> {
    let told: serde_json::Value = serde_json::from_slice(body).ok()?;
    told.get("error")?.is_object().then(|| Bytes::from(told.to_string()))
}

/// The answer where another one than a stream came to somebody who was told that one comes.
pub(super) fn no_stream() -> ErrorReply {
    let message = "The AI system gave no event stream; ask it without `stream`.";
    ErrorReply { should_retry: Some(false), ..error(502, "upstream_invalid", message) }
}

fn of_engine(status: u16, body: &[u8], did: &str) -> ErrorReply {
    let told: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let words = [&told["error"]["message"], &told["message"], &told["error"], &told["detail"]];
    let said = words.into_iter().find_map(|said| said.as_str()).unwrap_or("it gave no reason");
    let said: String = said.chars().take(PIECE_MESSAGE_CHARS_MAX).collect();
    let (status, code) = match status {
        401 => (401, "unauthorized"),
        403 => (403, "forbidden"),
        404 => (404, "model_not_found"),
        413 => (413, "body_too_large"),
        429 => (429, "rate_limited"),
        400..500 => (status, "invalid_body"),
        _ => (502, "upstream_invalid"),
    };
    error(status, code, format!("The AI system {did}: {said}"))
}

/// The answer to a body that is no envelope of several requests.
pub(super) fn no_envelope(why: &str) -> ErrorReply {
    let message = format!(
        "The body must be a JSON array of requests, or lines of an OpenAI batch file by its type (application/jsonl): {why}."
    );
    error(400, "invalid_body", message)
}

/// The answer to more requests in one than allowed.
pub(super) fn too_many_in_one(most: usize) -> ErrorReply {
    error(400, "too_many_requests_in_one", format!("At most {most} requests may be sent in one; send fewer."))
}

/// The answer to several requests in one that are themselves one of several.
pub(super) fn multi_in_multi() -> ErrorReply {
    error(400, "invalid_body", "Several requests in one cannot stand among several; send them by themselves.")
}

/// The answer where too few of several clusters gave a good one.
pub(super) fn quorum_failed() -> ErrorReply {
    error(502, "quorum_failed", "Too few AI systems gave a good answer; their answers are below.")
}

/// The answer to a body longer than the route allows.
pub(super) fn body_too_large() -> ErrorReply {
    error(413, "body_too_large", "The request body is longer than allowed here; send a shorter one.")
}

/// The answer to a request with more items than are asked for in pieces.
pub(super) fn too_many_pieces(items: &str) -> ErrorReply {
    let message =
        "The request has too many items, or says too much beside them; send them in several requests.";
    ErrorReply { param: Some(items.into()), ..error(413, "body_too_large", message) }
}

/// The answer to a head or body that comes too slowly, of which `sent` went upstream.
pub(super) fn too_slow(sent: Sent) -> ErrorReply {
    ErrorReply {
        should_retry: Some(sent == Sent::Nothing),
        ..error(408, "request_timeout", "The request did not arrive in time; send it again, faster.")
    }
}

/// The answer to a fault.
///
/// `x-should-retry` is true only where the upstream cannot have executed anything.
pub(super) fn of_fault(fault: &Fault) -> ErrorReply {
    let untouched = fault.sent == Sent::Nothing;
    let upstream = |status, code, message: &str, proxy_status| ErrorReply {
        proxy_status: Some(proxy_status),
        should_retry: Some(untouched),
        ..error(status, code, message)
    };
    match (fault.kind, fault.stage) {
        (FaultKind::NoEndpoint, _) => ErrorReply {
            should_retry: Some(true),
            ..error(503, "no_endpoint", "No endpoint is available for this request; try again later.")
        },
        (FaultKind::NotListed, _) => not_listed(),
        (FaultKind::QueueFull, _) => ErrorReply {
            should_retry: Some(true),
            ..error(429, "queue_full", "The AI system has as many requests as it may; try again later.")
        },
        (FaultKind::QueueTimeout, _) => {
            ErrorReply { should_retry: Some(true), ..error(503, "queue_timeout", NO_PLACE) }
        }
        (FaultKind::NoDescriptors, _) => ErrorReply {
            should_retry: Some(true),
            retry_after: Some(Duration::from_secs(1)),
            ..error(503, "no_descriptors", NO_DESCRIPTORS)
        },
        (FaultKind::Refused, _) => upstream(
            502,
            "upstream_connect",
            "The AI system did not accept a connection; try again later.",
            "connection_refused",
        ),
        (FaultKind::Untrusted, _) => upstream(502, "upstream_connect", UNTRUSTED, "tls_protocol_error"),
        (FaultKind::Timeout, Stage::Connect) => upstream(
            504,
            "upstream_timeout",
            "The AI system did not accept a connection in time; try again later.",
            "connection_timeout",
        ),
        (FaultKind::Timeout, _) => upstream(
            504,
            "upstream_timeout",
            "The AI system did not answer in time; the request may have been executed.",
            "http_response_timeout",
        ),
        (FaultKind::Reset, _) => upstream(502, "upstream_reset", reset(fault.sent), "connection_terminated"),
        (FaultKind::Truncated, _) => {
            upstream(502, "upstream_reset", "The AI system broke off its answer.", "http_response_incomplete")
        }
        (FaultKind::Invalid, _) => upstream(502, "upstream_invalid", INVALID, "http_protocol_error"),
        (FaultKind::TooSlow, _) => too_slow(fault.sent),
        // Nobody is left to read it.
        (FaultKind::ClientLeft | FaultKind::ClientSlow, _) => {
            error(400, "bad_request", "The client left before its answer.")
        }
        (FaultKind::BodyTooLarge, _) => body_too_large(),
        (FaultKind::BadMessage, _) => {
            error(400, "bad_request", "The request was refused; send a well-formed HTTP/1.1 message.")
        }
        (FaultKind::Draining, _) => ErrorReply {
            should_retry: Some(true),
            retry_after: Some(Duration::from_secs(1)),
            ..error(503, "draining", "The gateway is shutting down; try again.")
        },
    }
}

/// Why an answer broke off in whose place `refusal` would have been told, had it not begun.
pub(super) fn broke_off(refusal: &ErrorReply) -> FaultKind {
    match refusal.code {
        "upstream_timeout" => FaultKind::Timeout,
        "upstream_invalid" => FaultKind::Invalid,
        _ => FaultKind::Truncated,
    }
}

const INVALID: &str = "The AI system's answer breaks HTTP/1.1; the request may have been executed.";
const NO_DESCRIPTORS: &str = "The gateway cannot open another connection now; try again.";
const NO_PLACE: &str = "The AI system had no place for this request in time; try again later.";
const UNTRUSTED: &str = "No trusted connection to the AI system could be made; try again later.";

/// What a connection that ended before the answer means for the request.
fn reset(sent: Sent) -> &'static str {
    match sent {
        Sent::Nothing => "The AI system closed the connection before it read the request; try again.",
        Sent::Partly | Sent::Wholly => {
            "The AI system closed the connection before it answered; the request may have been executed."
        }
    }
}

/// The same, with the time after which trying again makes sense, if it is known.
pub(super) fn within(refusal: ErrorReply, wait: Option<Duration>) -> ErrorReply {
    ErrorReply { retry_after: wait.or(refusal.retry_after), ..refusal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_retry_only_what_was_never_executed() {
        let retry = |stage, kind, sent| of_fault(&Fault::upstream(stage, kind, sent)).should_retry;
        assert_eq!(retry(Stage::Connect, FaultKind::Refused, Sent::Nothing), Some(true));
        assert_eq!(retry(Stage::Wait, FaultKind::Reset, Sent::Wholly), Some(false));
        assert_eq!(retry(Stage::Send, FaultKind::Reset, Sent::Partly), Some(false));
        // What is said does not contradict it.
        let says = |sent| of_fault(&Fault::upstream(Stage::Wait, FaultKind::Reset, sent)).message;
        assert!(says(Sent::Nothing).contains("try again") && !says(Sent::Nothing).contains("executed"));
        assert!(says(Sent::Wholly).contains("may have been executed"));
        assert_eq!(retry(Stage::Wait, FaultKind::Timeout, Sent::Wholly), Some(false));
    }
}
