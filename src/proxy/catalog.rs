//! Which models there are, as whoever asks may know them: the answer of a route that tells of them.

use std::rc::Rc;

use bytes::Bytes;

use super::decide;
use super::reply;
use super::request::Request;
use crate::codec::method::Method;
use crate::codec::reply::{ErrorReply, LocalReply};
use crate::filter;

/// The list, or the one that the path names.
#[cold]
#[inline(never)]
pub(super) fn answer(request: &Request) -> Result<LocalReply, ErrorReply> {
    if !matches!(request.head.method(), Method::Get | Method::Head) {
        return Err(reply::other_methods(&["GET", "HEAD"].map(str::to_owned)));
    }
    let plan = Rc::clone(&request.plan);
    let (id, route) = request.route();
    let catalog = plan.catalog.as_ref().expect("a plan whose route tells of models has them").now();
    let holder = filter::holder_of(&plan.plan.filters, &request.found).map(|(_, holder)| holder);
    let may = |name: &str| holder.is_none_or(|holder| holder.may_use(name));
    let body = match &route.model_at {
        None if holder.is_none_or(|holder| holder.models.is_none()) => catalog.whole(),
        None => catalog.among(may),
        Some(_) => {
            let named = decide::path_model(&plan.plan, id, &request.head).filter(|name| may(name));
            named.and_then(|name| catalog.one(&name)).ok_or_else(reply::not_listed)?
        }
    };
    let content_type = Bytes::from_static(b"application/json");
    Ok(LocalReply { status: 200, content_type, fields: Vec::new(), body })
}
