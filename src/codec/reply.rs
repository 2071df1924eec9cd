//! An answer that the gateway writes itself, as data.

use std::time::Duration;

use bytes::Bytes;

/// A complete answer of our own.
#[derive(Debug, Clone)]
pub struct LocalReply {
    /// The status, 200 to 599.
    pub status: u16,
    /// The media type of the body.
    pub content_type: Bytes,
    /// Further fields, names in lower case.
    pub fields: Vec<(&'static str, String)>,
    /// The whole body.
    pub body: Bytes,
}

/// An error in the shape that OpenAI clients parse (CONTRACT §3).
#[derive(Debug, Clone)]
pub struct ErrorReply {
    /// The status.
    pub status: u16,
    /// The machine-readable code.
    pub code: &'static str,
    /// What happened and what to do, for a person. Names nothing internal.
    pub message: Box<str>,
    /// `proxy-status` error type (RFC 9209 §2.3), where the upstream is the cause.
    pub proxy_status: Option<&'static str>,
    /// Whether a client may safely send the request again; said on 408, 429 and 5xx.
    pub should_retry: Option<bool>,
    /// The member of the body that is at fault.
    pub param: Option<Box<str>>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// Further fields, names in lower case.
    pub fields: Vec<(&'static str, String)>,
}

impl ErrorReply {
    /// An error that says no more than this; where that has to be said, a client does better not to try again.
    pub fn new(status: u16, code: &'static str, message: impl Into<Box<str>>) -> Self {
        let should_retry = (status == 408 || status == 429 || status >= 500).then_some(false);
        Self {
            status,
            code,
            message: message.into(),
            proxy_status: None,
            should_retry,
            param: None,
            retry_after: None,
            fields: Vec::new(),
        }
    }

    /// The answer, with the id of its exchange in the body.
    pub fn into_reply(self, request_id: &str) -> LocalReply {
        let kind = match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        let body = serde_json::json!({"error": {
            "message": self.message, "type": kind, "param": self.param, "code": self.code, "request_id": request_id,
        }});
        let mut fields = self.fields;
        if let Some(error) = self.proxy_status {
            fields.push(("proxy-status", format!("corelane; error={error}")));
        }
        if let Some(retry) = self.should_retry {
            fields.push(("x-should-retry", retry.to_string()));
        }
        if let Some(pause) = self.retry_after {
            // Seconds are whole (RFC 9110 §10.2.3), and zero would mean "at once"; clients of OpenAI know milliseconds.
            // Both are rounded up: whoever waits so long has waited long enough.
            let millis = pause.as_nanos().div_ceil(1_000_000);
            let seconds = millis.div_ceil(1000).max(1);
            fields.push(("retry-after", seconds.to_string()));
            fields.push(("retry-after-ms", millis.to_string()));
        }
        LocalReply {
            status: self.status,
            content_type: Bytes::from_static(b"application/json"),
            fields,
            body: Bytes::from(body.to_string()),
        }
    }
}

/// The usual reason phrase (RFC 9110 §15); empty for statuses nobody named.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        508 => "Loop Detected",
        _ => "",
    }
}
