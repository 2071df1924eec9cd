//! What the elements of a multi have in common, and what comes of each.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;

use super::allowance::{Allowance, Taken};
use super::reply;
use super::state::{LanePlan, LaneState, RequestId};
use crate::base::ids::ListenerId;
use crate::board::buffered::Reservation;
use crate::codec::forwarded::Sender;
use crate::codec::head::RequestHead;
use crate::multi::{Shape, Telling};

/// Begins an element: its place, its text, and what may be held of its answer. A call has it where its request may ask
/// for several: one of several may not.
pub(super) type Begin = fn(Rc<Around>, usize, Bytes, Allowance) -> Pin<Box<dyn Future<Output = Finished>>>;

/// What all elements have of the request around them.
pub(super) struct Around {
    pub(super) lane: Rc<LaneState>,
    pub(super) plan: Rc<LanePlan>,
    pub(super) head: RequestHead,
    pub(super) id: RequestId,
    pub(super) sender: Sender,
    pub(super) listener: ListenerId,
    pub(super) shape: Shape,
}

/// An element that is over.
pub(super) struct Finished {
    /// Its place among the others.
    pub(super) place: usize,
    /// How long it was written.
    pub(super) length: usize,
    /// What is told of it.
    pub(super) told: Vec<u8>,
    /// What it holds until that is written.
    pub(super) _held: Option<(Reservation, Taken)>,
}

impl Around {
    /// The id of an element: that of the whole, with its place.
    pub(super) fn id_of(&self, place: usize) -> RequestId {
        RequestId::Given(Bytes::from(format!("{}-{place}", self.id.as_str())))
    }

    /// What is told of the first line past those that are allowed.
    pub(super) fn beyond(&self, place: usize) -> Vec<u8> {
        let mut told =
            Telling(self.shape).refusal(None, self.id_of(place).as_str(), reply::too_many_in_one(place));
        told.push(b'\n');
        told
    }
}
