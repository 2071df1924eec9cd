//! Requests without a connection, for tests.

use std::time::{Instant, SystemTime};

use bytes::BytesMut;

use super::View;
use crate::codec::forwarded::Client;
use crate::codec::head::RequestHead;
use crate::codec::operation::Operation;
use crate::codec::progress::Progress;
use crate::codec::request::{RequestEvent, RequestReader};

/// The head of a POST with these fields, each with its line end.
pub(super) fn head(fields: &str) -> RequestHead {
    request("POST", fields)
}

/// The same with another method.
pub(super) fn request(method: &str, fields: &str) -> RequestHead {
    let mut input = BytesMut::from(format!("{method} /v1/x HTTP/1.1\r\nhost: x\r\n{fields}\r\n").as_str());
    match RequestReader::new(65_536).next(&mut input) {
        Ok(Progress::Ready(RequestEvent::Head(head))) => head,
        other => panic!("{fields}: {other:?}"),
    }
}

/// What a listener's filters see of it.
pub(super) fn view(head: &RequestHead) -> View<'_> {
    View {
        head,
        client: Client::Unknown,
        route: None,
        path_model: None,
        asks_model: false,
        edits: None,
        operation: Operation::Other,
        now: Instant::now(),
        today: SystemTime::UNIX_EPOCH,
    }
}
