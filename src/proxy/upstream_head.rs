//! The head of a request as it would go upstream, after all that filters change in it.

use bytes::Bytes;

use super::decide::{Identity, write_upstream};
use super::request::Request;
use crate::base::ids::ClusterId;
use crate::codec::edit::Side;
use crate::codec::head::RequestHead;
use crate::codec::split::request_apart;

/// What would go to an endpoint of `cluster`; none where what is added to it leaves no room.
pub(super) fn upstream_head(request: &Request, cluster: ClusterId) -> Option<RequestHead> {
    let plan = &request.plan.plan;
    let endpoint = *plan.clusters[cluster].endpoints.first()?;
    let edits = request.edits(Side::Request);
    let identity = Identity {
        sender: &request.sender,
        trace: &request.trace,
        request_id: request.id.as_bytes(),
        is_held: true,
        can_switch: false,
        is_known: request.found.has_holder(),
        hides_secrets: false,
        edits: &edits,
        framing: request.framing,
        is_changed: request.is_changed,
        reads_answer: request.found.prompt_tokens().is_some(),
    };
    let mut out = Vec::new();
    write_upstream(&mut out, plan, (request.route().0, endpoint), &request.head, &identity);
    request_apart(Bytes::from(out)).ok()
}
