//! What is decided of a request before anything is sent: pure, and the same for the data path and `corelane explain`.

use std::sync::Arc;
use std::time::Instant;

use super::reply;
use crate::base::ids::{EndpointId, FilterId, ListenerId, RouteId};
use crate::base::limits::PASSES_MAX;
use crate::base::secret::SECRET_SHOWN;
use crate::codec::body_editor::BodyEditor;
use crate::codec::content::{BodySeen, Kind, kind};
use crate::codec::declared::JSON_BYTES;
use crate::codec::edit::{EditRules, Edits, Side};
use crate::codec::encode::{Credential, Dress, UpstreamHead, write_request};
use crate::codec::field::FieldName;
use crate::codec::forwarded::{Sender, passes_so_far};
use crate::codec::framing::Framing;
use crate::codec::head::RequestHead;
use crate::codec::json::BodyEdits;
use crate::codec::method::Method;
use crate::codec::operation::Operation;
use crate::codec::reply::ErrorReply;
use crate::codec::trace::TraceContext;
use crate::codec::unreadable;
use crate::codec::version::Version;
use crate::filter::headers::Known;
use crate::filter::{self, Findings, cors};
use crate::plan::{HostRule, Plan};
use crate::route::Lookup;
use crate::route::body::{BodyRules, Decision};
use crate::route::path::readings;

/// What the head decides.
pub(super) enum Found {
    /// This route.
    Route(RouteId),
    /// The body decides.
    NeedBody(BodyRules),
}

/// The route, as far as the head decides it, or why there is none.
pub(super) fn by_head(plan: &Plan, head: &RequestHead) -> Result<Found, ErrorReply> {
    if matches!(head.method(), Method::Connect | Method::Trace) {
        return Err(reply::method_not_implemented());
    }
    // An expectation in HTTP/1.0 is ignored (RFC 9110 §10.1.1).
    if head.head().version() == Version::Http11
        && head.head().values(FieldName::Expect).any(|value| !value.eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(reply::expectation());
    }
    if passes_so_far(head.head()) > PASSES_MAX {
        return Err(reply::loop_detected());
    }
    match plan.table.find(head) {
        Lookup::Route(route) => Ok(Found::Route(route)),
        Lookup::NeedBody(rules) => Ok(Found::NeedBody(rules)),
        Lookup::NotFound => Err(reply::no_route()),
        Lookup::OtherMethods(methods) => Err(reply::other_methods(&methods)),
        Lookup::Unclear(unclear) => Err(reply::unclear(unclear, &plan.table)),
    }
}

/// A preflight that a `cors` answers.
pub(super) struct Preflight {
    /// The route that the request behind it would take; none where the listener's answers.
    pub(super) route: Option<RouteId>,
    /// What it is told.
    pub(super) dress: Dress,
}

/// What a preflight is told; none where the request is none, or nobody answers it.
pub(super) fn preflight(plan: &Plan, listener: ListenerId, head: &RequestHead) -> Option<Preflight> {
    let method = cors::preflight(head)?;
    if let Some(cors) = filter::cors_of(&plan.filters, &plan.chains[listener]) {
        return Some(Preflight { route: None, dress: cors.of_preflight(head) });
    }
    let route = plan.table.find_place(head, method)?;
    let cors = filter::cors_of(&plan.filters, &plan.routes[route].chain)?;
    Some(Preflight { route: Some(route), dress: cors.of_preflight(head) })
}

/// What filters have the answer say to browsers: that of the listener, else that of the route.
pub(super) fn dress(
    plan: &Plan,
    listener: ListenerId,
    route: Option<RouteId>,
    head: &RequestHead,
) -> Option<Dress> {
    let of_route = || filter::cors_of(&plan.filters, &plan.routes[route?].chain);
    let cors = filter::cors_of(&plan.filters, &plan.chains[listener]).or_else(of_route)?;
    Some(cors.of_answer(head))
}

