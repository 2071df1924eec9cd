//! What a filter is shown, and what it says.

use crate::codec::forwarded::Client;
use crate::codec::reply::ErrorReply;

/// What a filter may look at.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Who asks.
    pub client: Client,
}

/// What a filter says of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It passes.
    Continue,
    /// It is answered with this.
    Refuse(ErrorReply),
}

/// A refusal; nothing in it tells what would have passed.
pub(super) fn refusal(status: u16, code: &'static str, message: &str) -> ErrorReply {
    ErrorReply {
        status,
        code,
        message: message.into(),
        proxy_status: None,
        should_retry: None,
        allow: None,
        param: None,
        retry_after: None,
    }
}
