//! What a request has in common with others that met an endpoint already, found before one is picked: in its head, or in as
//! much of its body as that takes.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::decide;
use super::hold;
use super::request::{Call, Request};
use crate::balance::{Affinity, Asked};
use crate::base::hash::hash64;
use crate::base::ids::ClusterId;
use crate::base::limits::{PROMPT_READ_BYTES_MAX, RELAY_BYTES};
use crate::codec::content::{Kind, kind};
use crate::codec::framing::Framing;
use crate::codec::head::RequestHead;
use crate::codec::json::{Member, Scanner};
use crate::codec::prompt::PromptReader;
use crate::codec::reply::ErrorReply;
use crate::plan::Placing;

/// Whether somebody must look into the body before an endpoint of `cluster` is picked.
#[inline(always)] // each exchange asks
pub(super) fn reads(request: &Request, cluster: ClusterId) -> bool {
    request.plan.plan.clusters[cluster].placing.reads_bodies() && kind(&request.head) == Kind::Plain
}

/// Reads the body as far as the placing of `cluster` needs it; what was read is held.
pub(super) async fn read(
    request: &Request,
    call: &mut Call<'_>,
    cluster: ClusterId,
) -> Result<(), ErrorReply> {
    let plan = &request.plan.plan;
    let Some(mut reader) = Reader::of(&plan.clusters[cluster].placing) else { return Ok(()) };
    call.body.held().iter().for_each(|piece| reader.feed(piece));
    let waited = call.body.waited;
    if !reader.is_over() {
        let look = |piece: &[u8]| {
            reader.feed(piece);
            if reader.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        hold::until(
            look,
            (reader_needs(&plan.clusters[cluster].placing), request.framing),
            &plan.budget,
            call,
        )
        .await?;
        call.body.settle_held();
    }
    call.notes.phases.hold += call.body.waited - waited;
    call.affinity = Some(Box::new((cluster, reader.found(model(request).as_deref()))));
    Ok(())
}

/// What leads the request to an endpoint of `cluster`: what was found of its body, or is found in what is held of it.
pub(super) fn affinity(request: &Request, call: &Call<'_>, cluster: ClusterId) -> Affinity {
    let placing = &request.plan.plan.clusters[cluster].placing;
    if let Some((_, found)) = call.affinity.as_deref().filter(|(of, _)| *of == cluster) {
        return found.clone();
    }
    if let (Placing::Header(_), Some(standing)) = (placing, &request.standing) {
        return standing.placed_by.map_or(Affinity::None, Affinity::Value);
    }
    affinity_of(placing, &request.head, call.body.held(), model(request).as_deref())
}

/// The hash of the field by which `cluster` places requests, where there is one and it says it.
pub(super) fn placed_by(request: &Request, cluster: ClusterId) -> Option<u64> {
    match &request.plan.plan.clusters[cluster].placing {
        Placing::Header(name) => match of_head(&request.head, name) {
            Affinity::Value(value) => Some(value),
            Affinity::None | Affinity::Prompt(_) => None,
        },
        Placing::Nothing | Placing::Body(_) | Placing::Prompt => None,
    }
}

/// The same of a head and a body.
pub(super) fn affinity_of(
    placing: &Placing,
    head: &RequestHead,
    body: &[Bytes],
    model: Option<&[u8]>,
) -> Affinity {
    if let Placing::Header(name) = placing {
        return of_head(head, name);
    }
    let Some(mut reader) = Reader::of(placing).filter(|_| kind(head) == Kind::Plain) else {
        return Affinity::None;
    };
    body.iter().for_each(|piece| reader.feed(piece));
    reader.found(model)
}

/// What is asked, as far as it is known of its body.
#[inline(always)] // each exchange asks
pub(super) fn asked<'a>(request: &Request, call: &Call<'_>, affinity: &'a Affinity) -> Asked<'a> {
    let bytes = match request.framing {
        Framing::Empty => 0,
        Framing::Length(length) => length,
        Framing::Chunked | Framing::UntilClose => call.body.room().1,
    };
    Asked { affinity, ..Asked::of_bytes(bytes) }
}

/// The value of a field that stands once.
fn of_head(head: &RequestHead, name: &str) -> Affinity {
    let mut values = head.head().values_of(name.as_bytes());
    match (values.next(), values.next()) {
        (Some(value), None) => Affinity::Value(hash64(value)),
        _ => Affinity::None,
    }
}

/// The model, where it was found already.
fn model(request: &Request) -> Option<Vec<u8>> {
    let found = request.found.model().map(|model| model.as_bytes().to_vec());
    let plan = &request.plan.plan;
    found.or_else(|| decide::path_model(plan, request.route?, &request.head).map(String::into_bytes))
}

/// Looks for what places a request in its body.
enum Reader {
    Member(Box<Scanner>, IsOver),
    Prompt(Box<PromptReader>),
}

type IsOver = bool;

impl Reader {
    fn of(placing: &Placing) -> Option<Self> {
        match placing {
            Placing::Nothing | Placing::Header(_) => None,
            Placing::Body(wanted) => Some(Self::Member(Box::new(Scanner::new(Arc::clone(wanted))), false)),
            Placing::Prompt => Some(Self::Prompt(Box::default())),
        }
    }

    fn feed(&mut self, piece: &[u8]) {
        match self {
            Self::Member(scanner, is_over) => {
                let reads_on = *is_over || scanner.feed(piece).is_ok();
                *is_over |= !reads_on || scanner.members().iter().any(|member| *member != Member::Absent);
            }
            Self::Prompt(reader) => reader.feed(piece),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Member(_, is_over) => *is_over,
            Self::Prompt(reader) => reader.is_over(),
        }
    }

    fn found(self, model: Option<&[u8]>) -> Affinity {
        match self {
            Self::Member(scanner, _) => match scanner.members().first() {
                Some(Member::Scalar(value)) => Affinity::Value(hash64(value)),
                Some(Member::Absent | Member::Null | Member::Other) | None => Affinity::None,
            },
            Self::Prompt(reader) => match reader.blocks(model) {
                none if none.is_empty() => Affinity::None,
                blocks => Affinity::Prompt(Rc::from(blocks)),
            },
        }
    }
}

/// Bytes of the body that may be needed; none where all of them may.
fn reader_needs(placing: &Placing) -> Option<u64> {
    match placing {
        Placing::Prompt => Some(PROMPT_READ_BYTES_MAX + RELAY_BYTES as u64),
        Placing::Nothing | Placing::Header(_) | Placing::Body(_) => None,
    }
}
