//! A request's body is changed as its route says, behind all filters: they judge what the client wrote.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::decide;
use super::hold;
use super::reply;
use super::request::{Call, Request};
use super::state::LaneState;
use crate::codec::body_editor::BodyEditor;
use crate::codec::json::BodyEdits;
use crate::codec::reply::ErrorReply;
use crate::codec::splice::spliced;

/// Changes the body, all of which is held for it.
pub(super) async fn run(
    edits: &Arc<BodyEdits>,
    request: &mut Request,
    call: &mut Call<'_>,
    lane: &LaneState,
) -> Result<(), ErrorReply> {
    if !decide::is_changed(edits, &request.head)? {
        return Ok(());
    }
    let plan = Rc::clone(&request.plan);
    hold::whole(request.framing, &plan.plan.budget, call, lane).await?;
    let mut editor = BodyEditor::new(edits, &request.head);
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut out = |piece| pieces.push(piece);
    call.body.held().iter().try_for_each(|piece| editor.feed(piece.clone(), &mut out))?;
    editor.end(out)?;
    if editor.is_changed() {
        rewrite(pieces, request, call)?;
    }
    let route = request.route().0;
    let operation = decide::operation(&plan.plan, route, &request.head);
    if let Some(splice) = request.found.ask_for_usage(call.body.held(), operation) {
        rewrite(spliced(call.body.held(), &[splice]), request, call)?;
    }
    Ok(())
}

/// What is held takes another form.
pub(super) fn rewrite(
    pieces: Vec<Bytes>,
    request: &mut Request,
    call: &mut Call<'_>,
) -> Result<(), ErrorReply> {
    let length = call.body.rewrite(pieces).ok_or_else(reply::buffers_full)?;
    request.framing = request.framing.with_length(length);
    request.is_changed = true;
    Ok(())
}