/// What the answer says of the limits that its request was under; what an endpoint says of its own would be taken for ours.
pub(super) fn told_of_limits(plan: &Plan, found: &Findings, now: Instant) -> Option<Dress> {
    let fields = filter::told_of_limits(&plan.filters, found, now);
    (!fields.is_empty()).then(|| Dress {
        drops: vec!["ratelimit-", "x-ratelimit-"],
        fields,
        ..Dress::default()
    })
}

/// What `{model}` of a route's path stands for in this one; none where two servers could read it differently.
pub(super) fn path_model(plan: &Plan, route: RouteId, head: &RequestHead) -> Option<String> {
    let (rule, place) = plan.routes[route].model_at.as_ref()?;
    String::from_utf8(rule.value(*place, head.path())?).ok()
}

/// What is said of the length of a document that was changed, where tensors follow it.
pub(super) fn document_said(editor: &mut BodyEditor) -> Option<Edits> {
    let length = editor.document()?.checked_add_signed(editor.growth())?;
    let rules = EditRules { set: vec![JSON_BYTES.to_owned()], ..EditRules::default() };
    Some(Edits { rules: Arc::new(rules), set: vec![length.to_string()], add: Vec::new() })
}

/// Whether a request of this head has a body that can be read.
pub(super) fn has_body(head: &RequestHead) -> bool {
    kind(head) == Kind::Plain
}

/// Whether edits have to do with a request of this head. 400 or 415 where they must be made and cannot.
pub(super) fn is_changed(edits: &BodyEdits, head: &RequestHead) -> Result<bool, ErrorReply> {
    let has_body = matches!(head.method(), Method::Post | Method::Put | Method::Patch);
    match kind(head) {
        Kind::Absent if has_body && edits.needs_object() => Err(unreadable::no_object()),
        Kind::Absent => Ok(false),
        Kind::Encoded => Err(unreadable::encoded()),
        Kind::Plain => Ok(true),
    }
}

/// What is asked of the endpoint, by the path that goes there; where servers could read that in several ways, what any of
/// them takes it for.
pub(super) fn operation(plan: &Plan, route: RouteId, head: &RequestHead) -> Operation {
    let target = plan.routes[route].rewrite.apply(head.path_and_query());
    let path = &target[..memchr::memchr(b'?', &target).unwrap_or(target.len())];
    let Ok(readings) = readings(path) else { return Operation::Other };
    let mut operations = readings.iter().map(Operation::of);
    operations.find(|operation| *operation != Operation::Other).unwrap_or(Operation::Other)
}

/// Whether the path that goes upstream fits, however it is read.
pub(super) fn is_at(plan: &Plan, route: RouteId, head: &RequestHead, fits: impl Fn(&[u8]) -> bool) -> bool {
    let target = plan.routes[route].rewrite.apply(head.path_and_query());
    let path = &target[..memchr::memchr(b'?', &target).unwrap_or(target.len())];
    readings(path).is_ok_and(|readings| readings.iter().all(fits))
}

/// All filters that a request on this route meets, in their order.
pub(super) fn chains(
    plan: &Plan,
    listener: ListenerId,
    route: Option<RouteId>,
) -> impl Iterator<Item = &FilterId> {
    let of_route = route.map_or(&[][..], |route| &plan.routes[route].chain);
    plan.chains[listener].iter().chain(of_route)
}

/// What filters have changed in the fields of a message, those of the listener, then those of the route; and then what the
/// route itself has changed in those of a request.
pub(super) fn edits(
    plan: &Plan,
    (listener, route): (ListenerId, Option<RouteId>),
    side: Side,
    (found, sender, head): (&Findings, &Sender, &RequestHead),
    request_id: &[u8],
) -> Vec<Edits> {
    let chains = || chains(plan, listener, route);
    let by_route = route.filter(|_| side == Side::Request).and_then(|id| plan.routes[id].field_edits.clone());
    let by_services = if side == Side::Request { found.fields() } else { &[] };
    if by_services.is_empty() && !chains().any(|id| plan.filters[*id].1.edits()) {
        return by_route.into_iter().collect();
    }
    let known = Known {
        key: filter::holder_of(&plan.filters, found).map(|(_, holder)| &*holder.name),
        client: sender.client(head.head(), &plan.listeners[listener].trusted),
        route: route.map(|route| plan.routes[route].name.as_str()),
        model: found.model(),
        request_id: std::str::from_utf8(request_id).unwrap_or_default(),
    };
    let by_headers = filter::edits_of(&plan.filters, chains(), side, &known);
    by_services.iter().cloned().chain(by_headers).chain(by_route).collect()
}

