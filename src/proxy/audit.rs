//! The audit: a line of the program's own log for each credential that was refused, at a bounded rate.

use std::time::SystemTime;

use serde_json::json;

use super::request::Request;
use crate::base::ids::FilterId;
use crate::base::say::say;
use crate::plan::Plan;

/// Tells of a refused credential, never of the credential itself.
pub(super) fn refused(request: &Request, filter: FilterId, code: &str) {
    let plan = &request.plan.plan;
    let Some(suppressed) = plan.audit.may_tell(second(SystemTime::now())) else { return };
    let client = request.sender.client(request.head.head(), &plan.listeners[request.listener].trusted);
    let mut line = json!({
        "audit": "refused",
        "code": code,
        "filter": plan.filters[filter].0,
        "client": client.address(),
        "route": request.route.map(|id| plan.routes[id].name.as_str()),
        "request_id": request.id.as_str(),
    });
    if suppressed > 0 {
        line["suppressed"] = json!(suppressed);
    }
    say(line);
}

/// Tells how many were not told before this second, if any.
pub fn left_over(plan: &Plan) {
    match plan.audit.left_over(second(SystemTime::now())) {
        0 => {}
        suppressed => say(json!({ "audit": "refused", "suppressed": suppressed })),
    }
}

/// Seconds since 1970.
pub(super) fn second(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
