//! Many requests in one: the body's elements become exchanges of their own, and their answers one.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::answered::Answer;
use super::around::Around;
use super::file::File;
use super::hold;
use super::lines::{Feed, Lines, Order};
use super::reply;
use super::request::{Call, Request};
use super::source::Cut;
use super::state::LaneState;
use crate::base::fault::Sent;
use crate::base::limits::BUFFERED_STEP_BYTES;
use crate::codec::content::is_encoded;
use crate::codec::field::{FieldName, list};
use crate::codec::head::RequestHead;
use crate::codec::method::Method;
use crate::codec::reply::ErrorReply;
use crate::codec::unreadable;
use crate::multi::{NotOne, Shape, elements};
use crate::plan::Multi;

/// Begins the exchanges that the body of `request` asks for.
pub(super) async fn run(
    request: &Request,
    call: &mut Call<'_>,
    lane: &Rc<LaneState>,
    multi: &Multi,
) -> Result<Answer, ErrorReply> {
    let begin = call.elements.ok_or_else(reply::multi_in_multi)?;
    let head = &request.head;
    if head.method() != Method::Post {
        return Err(reply::other_methods(&["POST".to_owned()]));
    }
    if is_encoded(head.head()) {
        return Err(unreadable::encoded());
    }
    let file_type = line_type(head.head().values(FieldName::ContentType));
    let around = Around {
        lane: Rc::clone(lane),
        plan: Rc::clone(&request.plan),
        head: head.clone(),
        id: request.id.clone(),
        sender: request.sender.clone(),
        listener: request.listener,
        shape: if file_type.is_some() { Shape::Line } else { Shape::Element },
    };
    let budget = &request.plan.plan.budget;
    let lines = match file_type {
        Some(content_type) => {
            let room =
                budget.reserve_now(BUFFERED_STEP_BYTES.min(budget.max())).ok_or_else(reply::buffers_full)?;
            let mut file = Box::new(File::new(room, multi.lines));
            hold::ask_for_body(call).await;
            // What is there already is looked at before anything begins.
            poll_fn(|cx| Poll::Ready(file.read_ahead(&mut call.body, cx)))
                .await
                .map_err(|cut| of_cut(cut, call))?;
            if file.has_too_many() {
                return Err(reply::too_many_in_one(multi.lines));
            }
            Lines::new((begin, around), Feed::File(file), (Order::Sent, content_type), multi)
        }
        None => {
            hold::whole(request.framing, budget, call).await?;
            let elements = elements(&call.body.join(), multi.max).map_err(|why| match why {
                NotOne::TooMany => reply::too_many_in_one(multi.max),
                NotOne::Broken(why) => reply::no_envelope(&why),
            })?;
            let order = match line_type(accepted(head)) {
                Some(content_type) => (Order::Finished, content_type),
                None => (Order::Array, "application/json"),
            };
            Lines::new((begin, around), Feed::Array(elements.into_iter()), order, multi)
        }
    };
    Ok(Answer::Lines(Box::new(lines)))
}

fn of_cut(cut: Cut, call: &mut Call<'_>) -> ErrorReply {
    match cut {
        Cut::Body(fault) => hold::of_body(fault, Sent::Nothing, call),
        Cut::Upstream(_) | Cut::Unheld => reply::buffers_full(),
    }
}

/// What a client accepts.
fn accepted(head: &RequestHead) -> impl Iterator<Item = &[u8]> {
    head.head().values_of(b"accept").flat_map(list)
}

/// The type of a file of lines, where one of these is one.
fn line_type<'h>(mut types: impl Iterator<Item = &'h [u8]>) -> Option<&'static str> {
    types.find_map(|media_type| {
        let essence = media_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
        ["application/x-ndjson", "application/jsonl"].into_iter().find(|name| is(name))
    })
}
