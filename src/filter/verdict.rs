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