/// The route that head and body decide together, or why there is none.
pub(super) fn by_body(
    plan: &Plan,
    rules: BodyRules,
    head: &RequestHead,
    seen: BodySeen<'_>,
) -> Result<RouteId, ErrorReply> {
    match plan.table.decide(rules, head, seen) {
        Decision::Route(route) => Ok(route),
        Decision::NoBody if kind(head) == Kind::Encoded => Err(unreadable::encoded()),
        Decision::NoBody => Err(unreadable::no_body()),
        Decision::NoModel => Err(reply::no_model()),
        Decision::NoRoute => Err(reply::no_route()),
        Decision::Unclear(unclear) => Err(reply::unclear(unclear, &plan.table)),
    }
}

/// Longest body of any route that is still possible.
pub(super) fn body_max(plan: &Plan, rules: BodyRules, head: &RequestHead) -> u64 {
    let possible = plan.table.possible(rules, head);
    possible.map(|route| plan.routes[route].body_max).max().unwrap_or(0)
}

/// Whether the request is offered to the endpoint as the opening of a WebSocket.
pub(super) fn switches(plan: &Plan, route: RouteId, head: &RequestHead) -> bool {
    plan.routes[route].settings.upgrade.is_some() && head.offers_websocket()
}

/// Who asks, in which trace, under which id: what a head that goes upstream says of the exchange.
pub(super) struct Identity<'a> {
    pub(super) sender: &'a Sender,
    pub(super) trace: &'a TraceContext,
    pub(super) request_id: &'a [u8],
    /// Whether the body is held: then an expectation was met already.
    pub(super) is_held: bool,
    /// Whether there is somebody to go on with in another protocol.
    pub(super) can_switch: bool,
    /// Whether the client's credential was meant for us.
    pub(super) is_known: bool,
    /// Whether secrets are written as what stands for them.
    pub(super) hides_secrets: bool,
    /// What filters have changed.
    pub(super) edits: &'a [Edits],
    /// How the body goes upstream, and whether it was changed.
    pub(super) framing: Framing,
    pub(super) is_changed: bool,
    /// Whether the answer is read here.
    pub(super) reads_answer: bool,
}

/// Appends the head that goes to `endpoint`.
pub(super) fn write_upstream(
    out: &mut Vec<u8>,
    plan: &Plan,
    (route, endpoint): (RouteId, EndpointId),
    head: &RequestHead,
    identity: &Identity<'_>,
) {
    let endpoint = &plan.endpoints[endpoint];
    let authority = head.authority();
    let host = match plan.clusters[endpoint.cluster].settings.host {
        HostRule::Keep if !authority.is_empty() => authority,
        HostRule::Keep | HostRule::Endpoint => endpoint.host.as_bytes(),
    };
    let credential = match &plan.clusters[endpoint.cluster].settings.auth {
        Some(_) if identity.hides_secrets => Credential::Replaced(SECRET_SHOWN),
        Some(auth) => Credential::Replaced(auth.bearer.reveal()),
        None if identity.is_known => Credential::Stays,
        None => Credential::Passes,
    };
    let said = UpstreamHead {
        base: &endpoint.base,
        target: &plan.routes[route].rewrite.apply(head.path_and_query()),
        expects: !identity.is_held,
        switches: identity.can_switch && switches(plan, route, head),
        host,
        sender: identity.sender,
        trace: identity.trace,
        request_id: identity.request_id,
        credential,
        judged: &plan.judged,
        edits: identity.edits,
        framing: identity.framing,
        is_changed: identity.is_changed,
        reads_answer: identity.reads_answer,
    };
    write_request(out, head, &said);
}
