//! A request's body is changed as its route says, behind all filters: they judge what the client wrote.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::decide;
use super::hold;
use super::intake::Rest;
use super::reply;
use super::request::{Call, Request};
use crate::codec::body_editor::BodyEditor;
use crate::codec::json::BodyEdits;
use crate::codec::reply::ErrorReply;
use crate::codec::splice::spliced;

/// Changes the body: all of it, or where it may be sent on before its end what came of it, and then what comes.
pub(super) async fn run(
    edits: &Arc<BodyEdits>,
    request: &mut Request,
    call: &mut Call<'_>,
) -> Result<(), ErrorReply> {
    if !decide::is_changed(edits, &request.head)? {
        return Ok(());
    }
    let plan = Rc::clone(&request.plan);
    let budget = &plan.plan.budget;
    let mut editor = BodyEditor::new(edits, &request.head);
    let before = call.body.waited;
    // What is said of a document in front of tensors is settled when the head leaves.
    match request.route().1.streams && editor.document().is_none() {
        true => hold::edit(&mut editor, request.framing, budget, call).await?,
        false => {
            hold::whole(request.framing, budget, call).await?;
            hold::edit_held(&mut editor, call)?;
        }
    }
    call.notes.phases.hold += call.body.waited - before;
    if call.body.rest() == Rest::Outstanding {
        // Not settled: it may still become longer or shorter, and what signs it void.
        let is_settled = editor.is_settled();
        request.framing = request.framing.grown(is_settled.then(|| editor.growth()));
        request.is_changed |= !is_settled || editor.is_changed();
        return call.body.edit(editor, budget);
    }
    if editor.is_changed() {
        request.framing = request.framing.with_length(call.body.room().1);
        request.is_changed = true;
        if let Some(said) = decide::document_said(&mut editor) {
            request.found.set_fields(said);
        }
    }
    let operation = decide::operation(&plan.plan, request.route().0, &request.head);
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
